"""Every code block of the documentation does what a reader would have it do.

In `make test` all are read: Python is compiled, YAML is resolved, each command is one that the command line takes.
Among the thorough tests each page is followed from top to bottom in a folder of its own, with small models and short
budgets (`documents.within_budget`). What cannot be run says why on the page, and is counted here.
"""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import typer
import yaml

from creditree.cli.main import app
from creditree.config.load import parse_config
from creditree.sweep.call import listed
from tests.e2e.command import creditree, python, start
from tests.e2e.documents import CODE, PAGES, ROOT, Block, blocks_of, code_blocks, furnish, within_budget

NOT_RUN = {
    "docs/BENCHMARKS.md": 1,
    "docs/export.md": 1,
    "docs/problems.md": 1,
    "docs/report.md": 1,
    "docs/scale.md": 1,
    "docs/server.md": 1,
    "recipes/attnrl/README.md": 1,
    "recipes/real/README.md": 1,
    "recipes/search/README.md": 1,
    "recipes/tiny_base/README.md": 1,
    "recipes/token_efficient_rl/README.md": 4,
}
"""How many blocks of a page are not run: a GPU, a server, or an hour. It is not meant to grow."""
ELSEWHERE = {
    "docs/pilot.md": "test_pilot_walk.py",
    "README.md": "test_readme.py",
    "docs/quickstart.md": "test_readme.py",
    "README.ja.md": "test_readme.py, since its code is README.md's (unit/test_japanese.py)",
}
"""Pages that a test of their own follows, as they stand (of these two: `console` and `python`)."""
BEFORE = {
    "docs/doctor.md": ("train run.yaml --run runs/quickstart",),
    "docs/report.md": ("train run.yaml --run runs/a", "train run.yaml --run runs/b"),
    "docs/export.md": ("train run.yaml --run runs/a",),
    "docs/problems.md": (
        "train run.yaml --run runs/a",
        "eval my_model --task gsm8k --samples 8 --k 1,4,8 --out evals/other",
    ),
}
"""Commands that a page takes for done."""
EXIT_CODES = {"doctor": (0, 1), "monitor": (0, 3)}
TOO_SHORT = ("is too short", "the baseline has 0 of")
"""What a pilot and a monitor say to budgets of seconds; docs/pilot.md is followed with budgets that do."""
BLOCKS = [block for block in code_blocks() if block.why_not is None]
FOLLOWED = sorted(
    {block.page for block in BLOCKS if block.language in ("bash", "python")} - {"docs/pilot.md", "README.ja.md"}
)


@pytest.mark.parametrize("page", PAGES)
def test_code_says_what_it_is(page: str) -> None:
    for block in blocks_of(page):
        assert block.language in (*CODE, "text", "diff"), block.language
        if block.language == "diff":
            compile(re.sub(r"^[+ ]", "", re.sub(r"^-.*\n", "", block.text, flags=re.M), flags=re.M), page, "exec")
        if block.language == "text":
            assert not re.search(r"^(creditree [a-z]+ |python |import |from \w+ import )", block.text, re.M), block.text
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    assert not re.search(r"^    (creditree|python|make|pip) ", text, re.M), "code without a language is not run"


def test_what_is_not_run_does_not_grow() -> None:
    assert Counter(block.page for block in code_blocks() if block.why_not) == NOT_RUN


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}))
def test_python_compiles_and_commands_are_known(page: str) -> None:
    group = typer.main.get_command(app)
    for block in (block for block in BLOCKS if block.page == page):
        if block.language == "python":
            compile(block.text, page, "exec")
        for words in block.commands if block.language in ("bash", "console") else ():
            assert words[0] in ("creditree", "python", "make", "source", "cd", "sha256sum", "pip"), words
            if words[0] == "creditree":
                name, *rest = words[1:]
                command = group.commands[name]  # type: ignore[attr-defined]
                if "--help" not in rest:
                    command.make_context(name, rest)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    furnish(folder)
    return folder


def _resolves(block: Block, folder: Path) -> None:
    """Check a configuration, a sweep, or some keys of a configuration."""
    values = yaml.safe_load(block.text)
    if "base" in values:
        path = folder / (block.file or "sweep.yaml")
        path.write_text(block.text, encoding="utf-8")
        assert listed(path, (), None).lines
        return
    whole = {"task": {"name": "multiplication"}} | values
    parse_config(yaml.safe_dump(whole), block.page)


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.language == "yaml"}))
def test_yaml_resolves(page: str, furnished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(furnished)
    for block in (block for block in BLOCKS if block.page == page and block.language == "yaml"):
        if re.match(r"reward: .*\nreward: ", block.text):  # one setting a line, to choose from
            for line in block.text.splitlines():
                _resolves(Block(page, "yaml", line, None), furnished)
        else:
            _resolves(block, furnished)


@pytest.fixture(scope="module")
def trained(furnished: Path) -> Path:
    """The folder with a finished run in it."""
    words = ["train", "--model", "my_model", "--task", "file", "--data", "problems.csv", "--run", "runs/my_run"]
    creditree(*within_budget(words), "--set", "method.name=grpo", cwd=furnished)
    return furnished


@pytest.mark.thorough
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_can_be_followed(page: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(trained, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for command in BEFORE.get(page, ()):
        creditree(*within_budget(command.split()), cwd=folder)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in (block for block in BLOCKS if block.page == page):
        _follow(block, folder, names)


def _follow(block: Block, folder: Path, names: dict[str, object]) -> None:
    if block.file is not None:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    if block.language == "python" and block.page not in ELSEWHERE:
        exec(compile(block.text, block.page, "exec"), names)
    for words in block.commands if block.language == "bash" else ():
        if words[0] == "python":
            python(*words[1:], cwd=folder)
        elif words[0] == "creditree":
            command = start(*within_budget(words[1:]), cwd=folder)
            out, err = command.communicate()
            short = any(words in err for words in TOO_SHORT)
            codes = (*EXIT_CODES.get(words[1], (0,)), *([2] if short else []))
            assert command.returncode in codes, f"{words}\n{out}\n{err}"
            assert out or short, words
