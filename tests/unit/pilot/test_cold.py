"""A cold start: when one is made, of what, and what is tried."""

from collections.abc import Sequence

import pytest

from creditree.config.load import dump_config
from creditree.pilot.cold import WARM_STEPS, Cold, cold_settings, cold_start, right_solutions, unread
from creditree.pilot.outlook import verdict
from creditree.pilot.request import Setting, run_config
from creditree.problem import Problem, Verdict
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier
from tests.unit.pilot.test_outlook import made
from tests.unit.pilot.test_request import FILES, FRAME, request

NOTHING = made(accuracy=0.01, mixed=(0.0, 0.01, 0.02))


class Equal(Verifier):
    """A fake grader: the completion is the answer."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge."""
        return tuple(Verdict(float(one.completion == one.problem.answers[0])) for one in answers)


def _problems(*solutions: str | None) -> list[Problem]:
    return [Problem(str(place), "q", ("1",), solution=text) for place, text in enumerate(solutions)]


@pytest.mark.parametrize(
    ("solutions", "right"), [(("1", "1", "2", "1"), 0.75), (("1", None), None), ((), None), (("1",), 1.0)]
)
def test_solutions_are_tried_on_the_grader(solutions: tuple[str | None, ...], right: float | None) -> None:
    assert right_solutions(_problems(*solutions), PromptTemplate(), Equal()) == right


def test_with_solutions_that_the_grader_takes_they_are_used() -> None:
    cold = cold_start(NOTHING, verdict(NOTHING, 8)[0], 0.95)
    assert cold == Cold(0.01, 0.95)
    assert cold.with_solutions
    assert cold.text == (
        "The base model solves next to nothing (1.0%), so comparing completions teaches nothing yet: training begins "
        "with the worked solutions, by a warm start of supervised steps or by a part of the solution that is given and "
        "withdrawn."
    )
    never = made(accuracy=0.0, mixed=(0.0, 0.0, 0.0), unparsable=0.9)
    assert cold_start(never, verdict(never, 8)[0], 1.0) is not None  # how an answer looks is in the solutions too


@pytest.mark.parametrize("right", [None, 0.2])
def test_without_them_the_rare_successes_are(right: float | None) -> None:
    cold = cold_start(NOTHING, verdict(NOTHING, 8)[0], right)
    assert cold is not None
    assert not cold.with_solutions
    assert cold.text.endswith("training begins with the few completions that are right (rejection sampling).")
    cut = made(accuracy=0.01, mixed=(0.0, 0.01, 0.02), truncated=0.6)
    assert cold_start(cut, verdict(cut, 8)[0], right) is None


def test_where_there_is_signal_nothing_is_cold() -> None:
    for found in (made(), made(accuracy=0.9, mixed=(0.0, 0.01, 0.02)), made(accuracy=0.99, mixed=(0.0, 0.0, 0.0))):
        assert cold_start(found, verdict(found, 8)[0], 1.0) is None


def test_golden_settings() -> None:
    # 40 solutions, 4 times each, 8 in a step: 20 steps; 1,000 would be 500, so 60
    assert cold_settings(Cold(0.0, 1.0), 600_000, 40) == (
        Setting("grpo", 0.005, warm_steps=20),
        Setting("grpo", 0.005, explore="solution_prefix"),
        Setting("t-spmo", 0.005, warm_steps=20),
        Setting("grpo", 0.0017, warm_steps=20),
    )
    assert cold_settings(Cold(0.0, 1.0), 600_000, 1000)[0].warm_steps == WARM_STEPS
    assert cold_settings(Cold(0.01, None), 600_000, 40) == (
        Setting("raft", 0.005),
        Setting("grpo", 0.005),
        Setting("raft", 0.0017),
    )


def test_their_names_say_how_they_begin() -> None:
    assert [one.name for one in cold_settings(Cold(0.0, 1.0), 600_000, 40)[:2]] == [
        "grpo after a warm start of 20 steps, learning rate 0.005",
        "grpo with solution_prefix, learning rate 0.005",
    ]


@pytest.mark.parametrize("setting", [*cold_settings(Cold(0.0, 1.0), 600_000, 40), Setting("raft", 0.005)], ids=str)
def test_each_is_a_configuration(setting: Setting) -> None:
    config = run_config(request(), FILES, FRAME, setting, 1.0, {})
    assert config.warm_start.steps == setting.warm_steps
    assert f"warm_start:\n  steps: {setting.warm_steps}\n" in dump_config(config)
    assert config.method.build().explore.name == (setting.explore or config.method.build().explore.name)
    assert config.train.learning_rate == setting.learning_rate


def test_solutions_that_are_of_no_use_are_named() -> None:
    assert unread(0.5) == " The worked solutions are no help as they are: the grader takes 50% of them for right."
    assert unread(None) == unread(1.0) == ""
