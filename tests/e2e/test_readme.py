"""The README, as a new user would follow it: the quickstart in full, then every command and example in order."""

import json
import re
import shlex
from pathlib import Path

import pytest

from creditree.config.load import parse_config
from tests.e2e.command import creditree, python, typed

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "docs" / "quickstart.md")


def blocks(language: str, *paths: Path) -> list[str]:
    """The code blocks of one language in some documents."""
    texts = (path.read_text(encoding="utf-8") for path in paths)
    return [
        block for text in texts for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipes beside it and a finished quickstart in it."""
    path = tmp_path_factory.mktemp("user")
    (path / "recipes").symlink_to(ROOT / "recipes")
    done = typed("quickstart", "--run", "runs/quickstart", cwd=path)
    for words in ("before", "after", "greedy", "T=0.3", "T=1", "Saved", "Try next"):
        assert words in done.stdout
    return path


@pytest.mark.thorough
def test_the_quickstart_lifts_greedy_accuracy_from_below_10_to_at_least_85_percent(place: Path) -> None:
    summary = json.loads((place / "runs" / "quickstart" / "summary.json").read_text())
    assert summary["method"] == "t-spmo"
    assert summary["task"] == "multiplication-3x1"
    assert summary["before"]["n"] == 500
    assert summary["before"]["accuracy"] < 0.10
    assert summary["after"]["accuracy"] >= 0.85
    assert summary["difference"]["p_value"] < 1e-10
    assert (place / "runs" / "quickstart" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.thorough
def test_every_command_runs(place: Path) -> None:
    commands = [line for block in blocks("console", *DOCUMENTS) for line in block.strip().splitlines()]
    assert len(commands) >= 5
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "creditree"
        printed = creditree(*arguments, cwd=place).stdout
        assert printed
    assert re.search(r"runs/grpo.*(better|worse|not distinguishable)", printed, flags=re.DOTALL)


@pytest.mark.thorough
def test_the_python_example_runs(place: Path) -> None:
    (example,) = blocks("python", README)
    assert len(example.splitlines()) <= 5
    printed = python("-W", "ignore::FutureWarning", "-c", example, cwd=place).stdout
    assert "after is better" in printed
    assert "runs/a" in printed


def test_the_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert all(len(line) <= 120 for line in lines if not line.startswith("|"))


def test_the_configuration_examples_are_valid() -> None:
    run, mixture = blocks("yaml", ROOT / "docs" / "problems.md")
    assert parse_config(run, "docs").method.build().explore.group == 50
    assert parse_config(mixture, "docs").task.name == "problems+word_problems+problems_2"


def test_every_folder_of_the_tree_is_there() -> None:
    (tree,) = blocks("text", ROOT / "docs" / "house.md")
    for folder in re.findall(r"^  (\w+)/", tree, flags=re.MULTILINE):
        assert (ROOT / "src" / "creditree" / folder).is_dir(), folder
    listed = set(re.findall(r"(\w+)/ ", tree))
    here = {path.name for path in (ROOT / "src" / "creditree").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert here <= listed


@pytest.mark.thorough
def test_the_minimal_loop_is_short_and_learns() -> None:
    source = (ROOT / "examples" / "minimal_loop.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    out = python(str(ROOT / "examples" / "minimal_loop.py"), "--steps", "30").stdout
    before, after = (float(value) for value in re.findall(r"greedy accuracy ([\d.]+)", out))
    assert after > before + 0.1
