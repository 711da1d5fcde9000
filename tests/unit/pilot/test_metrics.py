"""Metrics of the user's own: a column, a function in a file, and what cannot be measured."""

from pathlib import Path

import pytest

from creditree.errors import ConfigError, CreditreeError, DataError
from creditree.pilot.metrics import check_metric, measure_metric
from creditree.rng import Key
from tests.unit.pilot.samples import evaluation, problem

KEY = Key.of(9)
ASKED = [problem(f"p{n}", f"question {n}", price=price) for n, price in enumerate(["10", 2, 0.5])]
PROMPTS = [f"{one.question}\n" for one in ASKED]
BEFORE = evaluation({"p0": 0.0, "p1": 1.0, "p2": None}, "old ")
AFTER = evaluation({"p0": 1.0, "p1": 1.0, "p2": 0.0}, "new, ")

CODE = """
def length(completions, **columns):
    return [float(len(text)) for text in completions]

def after_only(completions, id, **columns):
    return [None if text.startswith("old") and name == "p1" else float(len(text)) for text, name in
            zip(completions, id)]

def before_only(completions, **columns):
    return [None if text == "new, p2" else float(len(text)) for text in completions]

def broken(completions, **columns):
    raise RuntimeError("no such thing")
"""


@pytest.fixture
def code(tmp_path: Path) -> str:
    path = tmp_path / "metrics.py"
    path.write_text(CODE, encoding="utf-8")
    return str(path)


def test_a_column_is_what_the_solved_problems_are_worth() -> None:
    # Before: 0 + 2, after: 10 + 2, over the two of three problems that were judged on both sides.
    found = measure_metric("column:price", ASKED, PROMPTS, BEFORE, AFTER, KEY)
    assert (found.name, found.problems) == ("column:price", 2)
    assert (found.before, found.after) == pytest.approx((1.0, 6.0))
    assert found.difference.value == pytest.approx(5.0)
    assert (found.difference.gained, found.difference.lost) == (1, 0)


def test_a_function_of_the_completions(code: str) -> None:
    # "old p0" has 6 characters, "new, p0" 7.
    found = measure_metric(f"{code}:length", ASKED, PROMPTS, BEFORE, AFTER, KEY)
    assert (found.before, found.after, found.problems) == (6.0, 7.0, 3)
    assert (found.difference.value, found.difference.interval.low) == (1.0, 1.0)


@pytest.mark.parametrize("name", ["after_only", "before_only"])
def test_a_problem_without_a_number_on_one_side_is_left_out_of_both(code: str, name: str) -> None:
    found = measure_metric(f"{code}:{name}", ASKED, PROMPTS, BEFORE, AFTER, KEY)
    assert (found.before, found.after, found.problems, found.difference.n) == (6.0, 7.0, 2, 2)


def test_a_function_that_fails_on_every_problem_is_one_sentence(code: str) -> None:
    with pytest.raises(DataError, match=r"gave no number for any problem: .*RuntimeError: no such thing") as raised:
        measure_metric(f"{code}:broken", ASKED, PROMPTS, BEFORE, AFTER, KEY)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("held", ["much", None, "nan", "inf", True])
def test_a_worth_that_is_no_number_names_its_problem(held: object) -> None:
    asked = [*ASKED[:2], problem("p2", "q", price=held)]
    with pytest.raises(DataError, match=r"Problem p2 has .* in column 'price'"):
        measure_metric("column:price", asked, PROMPTS, BEFORE, AFTER, KEY)


def test_metrics_are_checked_before_anything_is_measured(code: str) -> None:
    check_metric("column:price", ASKED)
    check_metric(f"{code}:length", ASKED)
    with pytest.raises(ConfigError, match=r"`metrics` column:prize: .* no such column\. Did you mean 'price'\?"):
        check_metric("column:prize", ASKED)
    with pytest.raises(ConfigError, match=r"write file\.py:function"):
        check_metric("length", ASKED)
    for missing in (f"{code}:lenght", "nowhere.py:length"):
        with pytest.raises(CreditreeError):
            check_metric(missing, ASKED)
    with pytest.raises(DataError, match="in column 'price', which is no number"):
        check_metric("column:price", [*ASKED, problem("late", "q", price="n/a")])
    with pytest.raises(ConfigError, match="gives no number for the reference answers"):
        check_metric(f"{code}:broken", ASKED)
