"""Parquet files of a held directory: written whole, with a checksum, and checked when they are read."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from creditree.errors import RunError
from creditree.runs.held import HeldDirectory


def write_table(directory: HeldDirectory, name: str, table: pa.Table) -> None:
    """Replace the content of a file by a table; equal content gives equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    directory.write_bytes(name, buffer.getvalue())


def read_table(
    directory: HeldDirectory, name: str, columns: Sequence[str], cure: str, later: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the rows of a parquet file, of some columns; those that came `later` may be missing.

    Raises RunError, which ends with the cure, where it is missing or damaged, or lacks one of `columns`.
    """
    data = directory.read_bytes(name, cure)
    try:
        table = _table(data)
        present = [column for column in columns if column in table.column_names]
        missing = [column for column in columns if column not in present and column not in later]
        rows: list[dict[str, Any]] = [] if missing else table.select(present).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = " ".join(str(error).split())
        raise RunError(f"Cannot read {directory.path / name}: {cause}; {cure}.") from error
    if missing:
        raise RunError(f"{directory.path / name} has no column '{missing[0]}'; {cure}.")
    return rows


def _table(data: bytes) -> pa.Table:
    """Return the table in the bytes of a parquet file.

    Without threads of Arrow: one would let go of `data` when it likes, and while the interpreter ends that aborts the
    process.
    """
    return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)
