"""Is it the grader that fails, not the model? Completions that are never right and yet say what the reference says."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from creditree.evaluate.accuracy import is_correct
from creditree.pilot.plausible import number_alone, numbers_in
from creditree.problem import Problem
from creditree.runs.attempts import Attempt

MOST_RIGHT = 0.02
"""With a larger share of right completions the grader can read them."""
MOST_CUT = 0.5
"""Where more completions are cut off, that is why they have no answer."""
LEAST_HOLDING, LEAST_ENDING = 0.5, 0.1
"""So many completions hold their reference answer, or so many end with it ..."""
TIMES_CHANCE = 2.0
"""... and so many times as many as hold, or end with, another problem's."""
LEAST_COUNTED = 32
MOST_EXAMPLES = 50
Holds = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Share:
    """The share of completions with the reference answer, and with that of another problem instead."""

    own: float
    other: float

    def exceeds(self, least: float) -> bool:
        """Return whether the share is large, and not by chance."""
        return self.own >= least and self.own >= TIMES_CHANCE * self.other


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Of so many completions, how many are right, and of those counted the shares that hold and end with the reference.

    A reference is held where its numbers stand in a completion, or its words where it has no number; a completion ends
    with it where its last number is that number, or its last line has the words. Only problems whose question does not
    hold the answer already are counted.
    """

    completions: int
    right: int
    counted: int
    holding: Share
    ending: Share

    @property
    def is_grave(self) -> bool:
        """Whether the completions speak against the grader."""
        return self.holding.exceeds(LEAST_HOLDING) or self.ending.exceeds(LEAST_ENDING)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    def sentence(self, grading: str) -> str:
        """Return what is suspected, why, and how to look: `grading` shows what the grader reads in them."""
        right = "None of {:,} completions is" if self.right == 0 else f"Only {self.right:,} of {{:,}} completions are"
        holds = self.holding.exceeds(LEAST_HOLDING)
        share, verb = (self.holding, "hold") if holds else (self.ending, "end with")
        return (
            f"{right.format(self.completions)} right, but {share.own:.0%} {verb} the number or words of "
            f"their reference answer ({share.other:.0%} {verb} another problem's): the grader, not the model, is the "
            f"suspect. See what it reads in them ({grading}); then name "
            "another grader with `reward`, or write the answers as the model gives them."
        )


def suspicion(problems: Sequence[Problem], attempts: Iterable[Attempt]) -> Suspicion | None:
    """Return what speaks against the grader; None where the completions do not. Attempts are to have their texts."""
    names = {problem.id for problem in problems}
    tests = {problem.id: tested for problem in problems if (tested := _tests(problem)) is not None}
    others = dict(zip(tests, [*list(tests)[1:], *list(tests)[:1]], strict=True))
    sampled = [attempt for attempt in attempts if attempt.problem_id in names]
    counted = [attempt for attempt in sampled if attempt.problem_id in tests]
    right, cut = sum(map(is_correct, sampled)), sum(attempt.truncated for attempt in sampled)
    if len(counted) < LEAST_COUNTED or right > MOST_RIGHT * len(sampled) or cut > MOST_CUT * len(sampled):
        return None
    holding, ending = (
        Share(
            sum(tests[attempt.problem_id][kind](attempt.text) for attempt in counted) / len(counted),
            sum(tests[others[attempt.problem_id]][kind](attempt.text) for attempt in counted) / len(counted),
        )
        for kind in range(2)
    )
    whole = Suspicion(len(sampled), right, len(counted), holding, ending)
    return whole if whole.is_grave else None


def example_rows(problems: Sequence[Problem], attempts: Iterable[Attempt]) -> str:
    """Return a completion of each problem as rows for ``creditree grade``, as JSONL; the most suspect ones first."""
    known: Mapping[str, Problem] = {problem.id: problem for problem in problems}
    tests = {problem.id: tested for problem in problems if (tested := _tests(problem)) is not None}

    def trusted(attempt: Attempt) -> int:
        return 2 - sum(test(attempt.text) for test in tests.get(attempt.problem_id, ()))

    ranked = sorted(
        (attempt for attempt in attempts if attempt.problem_id in known and not is_correct(attempt)), key=trusted
    )
    firsts = list({attempt.problem_id: attempt for attempt in reversed(ranked)}.values())[::-1]
    rows = (
        {"id": first.problem_id, "prediction": first.text, "answers": list(known[first.problem_id].answers)}
        for first in firsts[:MOST_EXAMPLES]
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _tests(problem: Problem) -> tuple[Holds, Holds] | None:
    """Return whether a text holds the reference answer, and whether it ends with it.

    None where the question holds it already, or it has neither numbers nor words.
    """
    answer = problem.answers[0]
    numbers, words = frozenset(numbers_in(number_alone(answer) or answer)), _words(answer)
    if numbers:
        return None if numbers <= set(numbers_in(problem.question)) else _of_numbers(numbers)
    if len(words) <= len("  ") or words in _words(problem.question):
        return None
    return (lambda text: words in _words(text)), (lambda text: words in _words(text.strip().rpartition("\n")[2]))


def _of_numbers(wanted: frozenset[Fraction]) -> tuple[Holds, Holds]:
    return (lambda text: wanted <= set(numbers_in(text))), (
        lambda text: wanted <= set(numbers_in(text)[-len(wanted) :])
    )


def _words(text: str) -> str:
    """Return the words of a text, each between spaces, so that only whole words are found in it."""
    return f" {' '.join(''.join(c if c.isalnum() else ' ' for c in text.casefold()).split())} "
