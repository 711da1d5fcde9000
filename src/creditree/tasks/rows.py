"""Rows of a table, read from a JSONL, CSV or parquet file or from the Hugging Face hub."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.errors import DataError, did_you_mean

LoadDataset = Callable[..., Iterable[Mapping[str, object]]]
"""``datasets.load_dataset(name, split=...)``, or ``(name, subset, split=...)``, or what stands in for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a short label, where it stands, as a message names it, and its values by column name."""

    label: str
    place: str
    values: Mapping[str, object]


HUB = "hub:"
"""What a path begins with that names a data set on the hub: ``hub:NAME``, or ``hub:NAME#SPLIT``."""


def is_on_hub(path: str | Path | None) -> bool:
    """Return whether a path names a data set on the hub, not a file."""
    return str(path).startswith(HUB)


def read_rows(path: str | Path, load_dataset: LoadDataset | None = None) -> list[Row]:
    """Return the rows of the file at `path`, its format decided by the suffix: .jsonl, .csv or .parquet.

    ``hub:NAME`` is the split ``train`` of a data set on the Hugging Face hub, ``hub:NAME#SPLIT`` another one.
    Raises DataError for a file that is missing, empty, unreadable or of another format; the message names the line.
    """
    if is_on_hub(path):
        name, _, split = str(path).removeprefix(HUB).partition("#")
        return hub_rows(name, split or "train", load_dataset)
    file = Path(path)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        if not file.suffix:
            raise DataError(
                f"The problem file {file} has no suffix, which says what format it has: name it {file.name}.jsonl, "
                f"{file.name}.csv or {file.name}.parquet."
            )
        raise DataError(
            f"The problem file {file} has the suffix '{file.suffix}', which is not known: "
            f"use one of {', '.join(readers)}.{did_you_mean(file.suffix, readers)}"
        )
    if not file.is_file():
        raise DataError(f"The problem file {file} does not exist or is not a file: check the path.")
    try:
        rows = reader(file)
    except OSError as error:
        raise DataError(f"The problem file {file} cannot be read ({error}): check its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The problem file {file} is not UTF-8 text ({error.reason}): convert it to UTF-8.") from error
    if not rows:
        raise DataError(f"The problem file {file} has no rows: a set needs at least one problem.")
    return rows


def hub_rows(name: str, split: str, load_dataset: LoadDataset | None = None, subset: str | None = None) -> list[Row]:
    """Return the rows of one split of a data set, or of a subset of it, on the Hugging Face hub.

    `load_dataset` defaults to that of the package ``datasets``. Raises DataError, with the reason, if it fails.
    """
    if load_dataset is None:
        from datasets import load_dataset as from_hub

        load_dataset = from_hub
    try:
        loaded = list(load_dataset(*(part for part in (name, subset) if part is not None), split=split))
    except Exception as error:
        raise DataError(
            f"The data set {name} (split {split}) could not be loaded from the Hugging Face hub "
            f"({type(error).__name__}: {_one_line(error)}): check the network, or name a local file with path "
            "(--set task.path=FILE)."
        ) from error
    if not loaded:
        raise DataError(f"The data set {name} has no rows in split {split}.")
    return [
        Row(f"{split}-{number}", f"row {number} of {name}, split {split}", values)
        for number, values in enumerate(loaded, 1)
    ]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _jsonl(file: Path) -> list[Row]:
    rows = []
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"Line {number} of {file} is not readable as JSON ({_one_line(error)}): "
                    "each line must be one JSON object."
                ) from error
            if not isinstance(values, dict):
                raise DataError(
                    f"Line {number} of {file} is a JSON {type(values).__name__}: each line must be one JSON object."
                )
            rows.append(Row(f"{file.stem}-{number}", f"line {number} of {file}", values))
    return rows


def _csv(file: Path) -> list[Row]:
    rows = []
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            for number, values in enumerate(reader, 1):
                if None in values or None in values.values():
                    raise DataError(
                        f"Row {number} of {file} has {'more' if None in values else 'fewer'} cells than the header: "
                        "quote a cell that contains a comma."
                    )
                rows.append(Row(f"{file.stem}-{number}", f"row {number} of {file}", values))
        except csv.Error as error:
            raise DataError(
                f"{file} is not readable as CSV after line {reader.line_num} ({_one_line(error)}): "
                "check the quotes there."
            ) from error
    return rows


def _parquet(file: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        loaded: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{file} is not readable as parquet ({_one_line(error)}): write the file again.") from error
    return [Row(f"{file.stem}-{number}", f"row {number} of {file}", values) for number, values in enumerate(loaded, 1)]
