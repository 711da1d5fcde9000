"""Auditing a verifier against labels: where it disagrees, and where it is not symmetric."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from creditree.errors import DataError
from creditree.evaluate.accuracy import inconclusive
from creditree.problem import Problem, Status, Verdict
from creditree.tasks.cells import answers_in
from creditree.tasks.rows import Row, read_rows
from creditree.text import shown
from creditree.verify.prose import final_answer
from creditree.verify.verifier import Answer, Verifier

YES, NO = (True, 1, "1", "true", "yes", "correct"), (False, 0, "0", "false", "no", "incorrect", "wrong")


@dataclass(frozen=True, slots=True)
class Graded:
    """A row's answer, its label where it has one, and the verdict on it."""

    answer: Answer
    label: bool | None
    verdict: Verdict

    @property
    def accepted(self) -> bool:
        """Whether the verifier took the answer for correct."""
        return self.verdict.is_correct is True


@dataclass(frozen=True, slots=True)
class Audit:
    """Graded rows with labels; `asymmetric`: rows where answer and reference, swapped, get another verdict."""

    graded: tuple[Graded, ...]
    asymmetric: tuple[Graded, ...]

    @property
    def unjudged(self) -> tuple[Graded, ...]:
        """Rows without a reward, neither accepted nor refused: in no other figure."""
        return tuple(row for row in self.graded if row.verdict.reward is None)

    @property
    def why_inconclusive(self) -> str | None:
        """In words, why nothing is concluded, where more than 5 % of the rows got no reward; else None."""
        failure = next((row.verdict.detail for row in self.unjudged), "")
        return inconclusive(len(self.unjudged), len(self.graded), failure)

    @property
    def false_positives(self) -> tuple[Graded, ...]:
        """Rows that are accepted and labelled wrong."""
        return tuple(row for row in self.graded if row.accepted and not row.label)

    @property
    def false_negatives(self) -> tuple[Graded, ...]:
        """Rows that are refused and labelled right."""
        return tuple(row for row in self.graded if row.label and row.verdict.is_correct is False)

    @property
    def agreement(self) -> float | None:
        """Share of the judged rows whose verdict is their label; None where none was judged."""
        judged = len(self.graded) - len(self.unjudged)
        wrong = len(self.false_positives) + len(self.false_negatives)
        return 1.0 - wrong / judged if judged else None

    @property
    def statuses(self) -> dict[Status, int]:
        """Rows by the status of their verdict."""
        return dict(Counter(row.verdict.status for row in self.graded))


def read_answers(path: str) -> list[tuple[Answer, bool | None]]:
    """Return the answers of a file, with their labels (None for a row without one).

    A row has ``prediction`` (a text or a number), ``answers`` (a list) or ``answer``, and may have ``id`` and ``label``
    (true/false, 1/0); its other columns are the problem's. Raises DataError for a file or row that cannot be used, with
    its line.
    """
    return [(_answer(row), _label(row)) for row in read_rows(path)]


def audit(verifier: Verifier, rows: Sequence[tuple[Answer, bool | None]]) -> Audit:
    """Grade labelled rows, and each of them again with what it answers and its first accepted answer swapped."""
    answers = [answer for answer, _ in rows]
    graded = [
        Graded(answer, label, verdict) for (answer, label), verdict in zip(rows, verifier.judge(answers), strict=True)
    ]
    swapped = [(row, other) for row in graded if (other := _swapped(row.answer)) is not None]
    verdicts = verifier.judge([other for _, other in swapped])
    asymmetric = [
        row
        for (row, _), verdict in zip(swapped, verdicts, strict=True)
        if None not in (verdict.is_correct, row.verdict.is_correct) and verdict.is_correct != row.accepted
    ]
    return Audit(tuple(graded), tuple(asymmetric))


def _swapped(answer: Answer) -> Answer | None:
    """Return the pair the other way round; None where there is nothing to swap, or several references."""
    given = final_answer(answer.completion)
    if given is None or len(answer.problem.answers) != 1:
        return None
    return replace(
        answer,
        problem=replace(answer.problem, answers=(given,)),
        completion=f"\\boxed{{{answer.problem.answers[0]}}}",
    )


def _answer(row: Row) -> Answer:
    content = row.values.get("prediction")
    prediction = _text(content)
    if prediction is None:
        raise DataError(
            f"{_start(row)} has no text in the column 'prediction' (it holds {shown(content)}): "
            "put what the model wrote there."
        )
    column = "answers" if "answers" in row.values else "answer"
    content = row.values.get(column)
    try:
        answers = answers_in(content)
    except ValueError as error:
        raise DataError(
            f"{_start(row)} has no accepted answer in the column '{column}': it holds {shown(content)}, {error}."
        ) from None
    columns: Mapping[str, object] = {
        name: value for name, value in row.values.items() if name not in ("id", "prediction", "answers", "label")
    }
    return Answer(Problem(str(row.values.get("id", row.label)), "", answers, columns), "", prediction)


def _text(value: object) -> str | None:
    """Return a text, or a finite number as text; None for anything else."""
    if isinstance(value, bool) or (isinstance(value, float) and not isfinite(value)):
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _label(row: Row) -> bool | None:
    if "label" not in row.values:
        return None
    label = row.values["label"]
    known = label.strip().lower() if isinstance(label, str) else label
    if not isinstance(known, bool | int | str) or known not in (*YES, *NO):
        raise DataError(f"{_start(row)} has the label {shown(label)}: a label is true or false, or 1 or 0.")
    return known in YES


def _start(row: Row) -> str:
    return row.place[0].upper() + row.place[1:]
