"""Diagnoses of the problems: held-out ones that are trained on, and too few to see anything."""

from collections.abc import Sequence

from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis, quoted
from creditree.evaluate.power import detectable_gain
from creditree.pilot.problems import FEW_TEST, normal
from creditree.problem import Problem

MOST_NAMED = 5


def leak(case: Case) -> Diagnosis | None:
    """Are problems that are measured trained on too, by id or by question?

    Questions are equal where they are so but for capitals, white space and the punctuation at their ends
    (`creditree.pilot.problems.normal`).
    """
    training = case.training or tuple({c.problem.id: c.problem for c in case.completions}.values())
    by_question = {normal(problem.question): problem for problem in training if problem.question.strip()}
    pairs = [
        (problem, by_question[normal(problem.question)])
        for problem in case.measured
        if normal(problem.question) in by_question
    ]
    if pairs:
        return _leaked([measured for measured, _ in pairs], len(case.measured), *pairs[0])
    ids = {problem.id: problem for problem in training}
    known = {attempt.problem_id for attempt in case.trained} if not case.measured else set()
    shared = [ids[name] for name in sorted(known) if name in ids]
    return _leaked(shared, len(known), shared[0], shared[0]) if shared else None


def _leaked(shared: Sequence[Problem], total: int, measured: Problem, trained: Problem) -> Diagnosis:
    names = ", ".join(problem.id for problem in shared[:MOST_NAMED])
    more = f" and {len(shared) - MOST_NAMED} more" if len(shared) > MOST_NAMED else ""
    return Diagnosis(
        "leak",
        "problem",
        f"{len(shared)} of the {total} problems that are measured are trained on too ({names}{more}): their accuracy "
        "says what was memorised, and the figure after training is too good.",
        {"shared": len(shared), "measured": total, "share": len(shared) / total},
        "Take these rows out of the training file, or mark them as test in its column `split`; of several spellings of "
        "a question keep one.",
        f"measured '{measured.id}': {quoted(measured.question)}; trained on '{trained.id}': {quoted(trained.question)}",
    )


def small_test(case: Case) -> Diagnosis | None:
    """Are so few problems measured that only a large gain could be seen?"""
    n = len(case.measured) if case.summary is None else case.summary.main.difference.n
    if case.config is None or not 0 < n < FEW_TEST:
        return None
    gain = detectable_gain(n, 0.0)
    seen = "no gain at all" if gain is None else f"at best a gain of {100 * gain:.0f} points"
    available = _available(case)
    enough = available is not None and available > n
    return Diagnosis(
        "small_test",
        "note",
        f"Only {n} problems are measured: {seen} would be seen in four of five runs, and less where answers change by "
        "chance.",
        {"measured": n, "detectable_gain": gain, "available": available},
        "Measure more of the problems that are there." if enough else "Hold out more problems.",
        settings={"evaluation.problems": min(500, available)} if enough and available is not None else {},
    )


def _available(case: Case) -> int | None:
    if case.task is None or case.config is None:
        return None
    return len(case.task.held_out(case.config.evaluation.split, 500))
