"""Grading saved completions, and comparing a grader with labels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

from creditree.config.overrides import apply_overrides
from creditree.config.reward import OPTIONS, reward_of
from creditree.errors import ConfigError, DataError
from creditree.evaluate.accuracy import inconclusive
from creditree.evaluate.audit import Audit, Graded, audit, read_answers
from creditree.problem import Verdict
from creditree.setup.grading import build_verifier
from creditree.verify.verifier import Verifier, closing

PIECE = 512
"""Rows graded before their verdicts are handed on."""
EXAMPLES = 10
"""Rows of each kind that a text shows; JSON has all."""


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """Which file is graded, by whom; `options` are the grader's, such as ``tolerance=1e-6``."""

    path: Path
    grader: str = "math"
    deadline: float | None = None
    workers: int | None = None
    options: tuple[str, ...] = ()

    def verifier(self) -> Verifier:
        """Return who judges. Raises ConfigError."""
        return verifier_of(self.grader, self.deadline, self.workers, self.options)


@dataclass(frozen=True, slots=True)
class Grades:
    """The verdicts on the rows of a file, by row id, in their order."""

    grader: str
    verdicts: tuple[tuple[str, Verdict], ...]
    seconds: float = field(compare=False, default=0.0)

    @property
    def correct(self) -> int:
        """How many rows are right."""
        return sum(verdict.is_correct is True for _, verdict in self.verdicts)

    @property
    def unjudged(self) -> int:
        """How many rows got no reward."""
        return sum(verdict.reward is None for _, verdict in self.verdicts)

    @property
    def statuses(self) -> dict[str, int]:
        """How many rows were judged how."""
        return dict(Counter(verdict.status for _, verdict in self.verdicts))

    @property
    def why_inconclusive(self) -> str | None:
        """In words, why nothing is concluded, where more than 5 % of the rows got no reward; else None."""
        failure = next((verdict.detail for _, verdict in self.verdicts if verdict.reward is None), "")
        return inconclusive(self.unjudged, len(self.verdicts), failure)

    @property
    def accuracy(self) -> float | None:
        """The share that is right of the rows that were judged; None where nothing is concluded."""
        return None if self.why_inconclusive else self.correct / (len(self.verdicts) - self.unjudged)

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and each row's verdict."""
        counts = {"n": len(self.verdicts), "correct": self.correct, "unjudged": self.unjudged}
        shares = {"accuracy": self.accuracy, "statuses": self.statuses}
        return {"grader": self.grader, **counts, **shares, "rows": [verdict_json(*row) for row in self.verdicts]}


def grades_text(grades: Grades) -> str:
    """Return the counts in words, a line each."""
    lines = [f"{len(grades.verdicts)} answers graded by {grades.grader} in {grades.seconds:.1f} s"]
    if grades.accuracy is not None:
        judged = len(grades.verdicts) - grades.unjudged
        lines.append(f"correct: {grades.correct} of {judged} judged ({100 * grades.accuracy:.1f} %)")
    lines.append(", ".join(f"{status}: {count}" for status, count in sorted(grades.statuses.items())))
    if grades.unjudged:
        lines.append(f"without a reward: {grades.unjudged}, in no accuracy; each row's verdict says why")
    return "\n".join(lines)


def check_concluded(why_not: str | None) -> None:
    """Raise DataError for the reason why nothing is concluded, where there is one."""
    if why_not is not None:
        raise DataError(f"{why_not}; mend what judges, or the rows that it cannot judge, and grade them again.")


def grade(request: GradeRequest) -> Grades:
    """Grade the rows of a file."""
    begun = perf_counter()
    verdicts = tuple(graded(request))
    return Grades(request.grader, verdicts, perf_counter() - begun)


def graded(request: GradeRequest) -> Iterator[tuple[str, Verdict]]:
    """Yield the id and the verdict of each row of a file, as they come. Raises ConfigError or DataError."""
    verifier = request.verifier()
    answers = [answer for answer, _ in read_answers(str(request.path))]
    with closing(verifier):
        for start in range(0, len(answers), PIECE):
            piece = answers[start : start + PIECE]
            for answer, verdict in zip(piece, verifier.judge(piece), strict=True):
                yield answer.problem.id, verdict


