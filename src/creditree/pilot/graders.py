"""Which grader can read the reference answers: each is asked what completions would say, and what others would."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from creditree.pilot.findings import Finding, Severity, first_places
from creditree.pilot.plausible import decimal_comma, has_formula, number_alone
from creditree.pilot.problems import PlacedProblem
from creditree.problem import Problem, Verdict
from creditree.verify.verifier import Answer, Verifier, closing

NARROW, WIDE = ("last_integer", "numeric", "choice"), ("math", "exact")
"""Tried in this order, from the narrowest understanding of an answer to the widest, which reads nearly any text."""
FORMS = ("The answer is {}.", "\\boxed{{{}}}", "{}")
"""How completions say an answer."""
WRITTEN = {FORMS[1]: "\\boxed{}", FORMS[2]: "that alone"}
LEAST_READ = 0.9
"""A grader that reads fewer of the answers is not chosen; what it cannot read is left out."""
NEVER = 1e-9
"""A reward function that takes no reference answer at all for right measures something else."""
LOOKED_AT = 20
"""Other problems whose answers are looked at, for each."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """How a grader copes with the reference answers: ids of problems whose answer it takes for right, and why not.

    An answer A is read if "The answer is A.", A in a box or A alone gets the full reward for its own problem, and the
    answers of other problems do not. Two that differ are asked about: one may be the same in other words, as 1/2 is
    0.5. `missed`: of those that are read, the problems where one of these is refused, or the number alone, as 54 for
    "54 pens", and what is said of it: a model that answers so would never be right.
    """

    grader: str
    read: frozenset[str]
    refused: Mapping[str, str]
    missed: Mapping[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the problems whose answer is read."""
        return len(self.read) / (len(self.read) + len(self.refused))

    @property
    def understood(self) -> float:
        """Share of the problems whose answer is read in all plausible ways."""
        return (len(self.read) - len(self.missed)) / (len(self.read) + len(self.refused))


def reading(grader: str, verifier: Verifier, problems: Sequence[Problem], *, thorough: bool = True) -> Reading:
    """Return how `verifier` reads the answers of `problems`.

    `thorough`: find out what is missed too. A function of the user's own may ask for one way of answering, and may be
    slow: it is asked about the next way only where it refused the first.
    """
    accepted, why = _own_accepted(verifier, problems, thorough=thorough)
    others = [_others(problems, place) for place in range(len(problems))]
    pairs = [(problem, other) for problem, theirs in zip(problems, others, strict=True) for other in theirs]
    wrong = iter(map(_right, verifier.judge([_answer(problem, FORMS[0], other) for problem, other in pairs])))
    refused: dict[str, str] = {}
    for problem, different in zip(problems, others, strict=True):
        taken = [other for other in different if next(wrong)]
        if not accepted[problem.id]:
            refused[problem.id] = why[problem.id]
        elif taken and taken == different:
            refused[problem.id] = f"'{' or '.join(taken)}' is accepted for '{problem.answers[0]}'"
    read = [problem for problem in problems if problem.id not in refused]
    missed = {problem.id: why[problem.id] for problem in read if problem.id in why} if thorough else {}
    if thorough:
        missed |= _numbers_missed(verifier, [problem for problem in read if problem.id not in missed])
    return Reading(grader, frozenset(problem.id for problem in read), refused, missed)


def _own_accepted(
    verifier: Verifier, problems: Sequence[Problem], *, thorough: bool
) -> tuple[dict[str, bool], dict[str, str]]:
    """Return whether problems' own answers are accepted in some form, and what is said of the first form refused."""
    accepted = {problem.id: False for problem in problems}
    why: dict[str, str] = {}
    for form in FORMS:
        sayable = [problem for problem in problems if _can_be_said(problem, form)]
        sayable = sayable if thorough else [problem for problem in sayable if not accepted[problem.id]]
        verdicts = verifier.judge([_answer(problem, form, problem.answers[0]) for problem in sayable])
        for problem, verdict in zip(sayable, verdicts, strict=True):
            accepted[problem.id] |= _right(verdict)
            if not _right(verdict):
                said = "its own answer" + ("" if form == FORMS[0] else f" written as {WRITTEN[form]}")
                said = f"'{problem.answers[0]}' is not accepted as {said} ({verdict.status})"
                why.setdefault(problem.id, said)
    return accepted, why


def _can_be_said(problem: Problem, form: str) -> bool:
    """Return whether an answer fits into a form: one of several lines is no part of a sentence."""
    return form != FORMS[0] or "\n" not in problem.answers[0].strip()


def _numbers_missed(verifier: Verifier, problems: Sequence[Problem]) -> dict[str, str]:
    """Return what is said of problems whose answer is a number and more, and whose number alone is refused."""
    pairs = [(problem, number) for problem in problems if (number := number_alone(problem.answers[0])) is not None]
    verdicts = verifier.judge([_answer(problem, form, number) for problem, number in pairs for form in FORMS])
    missed = {}
    for index, (problem, number) in enumerate(pairs):
        if not all(map(_right, verdicts[index * len(FORMS) : (index + 1) * len(FORMS)])):
            missed[problem.id] = f"'{number}' is not accepted for '{problem.answers[0]}'"
    return missed


