"""Generated word problems: solvable from their text, and held out by their text."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from creditree.errors import ConfigError
from creditree.rng import Key
from creditree.tasks import WordProblems
from creditree.tasks.stories import KINDS, NAMES, Step, Story, draw


def drawn(seed: int, kinds: tuple[str, ...] = tuple(KINDS), distractors: float = 0.5) -> Story:
    return draw(default_rng(seed), kinds, distractors)


@given(st.integers(0, 2**32))
def test_a_story_says_every_number_that_its_solution_needs_and_no_two_are_equal(seed: int) -> None:
    story = drawn(seed)
    said = [int(number) for number in re.findall(r"\d+", story.question)]
    results = [step.result for step in story.steps]
    needed = {number for step in story.steps for number in (step.left, step.right)} - set(results[:-1])
    assert tuple(said) == story.numbers
    assert len(set(said)) == len(said)
    assert needed <= set(said)
    assert set(said) - {story.distractor} <= {number for step in story.steps for number in (step.left, step.right)}
    assert story.distractor is None or story.distractor in set(said) - needed


@given(st.integers(0, 2**32))
def test_every_step_comes_to_a_positive_whole_number(seed: int) -> None:
    for step in drawn(seed).steps:
        assert step.result >= 1
        if step.operation == "/":
            assert step.result * step.right == step.left


@pytest.mark.parametrize(
    ("step", "result"),
    [(Step(8, "+", 3), 11), (Step(8, "-", 3), 5), (Step(8, "*", 3), 24), (Step(24, "/", 3), 8)],
    ids=str,
)
def test_the_four_operations(step: Step, result: int) -> None:
    assert step.result == result


# Read by hand: the text, and what a reader would compute.
@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("gain", "a+b"),
        ("loss", "a-b"),
        ("total", "a+b"),
        ("groups", "a*b"),
        ("share", "a/b"),
        ("compare", "a-b"),
        ("start", "a+b"),
        ("gain_loss", "a+b r-c"),
        ("more_total", "a+b a+r"),
        ("groups_loss", "a*b r-c"),
    ],
)
def test_the_solution_of_each_kind(kind: str, steps: str) -> None:
    assert " ".join("".join(step) for step in KINDS[kind].steps) == steps


@given(st.integers(0, 2**32), st.sampled_from(sorted(KINDS)))
def test_a_kind_and_the_share_of_distractors_are_as_asked(seed: int, kind: str) -> None:
    one_step = len(KINDS[kind].steps) == 1
    assert drawn(seed, (kind,)).kind == kind
    assert drawn(seed, (kind,), 0.0).distractor is None
    assert (drawn(seed, (kind,), 1.0).distractor is not None) == one_step


def test_the_comparison_is_asked_of_the_one_who_has_more() -> None:
    for seed in range(100):
        story = drawn(seed, ("compare",), 0.0)
        who, other = (
            next(name for name in re.findall(r"\w+", part) if name in NAMES)
            for part in (
                story.question.split("does " if "does " in story.question else "did ")[-1],
                story.question.split("than ")[-1],
            )
        )
        amounts = {name: int(number) for name, number in re.findall(r"(\w+) (?:has|found) (\d+)", story.question)}
        assert story.answer == amounts[who] - amounts[other]


def test_training_never_draws_a_held_out_question() -> None:
    task = WordProblems(kinds=("share",), distractors=0.0)
    held_out = {split: {problem.question for problem in task.held_out(split, 1000)} for split in ("test", "validation")}
    trained = {task.training(Key.of(0), index).question for index in range(6000)}
    assert not held_out["test"] & held_out["validation"]
    assert not trained & (held_out["test"] | held_out["validation"])


def test_held_out_problems_are_fixed_different_and_cut_by_a_limit() -> None:
    problems = WordProblems().held_out("test")
    assert len(problems) == len({problem.question for problem in problems}) == 500
    assert WordProblems().held_out("test", 20) == problems[:20]
    assert [problem.question for problem in problems[:2]] == HELD_OUT


HELD_OUT = [
    "Jack has 13 apples. Mia has 7 apples. How many more apples does Jack have than Mia?",
    "There were 19 hats in the tray. Sam took out 12. How many hats are left in the tray?",
]


def test_a_training_problem_is_a_function_of_key_and_index() -> None:
    task = WordProblems()
    forward = [task.training(Key.of(0), index) for index in range(50)]
    assert [task.training(Key.of(0), index) for index in reversed(range(50))] == forward[::-1]
    assert [task.training(Key.of(1), index) for index in range(50)] != forward
    assert task.num_training is None


def test_all_kinds_come_up_equally_often() -> None:
    task = WordProblems()
    counts = Counter(task.training(Key.of(0), index).columns["kind"] for index in range(2000))
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 130


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kinds": ()}, "kinds is empty"),
        ({"kinds": ("compair",)}, "Did you mean 'compare'?"),
        ({"distractors": 1.5}, "distractors is 1.5; it must be between 0 and 1"),
        ({"num_held_out": 0}, "num_held_out is 0"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        WordProblems(**arguments)  # type: ignore[arg-type]
    assert reason in str(raised.value)
