"""Names, data and completions that try to steer a terminal or a page: no command lets them through."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from creditree.cli.main import run
from tests.e2e.command import SMALL

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066[/b][red]![x](http://elsewhere.example/p.png)"
HAZARDS = set("\x1b\x07\x9b\u202e\u2066")
REPORTS = ("*.md", "*.html", "*.json", "*.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose very name is hostile."""
    found = tmp_path / "a[red] \x1b[31m\u202e"
    found.mkdir()
    return found


class Commands:
    """Runs commands in this process and looks at everything that they print."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = monkeypatch, capsys
        self.printed = ""

    def __call__(self, *arguments: object, codes: tuple[int, ...] = (0,)) -> str:
        self._patch.setattr(sys, "argv", ["creditree", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run()
        out, err = self._capture.readouterr()
        assert (stopped.value.code or 0) in codes, f"{arguments}\n{out[-2000:]}\n{err[-2000:]}"
        assert not HAZARDS & set(out + err), f"{arguments}: {(out + err)!r}"
        return str(out + err)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


def clean_reports(folder: Path) -> int:
    """Return how many reports lie below a folder, none of which holds what steers."""
    found = [path for pattern in REPORTS for path in folder.rglob(pattern) if path.is_file()]
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert not HAZARDS & set(text), path
        if path.name == "report.md":
            assert "![x](http" not in text
    return len(found)


def rows(count: int) -> list[dict[str, object]]:
    return [
        {"question": f"{STEERING} {n}*2=", "answer": str(2 * n), "id": f"{STEERING}{n}", STEERING: STEERING}
        for n in range(10, 10 + count)
    ]


def written(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.slow
def test_training_measuring_and_comparing(folder: Path, commands: Commands) -> None:
    data = written(folder / "set.jsonl", rows(40))
    prompt = {"text": "{a}*2=\n"}
    lines = [row | {"a": number} for number, row in enumerate(rows(40), 100)]
    written(data, lines)
    task = {"name": "file", "path": str(data), "test": 0.4, "prompt": prompt}
    (folder / "judge.py").write_text(
        "def judge(completions, answers, **columns):\n"
        "    print(columns)\n"
        "    return [float(len(text)) if number % 3 else None for number, text in enumerate(completions)]\n"
    )
    blocks = {
        "train": SMALL["train"] | {"steps": 2, "problems_per_step": 1},
        "evaluation": {"problems": 4, "temperatures": [0]},
        "method": "grpo",
        "sampling": {"temperature": 1.0, "max_new_tokens": 8},
        "reward": f"{folder / 'judge.py'}:judge",
    }
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(SMALL | blocks | {"task": task}), encoding="utf-8")
    commands("show", config)
    commands("plan", config)
    commands("train", config, "--dry-run")
    said = commands("train", config, "--run", folder / "one", codes=(0, 2))
    assert "\\x1b[31m" in said
    commands("train", config, "--run", folder / "two", "--json", "--set", "seed=1", codes=(0, 2))
    commands("compare", folder / "one", folder / "two", codes=(0, 2))
    commands("eval", folder / "one", "--problems", "3", "--out", folder / "kept", codes=(0, 2))
    commands("monitor", folder / "one", data, "--problems", "2", codes=(0, 2, 3))
    assert clean_reports(folder) > 4


@pytest.mark.slow
def test_a_pilot_shows_and_reports_data(folder: Path, commands: Commands) -> None:
    lines: list[dict[str, object]] = [
        {"question": f"{n}*{m}=", "answer": str(n * m), "kind": STEERING} for n in range(100, 130) for m in range(2, 5)
    ]
    lines += [{"question": f"{STEERING}", "answer": "1"}, {"question": f"{STEERING}", "answer": "2"}, {"question": ""}]
    data = written(folder / "table.jsonl", lines)
    commands(
        "pilot", data, "--model", "builtin:multiplication", "--budget", "6s", "--out", folder / "pilot", "--by", "kind",
        codes=(0, 2),
    )  # fmt: skip
    clean_reports(folder / "pilot")


def test_grading_and_every_refusal(folder: Path, commands: Commands) -> None:
    graded: list[dict[str, object]] = [
        {"id": STEERING, "prediction": f"{STEERING} 5", "answers": [STEERING], "label": False},
        {"id": "b", "prediction": f"The answer is 6 {STEERING}", "answers": ["5"], "label": True},
        {"id": "c", "prediction": "5", "answers": ["5"], "label": STEERING},
    ]
    file = written(folder / "graded.jsonl", graded[:2])
    for grader, code in (("exact", 0), ("numeric", 2), ("last_integer", 2), ("choice", 2)):  # 2: half are not judged
        commands("grade", file, "--grader", grader, codes=(code,))
        commands("grade", file, "--grader", grader, "--json", codes=(code,))
        commands("verify-audit", file, "--grader", grader, codes=(code,))
        commands("verify-audit", file, "--grader", grader, "--json", codes=(code,))
    commands("verify-audit", written(folder / "bad.jsonl", graded), codes=(2,))
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    for arguments in (
        ("train", config, "--dry-run", "--set", f"task.{STEERING}=1"),
        ("train", config, "--dry-run", "--set", f"model.name='{STEERING}'"),
        (
            "train",
            config,
            "--run",
            folder / "run",
            "--set",
            f'model.name="{STEERING.encode("unicode_escape").decode()}"',
        ),
        ("train", config, "--dry-run", "--set", STEERING),
        ("train", folder / STEERING.replace("/", ""), "--dry-run"),
        ("grade", folder / "x\x1b[2J.csv"),
        ("grade", file, "--grader", STEERING),
        ("compare", folder, folder),
        ("show", STEERING),
        ("eval", STEERING),
        ("eval", STEERING, "--task", STEERING),
        ("sweep", config),
        ("monitor", STEERING, STEERING),
        (STEERING,),
        ("eval", "x", "--samples", STEERING),
    ):
        said = commands(*arguments, codes=(2,))
        assert said.startswith("creditree: ")
        assert said.count("\n") == 1
    commands("methods")
    commands("methods", "--json")