def audited(request: GradeRequest) -> Audit:
    """Compare a grader's verdicts with the labels of a file. Raises DataError for a row without one."""
    verifier = request.verifier()
    rows = read_answers(str(request.path))
    unlabelled = next((answer.problem.id for answer, label in rows if label is None), None)
    if unlabelled is not None:
        raise DataError(
            f"row '{unlabelled}' of {request.path} has no label: an audit needs true or false in the column 'label'."
        )
    with closing(verifier):
        return audit(verifier, rows)


def verdict_json(name: str, verdict: Verdict) -> dict[str, object]:
    """Return a verdict as JSON; `answer` is what the grader read, None where it found no answer."""
    line: dict[str, object] = {"id": name, "reward": verdict.reward, "status": verdict.status, "answer": verdict.answer}
    return line | ({"detail": verdict.detail} if verdict.detail else {})


def verifier_of(grader: str, deadline: float | None, workers: int | None, overrides: Sequence[str]) -> Verifier:
    """Return the verifier that is asked for. Raises ConfigError."""
    if deadline is not None and not isfinite(deadline):
        raise ConfigError(f"`deadline` is {deadline}: write seconds, such as 5.")
    values = apply_overrides({"name": grader}, overrides)
    if grader == "program" and not values.get("allow_execution"):
        raise ConfigError(
            "the grader program runs what the model writes on this machine; if that is acceptable, add "
            "`overrides` allow_execution=true."
        )
    limits = {"deadline": deadline, "workers": workers}
    if grader in OPTIONS and "deadline" not in OPTIONS[grader] and (deadline or workers):
        raise ConfigError(f"`deadline` and `workers` have no effect on {grader}, which needs no process; remove them.")
    return build_verifier(reward_of(values | {key: value for key, value in limits.items() if value is not None}))


def audit_json(audit: Audit, grader: str) -> dict[str, Any]:
    """Return the comparison with the labels as JSON."""
    return {
        "grader": grader,
        "n": len(audit.graded),
        "unjudged": len(audit.unjudged),
        "agreement": audit.agreement,
        "false_positives": [_row(row) for row in audit.false_positives],
        "false_negatives": [_row(row) for row in audit.false_negatives],
        "asymmetric": [_row(row) for row in audit.asymmetric],
        "statuses": audit.statuses,
        "timeouts": [_row(row) for row in audit.graded if row.verdict.status == "timeout"],
    }


def _row(row: Graded) -> Mapping[str, object]:
    return {
        "id": row.answer.problem.id,
        "prediction": row.answer.completion,
        "answers": list(row.answer.problem.answers),
        "label": row.label,
        "reward": row.verdict.reward,
        "status": row.verdict.status,
    }


def audit_text(audit: Audit, grader: str) -> str:
    """Return the comparison with the labels for readers, with the first rows of each kind."""
    total = len(audit.graded)
    judged = total - len(audit.unjudged)
    which = f"{total} rows" if judged == total else f"the {judged} of {total} rows that it judged"
    agreed = None if audit.agreement is None else f"agrees with the labels of {audit.agreement:.1%} of {which}"
    lines = [f"{grader} {agreed or f'judged none of {total} rows'}"]
    kinds = {
        "false positives (accepted, labelled wrong)": audit.false_positives,
        "false negatives (refused, labelled right)": audit.false_negatives,
        "asymmetric (swapped, the verdict is another)": audit.asymmetric,
        "timeouts": tuple(row for row in audit.graded if row.verdict.status == "timeout"),
        "without a reward, in no figure above": audit.unjudged,
    }
    for name, rows in kinds.items():
        lines.append(f"\n{name}: {len(rows)}")
        for row in rows[:EXAMPLES]:
            answers = " or ".join(row.answer.problem.answers)
            lines.append(f"  {row.answer.problem.id}: {_short(row.answer.completion)}  |  {_short(answers)}")
        if len(rows) > EXAMPLES:
            lines.append(f"  and {len(rows) - EXAMPLES} more; the JSON form has all")
    return "\n".join([*lines, "\n" + ", ".join(f"{name}: {count}" for name, count in sorted(audit.statuses.items()))])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"...{line[-77:]}"
