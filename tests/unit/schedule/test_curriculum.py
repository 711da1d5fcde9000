"""The curriculum: which problems are open when, by numbers and by words."""

import json

import pytest

from creditree.errors import ConfigError, DataError
from creditree.problem import Problem
from creditree.schedule.curriculum import Curriculum
from creditree.schedule.fixed import Fixed


def _problems(values: list[object], column: str = "difficulty") -> list[Problem]:
    return [Problem(str(place), "", (), {column: value}) for place, value in enumerate(values)]


def _open(schedule: Curriculum, values: list[object], steps: int) -> list[object]:
    """Return the values that are drawn after so many steps."""
    state = schedule.start(2)
    for _ in range(steps):
        state = json.loads(json.dumps(schedule.after(state, 8)))
    problems = _problems(values)
    return [value for value, one in zip(values, problems, strict=True) if schedule.takes(one, state)[0]]


def test_golden_curriculum_of_numbers() -> None:
    # easier than 1, 2, 2, 3, 5 are the shares 0, 0.2, 0.2, 0.6, 0.8; open are 0.2, then 0.4, 0.6, 0.8 and 1
    values: list[object] = [3, 1, "2", 5.0, 2]
    schedule = Curriculum(over=4).of_problems(_problems(values))
    assert _open(schedule, values, 0) == [1]
    assert _open(schedule, values, 1) == [1, "2", 2]
    assert _open(schedule, values, 2) == [1, "2", 2]
    assert _open(schedule, values, 3) == [3, 1, "2", 2]
    assert _open(schedule, values, 4) == _open(schedule, values, 9) == values


def test_golden_curriculum_of_words() -> None:
    values: list[object] = ["hard", "easy", "medium", "easy"]
    schedule = Curriculum(order=("easy", "medium", "hard"), open_first=0.5, over=2).of_problems(_problems(values))
    # easier than medium are 0.5, than hard 0.75; open are 0.5, 0.75 and 1
    assert _open(schedule, values, 0) == ["easy", "easy"]
    assert _open(schedule, values, 1) == ["easy", "medium", "easy"]
    assert _open(schedule, values, 2) == values


def test_all_open_it_is_fixed() -> None:
    values: list[object] = [1, 2, 3]
    schedule = Curriculum(open_first=1.0).of_problems(_problems(values))
    assert _open(schedule, values, 0) == values
    assert schedule.num_problems(schedule.start(3)) == Fixed().num_problems(Fixed().start(3)) == 3
    assert schedule.demand(3) == Fixed().demand(3)


@pytest.mark.parametrize("value", ["unknown", True, None, float("nan"), [1]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"Problem '0' has .* in column 'difficulty', which is no number: "):
        Curriculum().of_problems(_problems([value]))


def test_a_word_that_is_not_named_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"'hrad' in column 'difficulty', which method.order does not name.*Did you mean"
    ):
        Curriculum(order=("easy", "hard")).of_problems(_problems(["hrad"]))


def test_a_value_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.order is \['easy', 'easy'\]"):
        Curriculum(order=("easy", "easy"))
