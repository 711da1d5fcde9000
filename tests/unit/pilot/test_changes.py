"""Which problems changed, which groups, and what is answered most."""

import pytest

from creditree.evaluate.accuracy import Evaluation
from creditree.pilot.changes import changes_by_group, commonest_answer
from creditree.rng import Key
from tests.unit.pilot.samples import attempt, evaluation, problem

KEY = Key.of(3)


def test_groups_of_five_and_more_by_hand() -> None:
    kinds = ["add"] * 6 + ["mul"] * 5 + ["rare"] * 4
    asked = [problem(f"p{n}", f"q{n}", kind=kind) for n, kind in enumerate(kinds)]
    # add: all six gained, p = 2 / 2^6 = 0.03125; mul: one lost, p = 1; rare is too small.
    before = {f"p{n}": float(n in (6, 7)) for n in range(15)}
    after = {f"p{n}": float(n < 6 or n == 7) for n in range(15)}
    add, mul = changes_by_group(asked, "kind", evaluation(before), evaluation(after), KEY)
    assert (add.name, add.n, add.before, add.after) == ("add", 6, 0.0, 1.0)
    assert (mul.name, mul.n, mul.before, mul.after) == ("mul", 5, 0.4, 0.2)
    assert add.difference.p_value == pytest.approx(0.03125)
    # Holm: the smaller of two times two.
    assert (add.adjusted_p, mul.adjusted_p) == pytest.approx((0.0625, 1.0))
    assert mul.difference.value == pytest.approx(-0.2)
    assert changes_by_group(asked[-4:], "kind", evaluation(before), evaluation(after), KEY) == []


def test_problems_without_the_column_are_a_group() -> None:
    asked = [problem(f"p{n}", f"q{n}") for n in range(5)]
    rewards = {f"p{n}": 1.0 for n in range(5)}
    (only,) = changes_by_group(asked, "kind", evaluation(rewards), evaluation(rewards), KEY)
    assert (only.name, only.n, only.adjusted_p) == ("", 5, 1.0)


def test_the_commonest_answer_is_a_share_of_all_problems() -> None:
    votes = ["7", None, "7", "8", None]
    first = [attempt(f"p{n}", 0.0, vote=vote) for n, vote in enumerate(votes)]
    second = [attempt(f"p{n}", 0.0, vote="8", index=1) for n in range(5)]
    assert commonest_answer(Evaluation.of([*first, *second])) == ("7", 2 / 5)
    assert commonest_answer(Evaluation.of([attempt("p", None)])) == ("", 0.0)
