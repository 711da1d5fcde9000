"""Judged completions of a measurement as parquet: one row a completion, in parts that are written once."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from creditree.errors import RunError
from creditree.problem import Status
from creditree.runs.atomic import recover, write_bytes, writing

SCHEMA = pa.schema(
    [
        ("problem_id", pa.string()),
        ("index", pa.int32()),
        ("reward", pa.float64()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("vote", pa.string()),
        ("num_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A problem's `index`-th completion, judged.

    `reward` is None where the verifier could give none; `vote` is the answer that it gives (None: none was found);
    `truncated`: it was cut off at the limit of tokens. `text` may be left empty where only the figures matter.
    """

    problem_id: str
    index: int
    reward: float | None
    status: Status
    vote: str | None
    num_tokens: int
    truncated: bool
    detail: str = ""
    text: str = ""


class AttemptParts:
    """A folder of ``part-000001.parquet``, ...: each is there as a whole or not at all, whenever the writer is killed.

    Only the process that holds the directory around it may construct one: it removes what a killed writer left.
    """

    def __init__(self, folder: Path) -> None:
        """Raises RunError where the folder cannot be written."""
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        recover(folder)

    def read(self) -> list[Attempt]:
        """Return all attempts, without their texts. Raises RunError for a part that cannot be read."""
        return [attempt for path in self._parts() for attempt in read_attempts(path)]

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Write one more part, durably. Raises RunError where it cannot be written."""
        path = self.folder / f"part-{len(self._parts()) + 1:06d}.parquet"
        write_table(path, pa.Table.from_pylist([asdict(attempt) for attempt in attempts], schema=SCHEMA))

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))


def read_parts(folder: Path) -> list[Attempt]:
    """Return all attempts of a folder of `AttemptParts`, with their texts, while another process may be adding more.

    Raises RunError where the folder holds none, or a part cannot be read.
    """
    found = [attempt for path in sorted(folder.glob("part-*.parquet")) for attempt in read_attempts(path, texts=True)]
    if not found:
        raise RunError(f"There are no judged completions in {folder}; measure there first, or choose another run.")
    return found


def read_attempts(path: Path, *, texts: bool = False) -> list[Attempt]:
    """Return the attempts of one part, with their texts on request. Raises RunError where it cannot be read."""
    names = [field.name for field in fields(Attempt) if texts or field.name != "text"]
    return [Attempt(**row) for row in read_table(path, names)]


def write_table(path: Path, table: pa.Table) -> None:
    """Replace the content of `path` by a table, atomically; equal content gives equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def read_table(path: Path, columns: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a parquet file. Raises RunError where there is none, or it cannot be read."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=None if columns is None else list(columns)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        cause = " ".join(str(error).split())
        raise RunError(f"Cannot read {path}: {cause}; remove it, and run the same command again.") from error
    return rows
