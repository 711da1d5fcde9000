"""Lengths, answers and groups of a set, in figures that can be counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.pilot.balance import (
    Lengths,
    check_answers,
    check_groups,
    check_lengths,
    constant_accuracy,
    room_for_completions,
)
from creditree.pilot.problems import PlacedProblem
from creditree.problem import Problem
from tests.unit.pilot.samples import placed, problem, splits


def many(*answers: str, start: str = "p", **columns: object) -> list[Problem]:
    return [problem(f"{start}{n}", f"q{n}", answer, **columns) for n, answer in enumerate(answers)]


def rows(count: int) -> list[PlacedProblem]:
    return [placed(f"q{n}", name=f"p{n}") for n in range(count)]


def test_long_prompts_go_and_the_shape_is_of_the_others() -> None:
    # Of 10, 10, 20, 30 the median is 15, and at least 95 % have at most 30.
    counts = {"p0": 10, "p1": 30, "p2": 20, "p3": 10, "p4": 31}
    kept, shape, said = check_lengths(rows(5), counts, 30)
    assert [one.problem.id for one in kept] == ["p0", "p1", "p2", "p3"]
    assert shape == Lengths(15, 30, 30)
    assert [(one.kind, one.severity, one.places) for one in said] == [
        ("long_prompts", "caution", ("row q4",)),
        ("prompt_lengths", "note", ()),
    ]
    assert said[1].text == "prompts have 15 tokens in the median, 95 % at most 30, the longest 30"


def test_one_prompt_of_over_four_times_the_median_is_said() -> None:
    counts = {"p0": 10, "p1": 10, "p2": 40}
    assert [one.kind for one in check_lengths(rows(3), counts, 99)[2]] == ["prompt_lengths"]
    counts["p2"] = 41
    assert [one.kind for one in check_lengths(rows(3), counts, 99)[2]] == ["prompt_lengths", "uneven_prompts"]


def test_where_no_prompt_fits_the_pilot_ends() -> None:
    kept, shape, said = check_lengths(rows(2), {"p0": 9, "p1": 8}, 7)
    assert (kept, shape) == ([], Lengths(0, 0, 0))
    assert (said[0].severity, said[0].places) == ("blocker", ("row q0", "row q1"))


@given(counts=st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_at_least_95_percent_are_no_longer_than_is_said(counts: list[int]) -> None:
    shape = check_lengths(rows(len(counts)), {f"p{n}": count for n, count in enumerate(counts)}, 1000)[1]
    shorter = [sum(count <= limit for count in counts) / len(counts) for limit in (shape.high, shape.high - 1)]
    assert shorter[0] >= 0.95 > shorter[1]
    assert shape.longest == max(counts)


def test_the_constant_answer_is_the_training_s_and_is_measured_on_the_test() -> None:
    # In training "a" is commonest (A, a.); of the tests two of four accept it, one as its second answer.
    test = [*many("a", "b", "c", start="t"), Problem("t3", "q", ("d", "A"))]
    found = splits(many("A", "a.", "b"), many("c", "c", "c", start="v"), test)
    assert constant_accuracy(found) == ("a", 0.5)
    kinds = {one.kind: one for one in check_answers(found)}
    assert kinds["constant_answer"].severity == "caution"
    assert kinds["constant_answer"].text == "always answering 'a' would be right on 50% of the test problems"
    # Of ten first answers a: 3, b: 2, c: 4, d: 1.
    assert kinds["classes"].text == "4 different answers: c 40%, a 30%, b 20%, d 10%"


def test_few_constant_answers_are_a_note_none_is_nothing() -> None:
    training = many("a", "a", "b")
    for test, severity in (
        (many("a", *"bcdefghij", start="t"), "note"),
        (many("a", "a", "a", *"bcdefgh", start="t"), "note"),  # 3 of 10 are not above 30 %
        (many("a", "a", "a", *"bcdef", start="t"), "caution"),
    ):
        assert check_answers(splits(training, (), test))[-1].severity == severity
    assert [one.kind for one in check_answers(splits(training, (), many("x", "y", start="t")))] == ["classes"]


def test_one_answer_ends_the_pilot_and_many_are_no_classes() -> None:
    (said,) = check_answers(splits(many("5", "5."), many("5", start="v"), many("5", start="t")))
    assert (said.kind, said.severity) == ("one_answer", "blocker")
    assert said.text.startswith("all problems have the answer '5', so there is nothing to learn")
    for count, kinds in ((20, ["classes"]), (21, [])):
        training = many(*(str(n) for n in range(count - 1)))
        assert [one.kind for one in check_answers(splits(training, (), many("99", start="t")))] == kinds


def test_groups_that_are_missing_from_training_or_test() -> None:
    training = [*many("1", "2", kind="add"), *many("3", start="x", kind="mul")]
    test = [*many("4", start="t", kind="add"), *many("5", start="u", kind="div")]
    said = check_groups(splits(training, many("6", start="v"), test), "kind")
    # Of six: add 3, mul 1, div 1, and one without the column.
    assert said[0].text.startswith("kind: add 50%, ")
    assert said[0].severity == "note"
    assert [one.text for one in said[1:]] == [
        "kind: , div has no problem to train on",
        "kind: , mul has no problem in the test",
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_groups_in_both_are_only_counted(count: int) -> None:
    group = many(*"123"[:count], kind="a")
    assert [one.kind for one in check_groups(splits(group, (), group), "kind")] == ["groups"]


def test_room_for_completions() -> None:
    # 99 prompts of 20 to 30 tokens and one of 90: the last is over twice the 95 % quantile, 30, and does not count.
    lengths = [20] * 50 + [30] * 49 + [90]
    assert room_for_completions(lengths, 128) == 128 - 30
    assert room_for_completions(lengths, 32_768) == 512
    assert room_for_completions(lengths, 50) == 32
    # One of 60 is exactly twice as long: it counts.
    assert room_for_completions([*lengths[:-1], 60], 128) == 128 - 60
