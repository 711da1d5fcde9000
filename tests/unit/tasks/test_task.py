"""What the tasks share: problems that come up twice, and passes over a finite set."""

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.task import first_different, nth_of_passes


def test_a_problem_that_is_drawn_again_is_passed_over() -> None:
    one, two = (Problem(name, "?", ()) for name in ("one", "two"))
    assert first_different(iter([one, one, two, one]), 2) == (one, two)
    assert first_different(iter([one, one]), 5) == (one,)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32))
def test_so_many_passes_give_each_problem_so_often(size: int, num_passes: int, seed: int) -> None:
    problems = [Problem(str(number), "?", ()) for number in range(size)]
    drawn = [nth_of_passes(problems, Key.of(seed), index).id for index in range(size * num_passes)]
    assert Counter(drawn) == {problem.id: num_passes for problem in problems}


def test_a_generator_that_brings_no_new_problem_is_not_asked_without_end() -> None:
    few = (Problem(str(n % 3), "", ("1",)) for n in count())
    assert [problem.id for problem in first_different(few, 10)] == ["0", "1", "2"]
