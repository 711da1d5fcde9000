"""`creditree grade` and `creditree verify-audit`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Refuse, creditree, creditree_json, python

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prediction": "The answer is $\\sqrt{12}$.", "answers": ["2\\sqrt{3}"], "label": True},
    {"id": "b", "prediction": "\\boxed{1-\\frac{1}{\\mathrm{e}}}", "answers": ["1+\\frac{1}{\\mathrm{e}}"], "label": 0},
    {"prediction": "I have no idea", "answers": ["5"], "label": 0},
    {"id": "d", "prediction": "\\boxed{52}", "answers": ["52_8"], "label": 0},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def test_a_verdict_a_line(rows: Path) -> None:
    done = creditree("grade", rows, "--json", "--deadline", "60", "--workers", "1")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["answer"] for row in found] == ["\\sqrt{12}", "1-\\frac{1}{\\mathrm{e}}", None, "52"]
    assert [(row["id"], row["reward"], row["status"]) for row in found] == [
        ("a", 1.0, "ok"),
        ("b", 0.0, "ok"),
        ("rows-3", 0.0, "unparsable"),
        ("d", 1.0, "ok"),
    ]


def test_a_summary(rows: Path) -> None:
    done = creditree("grade", rows, "--grader", "numeric", "--set", "tolerance=0.5", code=2)
    assert "4 answers graded by numeric" in done.stdout
    assert "crash: 3" in done.stdout
    assert "without a reward: 3" in done.stdout
    assert "correct" not in done.stdout
    assert "3 of 4 completions got no reward (" in done.stderr
    assert "more than 5%, so nothing is concluded" in done.stderr


def test_what_got_no_reward_is_in_no_accuracy_and_above_5_percent_nothing_is_concluded(tmp_path: Path) -> None:
    """A function that gives one text no reward: of 20 rows it is 5 %, of 10 more. Half of the others are right."""
    (tmp_path / "picky.py").write_text(
        "def score(prompts, completions, answers, **columns):\n"
        "    right = (float(text in known) for text, known in zip(completions, answers))\n"
        "    return [None if text == 'boom' else reward for text, reward in zip(completions, right)]\n",
        encoding="utf-8",
    )
    row = {"prediction": "5", "answers": ["5"], "label": True}
    lines = [row | {"prediction": "boom"}] + [row | {"prediction": str(4 + place % 2)} for place in range(19)]
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    few.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    many.write_text("\n".join(map(json.dumps, lines[:10])), encoding="utf-8")
    grader = ("--grader", tmp_path / "picky.py:score")
    assert "correct: 9 of 19 judged (47.4 %)" in creditree("grade", few, *grader).stdout
    done = creditree("grade", many, *grader, "--json", code=2)
    assert [json.loads(line)["reward"] for line in done.stdout.splitlines()].count(None) == 1
    assert "1 of 10 completions got no reward (" in done.stderr
    audit = creditree("verify-audit", few, *grader)
    assert "agrees with the labels of 47.4% of the 19 of 20 rows that it judged" in audit.stdout
    assert "nothing is concluded" in creditree("verify-audit", many, *grader, "--json", code=2).stderr


def test_an_audit(rows: Path) -> None:
    found = creditree_json("verify-audit", rows, "--deadline", "60", "--workers", "1")
    assert (found["n"], found["agreement"]) == (4, 0.75)
    assert [row["id"] for row in found["false_positives"]] == ["d"]
    assert found["false_negatives"] == []
    out = creditree("verify-audit", rows, "--deadline", "60", "--workers", "1").stdout
    assert "agrees with the labels of 75.0% of 4 rows" in out
    assert "d: \\boxed{52}  |  52_8" in out


def test_mistakes_are_one_sentence(rows: Path, tmp_path: Path, refuse: Refuse) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prediction": "5", "answers": ["5"]}\n{"prediction": 5}\n', encoding="utf-8")
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"prediction": "5", "answers": ["5"]}\n{"prediction"', encoding="utf-8")
    bare = tmp_path / "answers"
    bare.write_text("{}", encoding="utf-8")
    unlabelled = tmp_path / "unlabelled.jsonl"
    unlabelled.write_text('{"id": "x", "prediction": "5", "answers": ["5"]}\n', encoding="utf-8")
    mistakes: list[tuple[list[str | Path], str]] = [
        (["grade", bad], "Line 2 of"),
        (["grade", torn], "Line 2 of"),
        (["grade", bare], "has no suffix"),
        (["grade", tmp_path / "none.jsonl"], "does not exist"),
        (["grade", rows, "--grader", "mth"], "did you mean 'math'"),
        (["grade", rows, "--grader", "program"], "add --set allow_execution=true"),
        (["grade", rows, "--grader", "exact", "--deadline", "3"], "no effect on exact"),
        (["verify-audit", unlabelled], "has no label"),
    ]
    for arguments, words in mistakes:
        assert words in refuse(*arguments)


def test_neither_torch_nor_sympy_is_imported_to_grade(rows: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom creditree.measure.grade import GradeRequest, grade\n"
        f"grade(GradeRequest(Path({str(rows)!r}), 'math', deadline=60, workers=1))\n"
        "print([name for name in ('torch', 'sympy', 'math_verify') if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_training_with_the_grader_of_mathematics_leaves_no_process(tmp_path: Path) -> None:
    from tests.e2e.command import write_config

    config = write_config(tmp_path / "run.yaml", reward={"name": "math", "workers": 1, "deadline": 30})
    creditree("train", config, "--run", tmp_path / "run", "--set", "train.steps=2", "--set", "evaluation.problems=5")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert {"unparsable", "timeouts", "crashes"} <= set(summary["completions"])
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"unparsable", "timeouts", "crashes"} <= set(metrics[-1])
    if sys.platform == "linux":
        names = [p.joinpath("cmdline") for p in Path("/proc").iterdir() if p.name.isdigit() and os.access(p, os.R_OK)]
        assert not any(str(tmp_path).encode() in name.read_bytes() for name in names if name.exists())
