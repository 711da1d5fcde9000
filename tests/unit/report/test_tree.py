"""A tree in the terminal."""

import io
from pathlib import Path

from creditree.measure.report import stored_tree
from creditree.overview.trees import ShownForest
from creditree.report.plain import PlainConsole
from creditree.report.tree import tree_view
from tests.stored_run import stored_run


def printed(forest: ShownForest) -> list[str]:
    out = io.StringIO()
    console = PlainConsole(out)
    console.width = 160
    console.print(tree_view(forest))
    return out.getvalue().splitlines()


def test_each_segment_has_its_value_and_each_completion_its_verdict(tmp_path: Path) -> None:
    lines = printed(stored_tree(stored_run(tmp_path), "10", "p-1"))
    assert lines[0].startswith("step 10, problem p-1: What is 1+1? <script>")
    assert lines[2] == "tree 1: 4 completions"
    assert lines[3] == "├── 0.67  two[-0.5] three"
    assert "completion 1: reward 0, ok, 4 tokens drawn, ended by itself" in lines[5]
    assert any("   ? " in line and "three" in line for line in lines)
    assert any("completion 2: no reward, crash" in line for line in lines)
    assert any(line.startswith("- completion 1 was forked before token 3") for line in lines)


def test_completions_that_say_the_same_are_told_of_together(tmp_path: Path) -> None:
    lines = printed(stored_tree(stored_run(tmp_path), "last", "p"))
    assert any(line.startswith("tree 2, replayed from 1 tokens") for line in lines)
