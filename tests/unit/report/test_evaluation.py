import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console, RenderableType

from creditree.evaluate.accuracy import Evaluation
from creditree.problem import Problem
from creditree.report.evaluation import average_entry, decoding_entry, problem_rows, suite_view, task_view
from creditree.rng import Key
from creditree.runs.attempts import Attempt

KEY = Key.of(0)


def evaluation(rewards: dict[str, Sequence[float]]) -> Evaluation:
    return Evaluation.of(
        Attempt(p, i, r, "ok", str(r), 10, truncated=r == 0) for p, own in rewards.items() for i, r in enumerate(own)
    )


BETTER = evaluation({"a": [1.0, 1.0], "b": [1.0, 0.0], "c": [0.0, 0.0]})
WORSE = evaluation({"a": [1.0, 0.0], "b": [0.0, 0.0], "c": [0.0, 0.0]})
SIDES = {"measured": BETTER, "base": WORSE}


def text(view: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def record(entry: dict[str, Any]) -> dict[str, Any]:
    return {"target": "m", "task": "t", "split": "test", "n": 3, "notes": ["a note"], "decoding": {"T=1": entry}}


def test_an_entry_has_both_sides_and_their_difference() -> None:
    entry = decoding_entry(SIDES, (1, 2), KEY)
    # (1 + 1/2 + 0) / 3 and (1/2 + 0 + 0) / 3; pass@2 (1 + 1 + 0) / 3.
    assert entry["pass@1"]["value"] == pytest.approx(0.5)
    assert entry["base"]["pass@1"]["value"] == pytest.approx(1 / 6)
    assert entry["pass@2"] == entry["pass@k"]["2"]
    assert entry["pass@2"]["value"] == pytest.approx(2 / 3)
    assert entry["maj@2"]["value"] == pytest.approx(0.5)
    assert entry["difference"]["value"] == pytest.approx(1 / 3)
    assert (entry["difference"]["gained"], entry["difference"]["lost"]) == (2, 0)
    # Three of six are cut off; 60 tokens for three correct ones.
    assert (entry["truncated"], entry["truncation_rate"], entry["tokens_per_solved"]) == (3, 0.5, 20.0)
    assert "difference" not in decoding_entry({"measured": BETTER}, (1,), KEY)


def test_an_average_is_unweighted_and_has_the_difference_to_the_base() -> None:
    other = evaluation({"x": [1.0]})
    found = average_entry([SIDES, {"measured": other, "base": other}], KEY)
    assert found["pass@1"]["value"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["base"]["pass@1"]["value"] == pytest.approx((1 / 6 + 1.0) / 2)
    assert found["difference"]["value"] == pytest.approx(1 / 6)
    assert found["difference"]["n"] == 4
    assert "base" not in average_entry([SIDES, {"measured": other}], KEY)


def test_rows_of_problems_follow_the_problems() -> None:
    problems = [Problem(name, f"{name}?", ("1",)) for name in "cab"]
    rows = problem_rows("t", "T=1", SIDES, problems)
    assert [(row["side"], row["problem_id"], row["correct"]) for row in rows] == [
        ("measured", "c", 0), ("measured", "a", 2), ("measured", "b", 1),
        ("base", "c", 0), ("base", "a", 1), ("base", "b", 0),
    ]  # fmt: skip
    assert rows[1]["majority"] == "1.0"
    assert rows[1]["digest"] == problems[1].digest


def test_views_say_the_same_in_words() -> None:
    entry = decoding_entry(SIDES, (1, 2), KEY)
    shown = text(task_view(record(entry)))
    for words in ("50.0 (", "16.7 (", "+33.3 (", "20 tokens per solved problem, 50.0 % of the completions", "a note"):
        assert words in shown
    none = decoding_entry({"measured": evaluation({"a": [0.0]})}, (1,), KEY)
    assert "none was solved" in text(task_view(record(none)))
    average = {"T=1": average_entry([SIDES], KEY)}
    suite = {"target": "m", "suite": "s", "average": average, "tasks": {"t": record(entry)}}
    assert "t 3 2 50.0 % 50.0 (" in text(suite_view(suite))
    alone = {"T=1": average_entry([{"measured": BETTER}], KEY)}
    assert "difference" not in text(suite_view(suite | {"average": alone}))


def test_completions_without_a_reward_are_said() -> None:
    failed = Attempt("a", 0, None, "crash", None, 3, truncated=False, detail="it broke")
    some = Evaluation.of([failed, *(Attempt("b", n, 1.0, "ok", "1", 3, truncated=False) for n in range(2))])
    shown = text(task_view(record(decoding_entry({"measured": some}, (1,), KEY))))
    assert "100.0 (" in shown
    assert "1 of 3 completions got no reward and are left out: it broke" in shown
