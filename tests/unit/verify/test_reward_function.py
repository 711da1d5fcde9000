"""Reward functions: what they are called with, and what becomes of each wrong thing that they may return."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.problem import Problem
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer

ANSWERS = (
    Answer(Problem("a", "1+1?", ("2",), {"level": 1, "source": "x"}), "1+1?\n", "2"),
    Answer(Problem("b", "2+2?", ("4", "four"), {"level": 2}), "2+2?\n", "5"),
)


def rewards(function: Callable[..., object]) -> list[float | None]:
    return [verdict.reward for verdict in RewardFunction(function).judge(ANSWERS)]


def details(function: Callable[..., object]) -> list[str]:
    verdicts = RewardFunction(function).judge(ANSWERS)
    assert {(verdict.reward, verdict.status) for verdict in verdicts} == {(None, "crash")}
    return [verdict.detail for verdict in verdicts]


def test_a_function_gets_prompts_completions_answers_and_every_column_by_name() -> None:
    seen: dict[str, Any] = {}

    def function(**arguments: Any) -> list[float]:
        seen.update(arguments)
        return [1.0, 0.5]

    assert rewards(function) == [1.0, 0.5]
    assert seen == {
        "prompts": ["1+1?\n", "2+2?\n"],
        "completions": ["2", "5"],
        "answers": [["2"], ["4", "four"]],
        "question": ["1+1?", "2+2?"],
        "id": ["a", "b"],
        "level": [1, 2],
        "source": ["x", None],
    }


def test_a_function_without_kwargs_gets_what_it_names() -> None:
    def function(completions: list[str], level: list[int], weight: float = 2.0) -> list[float]:
        return [weight * one for one in level]

    assert rewards(function) == [2.0, 4.0]


def test_the_length_is_given_where_it_is_known_of_all() -> None:
    def function(completions: list[str], num_tokens: list[int]) -> list[float]:
        return [float(one) for one in num_tokens]

    assert "it needs the column 'num_tokens'" in details(function)[0]
    known = [replace(answer, num_tokens=7, max_tokens=9) for answer in ANSWERS]
    assert [verdict.reward for verdict in RewardFunction(function).judge(known)] == [7.0, 7.0]


def test_a_column_that_no_problem_has_is_named() -> None:
    def function(completions: list[str], levle: list[int]) -> list[float]:
        return [1.0, 1.0]

    detail = details(function)[0]
    assert "column 'levle'" in detail
    assert "Did you mean 'level'?" in detail


@pytest.mark.parametrize(
    "returned",
    [[1, 0], (1.0, 0.0), [True, False], np.array([1.0, 0.0]), np.array([1, 0]), [np.float32(1), np.bool_(False)]],
    ids=str,
)
def test_numbers_of_any_kind_are_rewards(returned: object) -> None:
    assert rewards(lambda **_: returned) == [1.0, 0.0]


def test_an_iterator_of_numbers_is_a_list_of_rewards() -> None:
    def function(completions: list[str], **_: object) -> Iterator[float]:
        yield from (float(text) for text in completions)

    assert rewards(function) == [2.0, 5.0]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (None, "None"),
        ("1.0", "'1.0'"),
        (b"1", "b'1'"),
        ([1.0], "[1.0]"),
        (1j, "1j"),
        (-3e30, "-3e+30"),
        (10**400, "1000"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_not_a_number_to_learn_from_is_reported_with_its_row_and_spares_the_others(
    wrong: object, shown: str
) -> None:
    first, second = RewardFunction(lambda **_: [1.0, wrong]).judge(ANSWERS)
    assert (first.reward, first.status) == (1.0, "ok")
    assert (second.reward, second.status) == (None, "crash")
    assert "row 2" in second.detail
    assert "problem b" in second.detail
    assert shown in second.detail


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ([1.0], "1 rewards for 2"),
        ([], "0 rewards for 2"),
        ([1.0, 1.0, 1.0], "more than 2 rewards for 2"),
        (None, "None instead of a list"),
        (1.0, "1.0 instead of a list"),
        ("ab", "'ab' instead of a list"),
        ({"a": 1, "b": 2}, "instead of a list"),
        ({1.0, 2.0}, "instead of a list"),
    ],
    ids=str,
)
def test_what_is_not_a_list_of_the_right_length_leaves_no_reward(returned: object, reason: str) -> None:
    for row, detail in enumerate(details(lambda **_: returned), 1):
        assert f"row {row} " in detail
        assert reason in detail


def test_an_endless_iterator_does_not_hang() -> None:
    def function(**_: object) -> Iterator[float]:
        while True:
            yield 1.0

    assert "more than 2" in details(function)[0]


def test_an_exception_is_reported_with_its_text() -> None:
    def function(**_: object) -> list[float]:
        raise ValueError("no key")

    assert all("raised ValueError: no key" in detail for detail in details(function))


def test_an_object_that_cannot_be_shown_is_still_reported() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    verdict = RewardFunction(lambda **_: [1.0, Shy()]).judge(ANSWERS)[1]
    assert "a Shy" in verdict.detail


class LeavesAsFloat:
    def __float__(self) -> float:
        raise SystemExit(0)


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), MemoryError(), RecursionError("deep")], ids=repr)
def test_nothing_that_it_raises_ends_the_program(error: BaseException) -> None:
    def function(**_: object) -> list[float]:
        raise error

    assert type(error).__name__ in details(function)[0]


def test_a_number_that_raises_when_it_is_read_does_not_end_the_program() -> None:
    assert "raised SystemExit: 0" in details(lambda **_: [1.0, LeavesAsFloat()])[0]


def test_the_rewards_of_a_coroutine_are_awaited() -> None:
    async def function(completions: list[str]) -> list[float]:
        return [float(text) for text in completions]

    assert rewards(function) == [2.0, 5.0]


def test_no_message_shows_where_an_object_lies_in_memory() -> None:
    first, second = RewardFunction(lambda **_: [object(), lambda: 1.0]).judge(ANSWERS)
    assert "returned a object" in first.detail
    assert "returned a function" in second.detail
    assert "0x" not in first.detail + second.detail + details(lambda **_: object())[0]


def test_an_interrupt_is_not_swallowed() -> None:
    def function(**_: object) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RewardFunction(function).judge(ANSWERS)


def test_a_function_that_empties_its_lists_does_no_harm() -> None:
    def function(completions: list[str], answers: list[list[str]]) -> list[float]:
        completions.clear()
        answers[1].clear()
        return [1.0, 0.0]

    assert rewards(function) == [1.0, 0.0]
    assert ANSWERS[1].problem.answers == ("4", "four")


def test_nothing_to_judge_calls_nothing() -> None:
    assert RewardFunction(lambda **_: 1 / 0).judge(()) == ()


@given(st.lists(st.one_of(st.none(), st.floats(), st.text(), st.booleans(), st.integers(), st.binary()), max_size=4))
def test_whatever_is_returned_there_is_one_verdict_an_answer_and_only_finite_rewards(returned: list[object]) -> None:
    verdicts = RewardFunction(lambda **_: returned).judge(ANSWERS)
    assert len(verdicts) == 2
    for verdict in verdicts:
        assert (verdict.reward is None) == (verdict.status == "crash") == bool(verdict.detail)
        assert verdict.reward is None or np.isfinite(verdict.reward)
