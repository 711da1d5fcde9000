"""Generated multiplication: right answers, and held-out problems that training cannot draw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks import Multiplication, PromptTemplate, Split


def operands(problem: Problem) -> tuple[int, int]:
    a, b = problem.columns["a"], problem.columns["b"]
    assert isinstance(a, int)
    assert isinstance(b, int)
    return a, b


@given(st.integers(0, 2**32), st.integers(0, 10**9), st.integers(1, 9), st.integers(1, 9))
def test_a_problem_is_in_range_and_its_answer_is_the_product(seed: int, index: int, of_a: int, of_b: int) -> None:
    if of_a == of_b == 1:
        of_a = 2
    problem = Multiplication(of_a, of_b).training(Key.of(seed), index)
    a, b = operands(problem)
    assert (len(str(a)), len(str(b))) == (of_a, of_b)
    assert min(a, b) >= 2
    assert (problem.question, problem.answers, problem.id) == (f"{a}*{b}=", (str(a * b),), f"{a}*{b}")


@pytest.mark.parametrize(
    "task", [Multiplication(3, 1), Multiplication(2, 2), Multiplication.paper()], ids=lambda task: task.name
)
def test_training_never_draws_a_held_out_pair_in_either_order(task: Multiplication) -> None:
    held_out: dict[Split, set[frozenset[int]]] = {
        "test": {frozenset(operands(problem)) for problem in task.held_out("test", 8000)},
        "validation": {frozenset(operands(problem)) for problem in task.held_out("validation", 8000)},
    }
    trained = {frozenset(operands(task.training(Key.of(1), index))) for index in range(4000)}
    assert len(trained) > 1000
    assert not held_out["test"] & held_out["validation"]
    assert not trained & (held_out["test"] | held_out["validation"])


def test_every_pair_is_in_one_slice_and_a_tenth_is_in_each_held_out_one() -> None:
    task = Multiplication(3, 1)
    sizes = {split: len(task.held_out(split, 10**6)) for split in ("test", "validation")}
    assert all(0.08 < size / (900 * 8) < 0.12 for size in sizes.values()), sizes


def test_held_out_problems_are_the_same_for_everyone() -> None:
    assert [problem.id for problem in Multiplication(3, 1).held_out("test", 5)] == HELD_OUT_3X1
    assert [problem.id for problem in Multiplication(6, 6).held_out("test", 3)] == HELD_OUT_6X6


HELD_OUT_3X1 = ["782*7", "972*2", "684*4", "889*7", "686*4"]
HELD_OUT_6X6 = ["373036*819553", "369983*659992", "838739*227095"]


@pytest.mark.parametrize(
    "task", [Multiplication(3, 1), Multiplication(6, 6), Multiplication.paper()], ids=lambda task: task.name
)
def test_a_limit_takes_the_first_ones_and_all_are_different(task: Multiplication) -> None:
    default = task.held_out("test")
    assert len(default) == task.num_held_out == len({problem.id for problem in default})
    assert task.held_out("test", 40) == default[:40]
    assert task.held_out("test", 0) == ()


def test_a_small_range_gives_all_that_it_has() -> None:
    task = Multiplication(2, 1)
    assert 0 < len(task.held_out("test")) < 150


def test_a_training_problem_is_a_function_of_key_and_index() -> None:
    task = Multiplication(4, 1)
    drawn = [task.training(Key.of(0), index) for index in range(50)]
    assert [task.training(Key.of(0), index) for index in reversed(range(50))] == drawn[::-1]
    assert [task.training(Key.of(1), index) for index in range(50)] != drawn
    assert len(set(problem.id for problem in drawn)) > 40


def test_the_papers_preset() -> None:
    task = Multiplication.paper()
    pairs = [operands(problem) for problem in task.held_out("test")]
    assert len(pairs) == 3000
    assert all(101 <= number <= 999 for pair in pairs for number in pair)
    assert (task.name, task.num_training) == ("multiplication-101..999x101..999", None)
    assert task.prompt.render(Problem("p", "?", ("6",), {"a": 2, "b": 3})).startswith("What is 2 * 3?")


def test_the_built_in_models_prompt() -> None:
    task = Multiplication()
    assert task.name == "multiplication-3x1"
    assert task.prompt.render(Problem("347*6", "347*6=", ("2082",))) == "347*6=\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"digits_a": 0}, "digits_a is 0; it must be between 1 and 9"),
        ({"digits_b": 10}, "digits_b is 10"),
        ({"range_a": (9, 3)}, "range_a is 9..3"),
        ({"range_b": (-3, 3)}, "range_b is -3..3"),
        ({"range_a": (5, 10**9)}, "range_a is 5..1000000000"),
        ({"range_a": (3, 4), "range_b": (3, 4)}, "too few pairs"),
        ({"num_held_out": 0}, "num_held_out is 0"),
        ({"prompt": PromptTemplate("{question} {c}")}, "asks for {c}"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Multiplication(**arguments)  # type: ignore[arg-type]
    assert reason in str(raised.value)
