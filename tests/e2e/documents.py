"""The code blocks of the documentation, and a folder with what they speak of: models, runs, tables of problems."""

import csv
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from creditree.rng import Key
from creditree.tasks import WordProblems
from tests.e2e.command import SMALL

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "recipes/*/README.md")
    for path in ROOT.glob(pattern)
)
CODE = ("python", "bash", "console", "yaml")
"""Languages of what a reader runs; `text` is what is printed, written or drawn."""
MODELS = (
    "Qwen/Qwen2.5-Coder-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2-1.5B",
    "my_model",
)  # fmt: skip
"""Names that the documentation uses: in the folder each is the tiny built-in model, so that nothing is downloaded."""
BUILT_IN = ROOT / "src" / "creditree" / "models" / "builtin" / "word_problems"
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.S | re.M
)
_SNIPPET = re.compile(r"^--8<--\n(.+)\n--8<--$", re.M)
"""A file that MkDocs puts in; the form in one line would be Python, which ruff formats."""
BUDGET = {
    "train": "train.steps=1 train.problems_per_step=2 method.group=4 evaluation.problems=4 evaluation.temperatures=[0] "
    "sampling.max_new_tokens=12 train.threads=1",
    "sweep": "train.steps=1 train.problems_per_step=2 evaluation.problems=4 evaluation.temperatures=[0]",
    "quickstart": "train.steps=1 evaluation.problems=4 evaluation.temperatures=[0]",
}
"""What a command is given besides what stands on the page, so that it takes a second."""


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page; `why_not`: why it is not run."""

    page: str
    language: str
    text: str
    why_not: str | None

    @property
    def file(self) -> str | None:
        """The file that the block is, as its first line says."""
        named = re.match(r"# ([\w./-]+\.(?:py|yaml))\b", self.text)
        return named.group(1) if named else None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without comments; what a backslash continues is one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks_of(page: str) -> list[Block]:
    """Return all code blocks of a page, in order, with the files that they show put in."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, match["language"], _with_files(match["text"]), match["why"]) for match in _BLOCK.finditer(text)]


def code_blocks() -> Iterator[Block]:
    """Yield what a reader of all pages would run."""
    for page in PAGES:
        yield from (block for block in blocks_of(page) if block.language in CODE)


def _with_files(text: str) -> str:
    return _SNIPPET.sub(lambda shown: (ROOT / shown.group(1)).read_text(encoding="utf-8"), text)


def within_budget(words: list[str]) -> list[str]:
    """Return a command with what makes it short: a step or two, few problems, a few seconds."""
    name, *rest = words
    if "--dry-run" in rest or "--help" in rest or "run.yaml" in rest:
        return words
    if "--workers" in rest:  # their own tests have them
        where = rest.index("--workers")
        rest[where : where + 2] = []
    for key in BUDGET.get(name, "").split():
        rest += ["--set", key]
    if name == "pilot":
        rest[rest.index("--budget") + 1] = "10s"
    if name == "train" and "svamp" in rest:
        rest += ["--data", "svamp.jsonl"]
    if name == "eval":
        rest += ["--problems", "2", *([] if "--max-new-tokens" in rest else ["--max-new-tokens", "8"])]
        if "gsm8k" in rest:
            rest += ["--data", "problems.jsonl"]
    if name == "monitor":
        rest += ["--problems", "4"]
    return [name, *rest]


def furnish(folder: Path) -> None:
    """Put into a folder what the documentation speaks of."""
    for name in ("recipes", "examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    for name in MODELS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(BUILT_IN)
    _tables(folder)
    (folder / "run.yaml").write_text(yaml.safe_dump(SMALL | {"train": SMALL["train"] | {"steps": 2}}), encoding="utf-8")
    task = (ROOT / "examples" / "own_task.py").read_text(encoding="utf-8")
    (folder / "my_task.py").write_text(task.replace("def sums", "def problems"), encoding="utf-8")


def _tables(folder: Path) -> None:
    task = WordProblems()
    rows = [task.training(Key.of(1), index) for index in range(120)]
    held = [*task.held_out("test", 30), *task.held_out("validation", 30)]
    records = [
        {"question": one.question, "answer": one.answers[0], "difficulty": Random(one.id).randint(1, 5), "worked": "2"}
        for one in [*rows, *held]
    ]
    for name, part in {
        "problems.csv": records, "guard.csv": records[100:], "others.csv": records[100:],
        "other_problems.csv": records[100:], "new.csv": records[60:], "fresh.csv": records[130:],
    }.items():  # fmt: skip
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(part[0]))
            table.writeheader()
            table.writerows(part)
    graded = [{"prediction": f"it is {row['answer']}", "answers": [row["answer"]], "label": 1} for row in records[:4]]
    sets = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench")
    for name, part in {
        "svamp.jsonl": [row | {"split": ("train", "validation", "test")[i % 3]} for i, row in enumerate(records)],
        "problems.jsonl": records, "answers.jsonl": graded, "labelled.jsonl": graded,
        **{f"sets/{name}.jsonl": records[:4] for name in sets},
    }.items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
