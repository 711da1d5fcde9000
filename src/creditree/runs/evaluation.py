"""The directory of a saved evaluation: what was asked, what was sampled so far, and in the end the results."""

from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from creditree.errors import RunError
from creditree.runs.atomic import recover, write_json, write_text, writing
from creditree.runs.attempts import AttemptParts, read_table, write_table
from creditree.runs.difference import describe_difference
from creditree.runs.environment import describe_environment
from creditree.runs.held import HeldDirectory, read_object
from creditree.runs.lock import RunLock

SETTINGS, CODE, COMPLETIONS, PROBLEMS, RESULT = (
    "evaluation.yaml",
    "code.json",
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


class EvaluationDirectory(HeldDirectory):
    """``evaluation.yaml code.json completions/TASK/DECODING/SIDE/part-*.parquet problems.parquet result.json``.

    `open` holds its lock until `close` (or the end of a ``with``) and continues what is there; `read` is for readers.
    """

    def __init__(self, path: Path, lock: RunLock | None, *, started: bool = False) -> None:
        super().__init__(path, lock)
        self._started = started

    @classmethod
    def open(cls, path: Path | str, settings_yaml: str) -> Self:
        """Start an evaluation in a new or empty directory, or continue the one that is there.

        Raises RunError where it was made with other settings (the sentence names the keys and both values), where the
        directory holds a training run, cannot be written, or is being written by another process.
        """
        path = Path(path)
        if (path / "config.yaml").exists():
            raise RunError(f"Directory {path} holds a training run; choose another one with --out.")
        if path.exists() and not path.is_dir():
            raise RunError(f"--out {path} is a file; choose a directory.")
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
        try:
            recover(path)
            started = not (path / SETTINGS).exists()
            _check_settings(path, settings_yaml)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock, started=started)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Open a finished evaluation to read it. Raises RunError where there is none, or it has not ended."""
        path = Path(path)
        if not is_evaluation(path):
            raise RunError(f"There is no evaluation in {path}: {SETTINGS} is missing; make one with creditree eval --out.")
        if not (path / RESULT).is_file():
            raise RunError(f"The evaluation in {path} has not ended; run the same creditree eval --out again.")
        return cls(path, None)

    def _failed(self, error: BaseException) -> None:
        if self._started and not (self.path / COMPLETIONS).exists():
            # Nothing was sampled: a missing file, a wrong name. The corrected command may have other settings.
            for name in (SETTINGS, CODE):
                (self.path / name).unlink(missing_ok=True)

    def parts(self, task: str, decoding: str, side: str) -> AttemptParts:
        """Return the completions of one side under one decoding, to be read and added to."""
        return AttemptParts(self.path / COMPLETIONS / task / decoding / side)

    def finish(self, problems: list[dict[str, object]], result: object) -> None:
        """Write the table of problems and the result; an earlier one is replaced."""
        write_table(self.path / PROBLEMS, pa.Table.from_pylist(problems, schema=PROBLEM_SCHEMA))
        write_json(self.path / RESULT, result)

    def problems(self) -> list[dict[str, Any]]:
        """Return the rows of the table of problems."""
        return read_table(self.path / PROBLEMS)

    def result(self) -> dict[str, object]:
        """Return the result. Raises RunError where it is no JSON object."""
        return read_object(self.path / RESULT, "run the same creditree eval again")


def is_evaluation(path: Path) -> bool:
    """Return whether a directory holds a saved evaluation, finished or not."""
    return (path / SETTINGS).is_file()


def _check_settings(path: Path, settings_yaml: str) -> None:
    held = path / SETTINGS
    if not held.exists():
        if (path / COMPLETIONS).exists():
            raise RunError(f"Directory {path} holds {COMPLETIONS} but no {SETTINGS}; remove it or choose another one.")
        write_json(path / CODE, describe_environment())
        write_text(held, settings_yaml)
        return
    difference = describe_difference(held.read_text(encoding="utf-8"), settings_yaml, place="evaluation", file=SETTINGS)
    if difference:
        raise RunError(
            f"The evaluation in {path} was made with other settings: {difference}; "
            "repeat it with the same ones, or choose another directory with --out."
        )
