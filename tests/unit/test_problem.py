"""Problems and verdicts: plain, frozen data."""

from dataclasses import FrozenInstanceError

import pytest

from creditree.problem import Problem, Verdict


def test_a_problem_is_its_id_question_and_answers_whatever_else_its_row_had() -> None:
    one, two = Problem("p", "1+1?", ("2",)), Problem("p", "1+1?", ("2",), {"level": 3})
    assert one == two
    assert hash(one) == hash(two)
    assert dict(one.columns) == {}
    assert one != Problem("p", "1+1?", ("3",))


def test_neither_a_problem_nor_a_verdict_can_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Problem("p", "?", ()).question = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Verdict(1.0).reward = 0.0  # type: ignore[misc]


def test_a_problem_without_columns_shares_no_mutable_default() -> None:
    with pytest.raises(TypeError):
        Problem("p", "?", ()).columns["level"] = 3  # type: ignore[index]


def test_a_verdict_is_ok_unless_said_otherwise() -> None:
    assert Verdict(0.5) == Verdict(0.5, "ok", "")
