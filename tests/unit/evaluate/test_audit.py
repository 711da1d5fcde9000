"""Auditing a verifier: counts by hand, and rows that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from creditree.errors import DataError
from creditree.evaluate.audit import audit, read_answers
from creditree.verify.numeric import Numeric

ROWS: list[dict[str, Any]] = [
    {"id": "right", "prediction": "The answer is 5.", "answers": ["5"], "label": True},
    {"id": "wrong", "prediction": "4", "answers": ["5"], "label": 0},
    {"id": "false positive", "prediction": "50%", "answers": ["50"], "label": "false"},
    {"id": "false negative", "prediction": "V", "answers": 5, "label": "1"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_counts(tmp_path: Path) -> None:
    found = audit(Numeric(), read_answers(write(tmp_path / "rows.jsonl", ROWS)))
    assert found.agreement == 0.5  # right and wrong, of four
    assert [row.answer.problem.id for row in found.false_positives] == ["false positive"]
    assert [row.answer.problem.id for row in found.false_negatives] == ["false negative"]
    assert found.statuses == {"ok": 3, "unparsable": 1}
    assert found.asymmetric == ()


def test_a_row_without_a_reward_neither_agrees_nor_disagrees(tmp_path: Path) -> None:
    """That numbers judge no word as a reference is not the prediction's fault."""
    rows = [*ROWS[:2], *({"prediction": "4", "answers": ["four pens or so"], "label": label} for label in (0, 1))]
    found = audit(Numeric(), read_answers(write(tmp_path / "rows.jsonl", rows)))
    assert [row.label for row in found.unjudged] == [False, True]
    assert (found.agreement, found.false_negatives) == (1.0, ())  # of the two that are judged
    assert "2 of 4 completions got no reward" in str(found.why_inconclusive)
    nothing = audit(Numeric(), read_answers(write(tmp_path / "rows.jsonl", rows[2:])))
    assert nothing.agreement is None


def test_a_verifier_that_is_not_symmetric_is_found(tmp_path: Path) -> None:
    rows = [{"prediction": "100", "answers": ["105.1"], "label": 1}]
    found = audit(Numeric(tolerance=0.05), read_answers(write(tmp_path / "rows.jsonl", rows)))
    assert len(found.asymmetric) == 1  # |100 - 105.1| = 5.1 <= 0.05 * 105.1 = 5.255, but > 0.05 * 100 = 5


def test_a_number_is_a_prediction(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prediction": 5, "answers": [5]}, {"prediction": -2.5, "answer": -2.5, "label": 1}]
    found = [answer for answer, _ in read_answers(write(tmp_path / "rows.jsonl", rows))]
    assert [one.completion for one in found] == ["5", "-2.5"]
    assert [verdict.reward for verdict in Numeric().judge(found)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"answers": ["5"]}, "has no text in the column 'prediction'"),
        ({"prediction": True, "answers": ["5"]}, "has no text in the column 'prediction' (it holds True)"),
        ({"prediction": float("nan"), "answers": ["5"]}, "has no text in the column 'prediction' (it holds nan)"),
        ({"prediction": "5", "answers": [float("nan")]}, "has no accepted answer"),
        ({"prediction": "5", "answer": float("inf")}, "has no accepted answer"),
        ({"prediction": "5"}, "has no accepted answer"),
        ({"prediction": "5", "answers": []}, "has no accepted answer"),
        ({"prediction": "5", "answers": [None]}, "has no accepted answer"),
        ({"prediction": "5", "answers": ["5"], "label": "maybe"}, "a label is true or false"),
        ({"prediction": "5", "answers": ["5"], "label": None}, "a label is true or false"),
    ],
)
def test_rows_that_cannot_be_used_are_named_with_their_line(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as error:
        read_answers(write(tmp_path / "rows.jsonl", [ROWS[0], row]))
    assert "Line 2 of" in str(error.value)
    assert words in str(error.value)
