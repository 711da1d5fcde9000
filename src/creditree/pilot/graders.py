"""Which grader can read the reference answers: each is asked to grade them against themselves and against others."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from creditree.pilot.findings import Finding, Severity, first_places
from creditree.pilot.problems import Placed
from creditree.problem import Problem
from creditree.verify.verifier import Answer, Verifier, closing

NARROW, WIDE = ("last_integer", "numeric", "choice"), ("math", "exact")
"""Tried in this order, from the narrowest understanding of an answer to the widest, which reads nearly any text."""
STATED = "The answer is {}."
LEAST_READ = 0.9
"""A grader that reads fewer of the answers is not chosen; what it cannot read is left out."""
NEVER = 1e-9
"""A reward function that takes no reference answer at all for right measures something else."""
LOOKED_AT = 20
"""Other problems whose answers are looked at, for each."""
_CORRECT = 1.0
_FORMULA = re.compile(r"[0-9\\^=+{}]")


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """How a grader copes with the reference answers: ids of problems whose answer it takes for right, and why not.

    An answer is read if the sentence "The answer is A." gets the full reward for its own problem, and the answers of
    other problems do not. Two that differ are asked about: one may be the same in other words, as 1/2 is 0.5.
    """

    grader: str
    read: frozenset[str]
    refused: Mapping[str, str]

    @property
    def share(self) -> float:
        """Share of the problems whose answer is read."""
        return len(self.read) / (len(self.read) + len(self.refused))


def reading(grader: str, verifier: Verifier, problems: Sequence[Problem]) -> Reading:
    """Return how `verifier` reads the answers of `problems`."""
    own = verifier.judge([_answer(problem, problem.answers[0]) for problem in problems])
    others = [_others(problems, place) for place in range(len(problems))]
    wrong = verifier.judge(
        [_answer(problem, other) for problem, theirs in zip(problems, others, strict=True) for other in theirs]
    )
    accepted = iter((verdict.reward or 0.0) >= _CORRECT for verdict in wrong)
    refused: dict[str, str] = {}
    for problem, verdict, different in zip(problems, own, others, strict=True):
        taken = [other for other in different if next(accepted)]
        if (verdict.reward or 0.0) < _CORRECT:
            refused[problem.id] = f"'{problem.answers[0]}' is not accepted as its own answer ({verdict.status})"
        elif taken and taken == different:
            refused[problem.id] = f"'{' or '.join(taken)}' is accepted for '{problem.answers[0]}'"
    return Reading(grader, frozenset(problem.id for problem in problems) - refused.keys(), refused)


def choose_grader(problems: Sequence[Problem], build: Callable[[str], Verifier]) -> Reading:
    """Return the reading of the first grader that reads every answer, else of the one that reads most.

    A narrow one that reads 90 % is taken before a wide one: a few words among numbers are mistakes of the table, not a
    reason to compare all answers as texts. `build` makes a grader by its name; each is closed again. Where most answers
    have no sign of a formula, ``math`` is not asked: it takes equal texts for equal, and so reads any words.
    """
    narrow = _most_read(NARROW, problems, build)
    if narrow.share >= LEAST_READ:
        return narrow
    formulas = sum(_FORMULA.search(problem.answers[0]) is not None for problem in problems)
    wide = _most_read(WIDE if 2 * formulas >= len(problems) else WIDE[1:], problems, build)
    return max(narrow, wide, key=lambda one: one.share)


def _most_read(names: Sequence[str], problems: Sequence[Problem], build: Callable[[str], Verifier]) -> Reading:
    """Return the reading of the first grader that reads everything, else the largest."""
    found = []
    for name in names:
        with closing(build(name)) as verifier:
            found.append(reading(name, verifier, problems))
        if not found[-1].refused:
            break
    return max(found, key=lambda one: one.share)


def check_reading(
    found: Reading, placed: Sequence[Placed], *, asked: bool, drops: bool = True
) -> tuple[list[Placed], list[Finding]]:
    """Return the problems whose answers are read, and what to say of the grader and of the others.

    `asked`: the user named the grader. `drops`: what is not read is left out; a reward of the user's own may have its
    reasons to refuse a bare answer, and only hears of it.
    """
    how = "as asked" if asked else "chosen by the answers"
    findings = [Finding("grader", "note", f"answers are graded by {found.grader}, {how}")]
    if not found.refused:
        return list(placed), findings
    places = {one.problem.id: one.place for one in placed}
    first, why = next(iter(found.refused.items()))
    count = f"{len(found.refused)} of {len(placed)} reference answers"
    severity: Severity = "blocker" if found.share < (LEAST_READ if drops else NEVER) else "caution"
    text = f"{found.grader} cannot read {count}; the first, {places[first]}: {why}"
    if severity == "blocker" and not drops:
        text += "; only a reward of 1 counts as correct, so let the function return 1 for a right answer"
    elif severity == "blocker":
        text += "; name another grader, or your own function, with --reward"
    elif drops:
        text += "; these problems are left out"
    findings.append(
        Finding("unreadable_answers", severity, text, first_places([places[name] for name in found.refused]))
    )
    kept = [one for one in placed if one.problem.id in found.read] if drops else list(placed)
    return kept, findings


def _answer(problem: Problem, said: str) -> Answer:
    # One accepted answer at a time: else the first would stand in for one that cannot be read.
    return Answer(replace(problem, answers=problem.answers[:1]), problem.question, STATED.format(said))


def _others(problems: Sequence[Problem], place: int) -> list[str]:
    """Return the next two answers of other problems that differ in more than white space and capitals, or fewer."""
    known = {_plain(problems[place].answers[0])}
    found: list[str] = []
    for step in range(1, min(len(problems), LOOKED_AT)):
        answer = problems[(place + step) % len(problems)].answers[0]
        if len(found) < 2 and _plain(answer) not in known:
            known.add(_plain(answer))
            found.append(answer)
    return found


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
