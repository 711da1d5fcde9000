"""A base that solves next to nothing: how training can begin where comparing completions teaches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from creditree.explore.solution_prefix import SolutionPrefix
from creditree.methods import BASELINE, DEFAULT, REJECTION
from creditree.pilot.outlook import Outlook, Prospect
from creditree.pilot.request import WARM_PROBLEMS, Setting
from creditree.problem import Problem
from creditree.setup.defaults import usual_rate
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier

NEXT_TO_NOTHING = 0.05
"""A base that solves less than this share begins cold."""
READ = 0.9
"""Worked solutions are used where the grader takes this share of them for right."""
JUDGED = 100
"""Worked solutions that the grader is tried on."""
USELESS = 0.5
"""Where more completions than this are cut off, or have no answer, they are no samples to choose right ones from."""
WARM_STEPS, WARM_PASSES = 60, 4
"""A warm start has at most so many steps, and sees each solution at most so often."""


@dataclass(frozen=True, slots=True)
class Cold:
    """What a cold start begins with: worked solutions, or else the rare completions that are right.

    `solved`: the share that the base solves;  `right`: the share of the solutions that the grader takes for right,
    None: there are none.
    """

    solved: float
    right: float | None

    @property
    def with_solutions(self) -> bool:
        """Whether worked solutions are used."""
        return self.right is not None and self.right >= READ

    @property
    def text(self) -> str:
        """Return what is done, and why, in a sentence."""
        head = (
            f"The base model solves next to nothing ({self.solved:.1%}), so comparing completions teaches nothing yet:"
        )
        if self.with_solutions:
            return (
                f"{head} training begins with the worked solutions, by a warm start of supervised steps or by a part "
                "of the solution that is given and withdrawn."
            )
        return f"{head} training begins with the few completions that are right (rejection sampling)."

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"solved": self.solved, "solutions_right": self.right, "text": self.text}


def right_solutions(problems: Sequence[Problem], prompt: PromptTemplate, verifier: Verifier) -> float | None:
    """Return the share of the first worked solutions that the grader takes for right; None where a problem has none."""
    if not problems or any(problem.solution is None for problem in problems):
        return None
    answers = [Answer(problem, prompt.render(problem), problem.solution or "") for problem in problems[:JUDGED]]
    rewards = [verdict.reward for verdict in verifier.judge(answers)]
    return sum(reward is not None and reward >= 1.0 for reward in rewards) / len(rewards)


def cold_start(outlook: Outlook, kind: Prospect, right: float | None) -> Cold | None:
    """Return how to begin where there is no signal because next to nothing is solved; None where nothing would help."""
    cold = Cold(outlook.accuracy.value, right)
    if kind != "no_signal" or outlook.accuracy.value >= NEXT_TO_NOTHING:
        return None
    if cold.with_solutions:
        return cold
    rare = outlook.best_of.value > 0 and max(outlook.truncated, outlook.unparsable) <= USELESS
    return cold if rare else None


def cold_settings(cold: Cold, num_parameters: int, num_training: int) -> tuple[Setting, ...]:
    """Return settings for a cold start in the order of preference.

    With solutions: GRPO after a warm start, GRPO from a part of the solution, T-SPMO after a warm start, the first at a
    third of the rate. Without: rejection sampling, GRPO, and the first at a third of the rate.
    """
    high, low = usual_rate(num_parameters), usual_rate(num_parameters, share=1 / 3)
    if not cold.with_solutions:
        return Setting(REJECTION, high), Setting(BASELINE, high), Setting(REJECTION, low)
    steps = min(WARM_STEPS, ceil(WARM_PASSES * num_training / WARM_PROBLEMS))
    return (
        Setting(BASELINE, high, warm_steps=steps),
        Setting(BASELINE, high, explore=SolutionPrefix.name),
        Setting(DEFAULT, high, warm_steps=steps),
        Setting(BASELINE, low, warm_steps=steps),
    )


def unread(right: float | None) -> str:
    """Return why worked solutions are not used, where there are some; else ""."""
    if right is None or right >= READ:
        return ""
    return f" The worked solutions are no help as they are: the grader takes {right:.0%} of them for right."
