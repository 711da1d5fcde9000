"""How fast the base model answers here: a few problems are timed, and decide how many can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from time import monotonic

from creditree.engines.engine import Sampling
from creditree.engines.pulse import Told
from creditree.errors import ConfigError
from creditree.evaluate.examiner import Examiner
from creditree.pilot.outlook import GROUPS
from creditree.problem import Problem
from creditree.report.wording import duration

TEMPERATURES = (0.4, 0.7, 1.0)
SAMPLES = GROUPS[-1]
LEAST, MOST = 16, 96
"""Problems looked at."""
SHARE, MOST_SHARE = 0.15, 0.35
"""Of the budget: what looking takes, and what it may take at its least."""
PROBED, MOST_PROBED, LEAST_TIMED_S = 4, 32, 1.0
"""So many problems are timed first, and twice as many again while that takes under a second: small batches are slow."""
ALONE = 3
"""A problem alone may take so many times what it takes among others; one that takes more is not tried further."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds of one completion among several on a prompt, of one on a prompt of its own, and of loading the model.

    `problems` are looked at, at each of `temperatures`.
    """

    completion_s: float
    single_s: float
    load_s: float
    problems: int
    temperatures: tuple[float, ...]


def probe(
    examiner: Examiner, problems: Sequence[Problem], budget_s: float, load_s: float, told: Told | None = None
) -> Probe:
    """Time a few problems, and choose how many are looked at: 16 to 96, in 15 % of the budget where that suffices.

    Where 16 problems at three temperatures would take more than 35 % of it, they are sampled at T = 1 only. Raises
    ConfigError, soon, where even that would.
    """
    _sample(examiner, problems[:1], 1, told)  # what is slow only once
    begun = monotonic()
    _sample(examiner, problems[:1], SAMPLES, told)
    _check((monotonic() - begun) / SAMPLES / ALONE, budget_s)
    completion_s = _timed(examiner, problems, SAMPLES, told)
    _check(completion_s, budget_s)
    everywhere = LEAST * SAMPLES * len(TEMPERATURES) * completion_s <= MOST_SHARE * budget_s
    temperatures = TEMPERATURES if everywhere else TEMPERATURES[-1:]
    affordable = int(SHARE * budget_s / (SAMPLES * len(temperatures) * completion_s))
    count = min(MOST, max(LEAST, affordable), len(problems))
    return Probe(completion_s, _timed(examiner, problems, 1, told), load_s, count, temperatures)


def _check(completion_s: float, budget_s: float) -> None:
    least = LEAST * SAMPLES * completion_s
    if least > MOST_SHARE * budget_s:
        raise ConfigError(
            f"`budget` {duration(budget_s)} is too short: looking at {LEAST} problems takes {duration(least)} with "
            f"this model; set `budget` to {ceil(least / MOST_SHARE / 60)}m or more, lower `max_new_tokens`, or take a "
            "smaller model."
        )


def _timed(examiner: Examiner, problems: Sequence[Problem], samples: int, told: Told | None) -> float:
    """Return the seconds of one completion among many, `samples` of each problem."""
    probed = PROBED
    while True:
        first = problems[:probed]
        begun = monotonic()
        _sample(examiner, first, samples, told)
        seconds = monotonic() - begun
        if seconds >= LEAST_TIMED_S or probed >= min(MOST_PROBED, len(problems)):
            return seconds / (len(first) * samples)
        probed *= 2


def _sample(examiner: Examiner, problems: Sequence[Problem], samples: int, told: Told | None) -> None:
    for piece in examiner.pieces(problems, samples):
        examiner.examine(piece, Sampling(1.0), samples, told)
