"""The directory of a saved evaluation: what was asked, what was sampled so far, and in the end the results."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa

from creditree.disk import is_there
from creditree.errors import RunError
from creditree.runs.attempts import Attempt, AttemptParts, read_parts
from creditree.runs.environment import describe_environment
from creditree.runs.held import CODE, HeldDirectory
from creditree.runs.lock import RunLock
from creditree.runs.records import record_of
from creditree.runs.tables import read_table, write_table

SETTINGS, BASE, COMPLETIONS, PROBLEMS, RESULT = (
    "evaluation.yaml",
    "base.json",
    "completions",
    "problems.parquet",
    "result.json",
)

PROBLEM_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("decoding", pa.string()),
        ("side", pa.string()),  # measured, or base
        ("problem_id", pa.string()),
        ("digest", pa.string()),  # of question and accepted answers
        ("completions", pa.int32()),
        ("correct", pa.int32()),
        ("unjudged", pa.int32()),
        ("truncated", pa.int32()),
        ("tokens", pa.int64()),
        ("majority", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """One row of the table of problems: how many completions of a problem were correct, on one side."""

    task: str
    decoding: str
    side: str
    problem_id: str
    digest: str
    completions: int
    correct: int
    unjudged: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.completions or self.completions < 1:
            raise ValueError(f"{self.correct} of {self.completions} completions are correct")


class EvaluationDirectory(HeldDirectory):
    """``evaluation.yaml``, ``code.json``, ``base.json``, ``problems.parquet``, ``result.json`` and completions.

    These are in ``completions/TASK/DECODING/SIDE/part-*.parquet``.

    `open` holds its lock until `close` (or the end of a ``with``) and continues what is there; `read` is for readers.
    """

    CURE: ClassVar[str] = "repeat the same evaluation with the same `out`, or choose another one"
    SETTINGS: ClassVar[str] = SETTINGS
    WRITES: ClassVar[tuple[str, ...]] = (COMPLETIONS, CODE, BASE, PROBLEMS, RESULT)
    PLACE: ClassVar[str] = "evaluation"
    MADE: ClassVar[str] = "evaluation in {path} was made with other settings"

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        super().__init__(path, lock)
        self._started = False

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Open a finished evaluation to read it. Raises RunError where there is none, or it has not ended."""
        path = Path(path)
        if not is_evaluation(path):
            raise RunError(
                f"There is no evaluation in {path}: {SETTINGS} is missing; make one with an evaluation's `out`."
            )
        if not os.path.lexists(path / RESULT):
            raise RunError(f"The evaluation in {path} has not ended; repeat it with the same `out`.")
        return cls(path, None)

    def _begin(self, settings_yaml: str, *, begun: bool) -> None:
        if begun:
            return
        self._started = True
        self.write_json(CODE, describe_environment(), checked=False)
        self.write_text(SETTINGS, settings_yaml, checked=False)

    def _failed(self, error: BaseException) -> None:
        if self._started and not is_there(self.path / COMPLETIONS):
            # Nothing was sampled: a missing file, a wrong name. The corrected command may have other settings.
            self.forget(CODE, BASE, SETTINGS)  # the settings last: they say whose the others are

    def keep_base(self, base: Mapping[str, object]) -> None:
        """Write which base model is measured. Raises RunError where completions of another one are kept."""
        if not os.path.lexists(self.path / BASE):
            self.write_json(BASE, base)
        elif self.read_json(BASE) != base:
            raise RunError(
                f"The evaluation in {self.path} was made with other weights of the base model than it has now; put "
                "back what it was, or choose another directory with `out`."
            )

    def parts(self, task: str, decoding: str, side: str) -> AttemptParts:
        """Return the completions of one side under one decoding, to be read and added to."""
        return AttemptParts(self, f"{COMPLETIONS}/{task}/{decoding}/{side}")

    def attempts(self, task: str, decoding: str, side: str) -> list[Attempt]:
        """Return the same with their texts. Raises RunError where none is kept."""
        return read_parts(self, f"{COMPLETIONS}/{task}/{decoding}/{side}")

    def finish(self, problems: list[dict[str, object]], result: object) -> None:
        """Write the table of problems and the result; an earlier one is replaced."""
        write_table(self, PROBLEMS, pa.Table.from_pylist(problems, schema=PROBLEM_SCHEMA))
        self.write_json(RESULT, result)

    def problems(self) -> list[ProblemResult]:
        """Return the rows of the table of problems. Raises RunError where it is damaged, or holds other rows."""
        names = [field.name for field in fields(ProblemResult)]
        rows = read_table(self, PROBLEMS, names, self.CURE)
        return record_of(list[ProblemResult], rows, self.path / PROBLEMS, self.CURE)

    def result(self) -> dict[str, object]:
        """Return the result. Raises RunError where it is damaged, or no JSON object."""
        return self.read_json(RESULT)


def is_evaluation(path: Path) -> bool:
    """Return whether a directory holds a saved evaluation, finished or not."""
    return os.path.lexists(path / SETTINGS)
