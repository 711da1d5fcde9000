"""Writing a report, and finding a tree."""

from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.measure.report import overview_of_runs, report, stored_tree
from creditree.report.page.figures import all_charts
from creditree.runs.directory import RunDirectory
from tests.stored_run import stored_run


def test_it_is_written_into_the_run_and_says_nothing_of_damage(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    written = report(run)
    assert written.page == run / "report.html"
    assert written.page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    report(run)
    assert RunDirectory.read(run).checksums.damages() == {}


def test_every_chart_is_a_picture_twice(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "a", kept=(20,))
    written = report(run, out=tmp_path / "deep" / "page.html", figures=tmp_path / "figures")
    names = {path.name for path in written.figures}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    charts = [chart.name for chart in all_charts(overview_of_runs([run]))]
    assert names == {
        f"{name}.{kind}" for name in (*charts, "tree-1", "tree-2", "tree-3", "attention-1") for kind in ("svg", "png")
    }
    for name in ("tree-1.png", "attention-1.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
    assert "script" not in (tmp_path / "figures" / "attention-1.svg").read_text(encoding="utf-8")
    assert "<style>" in (tmp_path / "figures" / "reward.svg").read_text(encoding="utf-8")


def test_charts_of_several_runs_have_names_of_their_own(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / "a", kept=()), stored_run(tmp_path / "b", method="grpo", kept=())]
    names = [chart.name for chart in all_charts(overview_of_runs(runs))]
    assert len(set(names)) == len(names)
    assert {"compared", "reward", "mixed", "tokens-sampled", "run-1-result", "run-2-seconds"} <= set(names)


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    for paths, words in (
        ([], "at least one run"),
        ([run, run], "a file of its own: name it with `out`"),
        ([tmp_path], "There is no run"),
    ):
        with pytest.raises(RunError, match=words):
            report(*paths)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"Cannot write .*; free it, or choose another file with `out`\.$"):
        report(run, out=tmp_path / "file" / "page.html")
    with pytest.raises(RunError, match=r"Cannot write .*; free it, or choose another file with `out`\.$"):
        report(run, out=tmp_path)
    with pytest.raises(RunError, match=r"Cannot write .*; free it, or choose another directory with `figures`\.$"):
        report(run, figures=tmp_path / "file")


def test_only_a_page_is_written_over(tmp_path: Path) -> None:
    run, notes = stored_run(tmp_path / "run"), tmp_path / "notes.md"
    for page in (tmp_path / "page.html", tmp_path / "empty.html"):
        page.touch()
        report(run, out=page)
        report(run, out=page)
    notes.write_text("mine")
    with pytest.raises(RunError, match="is no report; choose another file with `out`"):
        report(run, out=notes)
    assert notes.read_text() == "mine"


def test_a_tree_is_found_by_step_and_problem(tmp_path: Path) -> None:
    run = stored_run(tmp_path)
    assert stored_tree(run, "last", None).step == 20
    assert stored_tree(run, "10", "p").problem_id == "p"


@pytest.mark.parametrize(
    ("step", "problem", "words"),
    [
        ("11", None, r"^step '11' of .* was not kept; there are 10, 20, and `last`\.$"),
        ("x", None, r"^step 'x' of .* was not kept"),
        ("10", "p-2", r"^step 10 has no problem 'p-2'\. Did you mean 'p-1'\?$"),
    ],
)
def test_a_tree_that_is_not_there_is_one_sentence(tmp_path: Path, step: str, problem: str | None, words: str) -> None:
    with pytest.raises(RunError, match=words):
        stored_tree(stored_run(tmp_path), step, problem)


def test_a_run_that_kept_none_says_how_to_keep_some(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"kept no completions; train with log\.rollouts_every=1"):
        stored_tree(stored_run(tmp_path, kept=()), "last", None)