def choose_grader(problems: Sequence[Problem], build: Callable[[str], Verifier]) -> Reading:
    """Return the reading of the first grader that understands every answer, else of the one that understands most.

    A narrow one that reads 90 % is taken before a wide one: a few words among numbers are mistakes of the table, not a
    reason to compare all answers as texts. `build` makes a grader by its name; each is closed again. Where most answers
    have no sign of a formula, ``math`` is not asked: it takes equal texts for equal, and so reads any words.
    """
    narrow = _most_read(NARROW, problems, build)
    if narrow.understood >= LEAST_READ:
        return narrow
    formulas = sum(has_formula(problem.answers[0]) for problem in problems)
    wide = _most_read(WIDE if 2 * formulas >= len(problems) else WIDE[1:], problems, build)
    return max(narrow, wide, key=_rank)


def _most_read(names: Sequence[str], problems: Sequence[Problem], build: Callable[[str], Verifier]) -> Reading:
    """Return the reading of the first grader that understands everything, else the best one."""
    readings = []
    for name in names:
        with closing(build(name)) as verifier:
            readings.append(reading(name, verifier, problems))
        if not readings[-1].refused and not readings[-1].missed:
            break
    return max(readings, key=_rank)


def _rank(reading: Reading) -> tuple[bool, float, float]:
    """Order readings: first those that read enough to go on, then by what they understand, then by what they read."""
    return reading.share >= LEAST_READ, reading.understood, reading.share


def check_reading(
    reading: Reading, placed: Sequence[PlacedProblem], *, asked: bool, drops: bool = True
) -> tuple[list[PlacedProblem], list[Finding]]:
    """Return the problems whose answers are read, and what to say of the grader and of the others.

    `asked`: the user named the grader. `drops`: what is not read is left out; a reward of the user's own may have its
    reasons to refuse a bare answer, and only hears of it.
    """
    how = "as asked" if asked else "chosen by the answers"
    findings = [Finding("grader", "note", f"answers are graded by {reading.grader}, {how}")]
    places = {entry.problem.id: entry.place for entry in placed}
    if reading.refused:
        findings.append(_unread(reading, places, drops=drops))
    findings += _misread(reading, placed)
    kept = [entry for entry in placed if entry.problem.id in reading.read] if drops else list(placed)
    return kept, findings


def _unread(reading: Reading, places: Mapping[str, str], *, drops: bool) -> Finding:
    """Return what is said of the answers that the grader does not read."""
    first, why = next(iter(reading.refused.items()))
    count = f"{len(reading.refused)} of {len(places)} reference answers"
    severity: Severity = "blocker" if reading.share < (LEAST_READ if drops else NEVER) else "caution"
    text = f"{reading.grader} cannot read {count}; the first, {places[first]}: {why}"
    if severity == "blocker" and not drops:
        text += "; only a reward of 1 counts as correct, so let the function return 1 for a right answer"
    elif severity == "blocker":
        text += "; name another grader, or your own function, with `reward`"
    elif drops:
        text += "; these problems are left out"
    return Finding("unreadable_answers", severity, text, first_places([places[name] for name in reading.refused]))


def _misread(reading: Reading, placed: Sequence[PlacedProblem]) -> list[Finding]:
    """Return what is said of answers that are read, but not as they may be meant or said."""
    places = {entry.problem.id: entry.place for entry in placed}
    findings = []
    commas = [entry for entry in placed if decimal_comma(entry.problem.answers[0])]
    if commas:
        text = (
            f"reference answers that seem to have a decimal comma: {len(commas)} of {len(placed)}, such as "
            f"'{commas[0].problem.answers[0]}'; numeric and math read 54,50 as 54.50 but 1,234 as 1234: write points"
        )
        findings.append(Finding("decimal_commas", "caution", text, first_places([comma.place for comma in commas])))
    if reading.missed:
        first, why = next(iter(reading.missed.items()))
        text = (
            f"{reading.grader} refuses plausible answers to {len(reading.missed)} of {len(placed)} problems; the "
            f"first, {places[first]}: {why}; a model that answers so is never right: write the answers in the form "
            "that the model gives them in, such as the bare number, or name another grader with `reward`"
        )
        findings.append(
            Finding("missed_answers", "caution", text, first_places([places[name] for name in reading.missed]))
        )
    return findings


def _right(verdict: Verdict) -> bool:
    return verdict.is_correct is True


def _answer(problem: Problem, form: str, said: str) -> Answer:
    # One accepted answer at a time: else the first would stand in for one that cannot be read.
    return Answer(replace(problem, answers=problem.answers[:1]), problem.question, form.format(said))


def _others(problems: Sequence[Problem], place: int) -> list[str]:
    """Return the next two answers of other problems that differ in more than white space and capitals, or fewer."""
    known = {_plain(problems[place].answers[0])}
    others: list[str] = []
    for step in range(1, min(len(problems), LOOKED_AT)):
        answer = problems[(place + step) % len(problems)].answers[0]
        if len(others) < 2 and _plain(answer) not in known:
            known.add(_plain(answer))
            others.append(answer)
    return others


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
