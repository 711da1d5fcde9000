"""How the time of a pilot is divided among measuring, trials and training."""

from dataclasses import dataclass

EVALUATION_SHARE = 0.4
"""Measuring on the test may take this share of the time that is left; beyond that fewer problems are measured."""
TRIALS_SHARE = 0.3
RESERVE_SHARE = 0.05
"""Kept back for loading models and writing the report."""
LEAST_STEPS = 10
"""A trial of fewer training steps says nothing."""
LEAST_TEST = 30
VALIDATION_SHARE, MOST_VALIDATIONS = 0.15, 8
LEARNING = 1.5
"""Seconds of a training step for each second of its sampling, until steps have been measured."""
MOST_PROBLEMS_PER_STEP = 4
STEPS_WANTED = 40
"""Fewer problems a step are taken where training would have fewer steps."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Measured seconds of one completion, and how many problems each measurement has.

    `completion_s`: one of several on a shared prompt; `single_s`: one on a prompt of its own; `load_s`: to load the
    model.
    """

    completion_s: float
    single_s: float
    test: int
    validation: int
    guard: int = 0
    load_s: float = 0.0

    def step_s(self, group: int, problems: int) -> float:
        """Return about how long a training step takes."""
        return LEARNING * self.completion_s * group * problems

    def measuring_s(self, problems: int) -> float:
        """Return about how long one completion of each of `problems` takes."""
        return self.single_s * problems


@dataclass(frozen=True, slots=True)
class Timeline:
    """Seconds of each part; `test`: test problems that can be measured; `decodings`: ways of decoding, 1 or 2.

    `trials` of `trial_s` seconds each choose method and learning rate; without any, the first setting is taken.
    """

    test: int
    decodings: int
    evaluation_s: float
    trials: int
    trial_s: float
    problems_per_step: int
    training_s: float


def divide(left_s: float, pace: Pace, group: int, settings: int) -> Timeline:
    """Return how `left_s` seconds are divided where `settings` could be tried.

    First the measurement of base and trained model on test and guard problems, at two ways of decoding where that takes
    less than 40 % of the time, else greedy only, else on fewer test problems; then up to 30 % of the rest for trials,
    of all settings, or of the first two, or none where a trial would have less than 10 steps; then training.
    """
    decodings, test = 2, pace.test
    if _evaluation_s(pace, test, 2) > EVALUATION_SHARE * left_s:
        decodings = 1
    if _evaluation_s(pace, test, 1) > EVALUATION_SHARE * left_s:
        affordable = EVALUATION_SHARE * left_s / _evaluation_s(pace, test, 1) * (test + pace.guard) - pace.guard
        test = min(test, max(LEAST_TEST, int(affordable)))
    evaluation_s = _evaluation_s(pace, test, decodings)
    rest = max(0.0, (1 - RESERVE_SHARE) * left_s - evaluation_s - pace.load_s)
    problems = _problems_per_step(pace, group, (1 - TRIALS_SHARE) * rest)
    trials, trial_s = _trials(pace, TRIALS_SHARE * rest, pace.step_s(group, problems), settings)
    spent = trials * (trial_s + _around_trial_s(pace))
    return Timeline(test, decodings, evaluation_s, trials, trial_s, problems, max(0.0, rest - spent))


def validations(training_s: float, pace: Pace) -> int:
    """Return how often the adapter is validated in training: in 15 % of its time, 8 times at most."""
    cost = pace.measuring_s(pace.validation)
    return min(MOST_VALIDATIONS, int(VALIDATION_SHARE * training_s / cost)) if cost > 0 else 0


def _evaluation_s(pace: Pace, test: int, decodings: int) -> float:
    return 2 * pace.measuring_s(decodings * test + pace.guard)


def _around_trial_s(pace: Pace) -> float:
    """Return what a trial takes besides its training: the model is loaded, and measured before and after."""
    return pace.load_s + 2 * pace.measuring_s(pace.validation)


def _problems_per_step(pace: Pace, group: int, seconds: float) -> int:
    counts = (MOST_PROBLEMS_PER_STEP, 2)
    return next((n for n in counts if pace.step_s(group, n) * STEPS_WANTED <= seconds), 1)


def _trials(pace: Pace, seconds: float, step_s: float, settings: int) -> tuple[int, float]:
    for count in (settings, 2):
        trial_s = seconds / count - _around_trial_s(pace)
        if count <= settings and trial_s >= LEAST_STEPS * step_s:
            return count, trial_s
    return 0, 0.0
