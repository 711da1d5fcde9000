"""Tables in files: JSON Lines, JSON, CSV and parquet, each read into numbered rows."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from creditree.errors import DataError, did_you_mean
from creditree.tasks.cells import DEEPEST, LONGEST_CELL, check_values, repeated
from creditree.tasks.parquet import parquet_rows
from creditree.text import one_line, shown

Numbered = Iterator[tuple[int, str, Mapping[str, object]]]
"""Rows by number, with what a message calls one (line, row or item), and its values by column name."""

MOST_ROWS = 3_000_000
MOST_BYTES = 4 * 10**9
_MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx): save it as CSV",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstandard: unpack it first",
    b"BZh": "compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "compressed with xz: unpack it first",
    b"\xff\xfe\0\0": "UTF-32 text: convert it to UTF-8",
    b"\xff\xfe": "UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
    b"SQLite": "a data base: export the table as CSV",
    b"version https://git-lfs": "a pointer of git-lfs: fetch the file itself with git lfs pull",
}


def file_rows(file: Path) -> Numbered:
    """Yield the rows of a file, its format decided by the suffix.

    Raises DataError for a file that is missing, too large, unreadable or of another format; the message names the line.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None and not file.suffix:
        raise DataError(
            f"The problem file {file} has no suffix, which says what format it has: name it {file.name}.jsonl, "
            f"{file.name}.csv or {file.name}.parquet."
        )
    if reader is None:
        raise DataError(
            f"The problem file {file} has the suffix {shown(file.suffix)}, which is not known: "
            f"use one of {', '.join(READERS)}.{did_you_mean(file.suffix, READERS)}"
        )
    try:
        if not file.is_file():
            raise DataError(f"The problem file {file} does not exist or is not a file: check the path.")
        _check_kind(file)
        for count, (number, place, values) in enumerate(reader(file), 1):
            if count > MOST_ROWS:
                raise DataError(f"The problem file {file} has more than {MOST_ROWS:,} rows: split it.")
            yield number, f"{place} {number} of {file}", values
    except OSError as error:
        raise DataError(f"The problem file {file} cannot be read ({error.strerror or error}): check it.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The problem file {file} is not UTF-8 text ({error.reason}): convert it to UTF-8.") from error


def _check_kind(file: Path) -> None:
    """Raise DataError for what is surely no text of a table, whatever its suffix says."""
    if file.stat().st_size > MOST_BYTES:
        raise DataError(f"The problem file {file} has more than {MOST_BYTES // 10**9} GB: split it.")
    with file.open("rb") as opened:
        start = opened.read(64)
    kinds = _MAGIC if file.suffix.lower() == ".parquet" else _MAGIC | {b"PAR1": "parquet: give it the suffix .parquet"}
    for magic, what in kinds.items():
        if start.startswith(magic):
            raise DataError(f"The problem file {file} is {what}.")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<table")):
        raise DataError(f"The problem file {file} is a web page or XML, not a table: save the table itself.")


def _jsonl(file: Path) -> Numbered:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"Line {number} of {file}"
            if number == 1 and line.lstrip().startswith("["):
                raise DataError(
                    f"{place} is a JSON list, or begins one: each line must be one JSON object; name a file that is "
                    "one list .json."
                )
            values = _loads(line, place, "each line must be one JSON object")
            if not isinstance(values, dict):
                raise DataError(f"{place} is a JSON {type(values).__name__}: each line must be one JSON object.")
            if "\\u" in line or len(line) > LONGEST_CELL or line.count("[") + line.count("{") > DEEPEST:
                check_values(values, place)
            yield number, "line", values


def _json(file: Path) -> Numbered:
    with file.open(encoding="utf-8-sig") as opened:
        text = opened.read()
    first, _, rest = text.strip().partition("\n")
    if first.startswith("{") and first.rstrip().endswith("}") and rest.lstrip().startswith("{"):
        raise DataError(f"The problem file {file} holds a JSON object in each line: name it .jsonl.")
    items = _loads(text, str(file), "the file must be one JSON list of objects")
    if not isinstance(items, list):
        raise DataError(f"{file} is a JSON {type(items).__name__}, not a list of objects: put the rows into a list.")
    for number, values in enumerate(items, 1):
        place = f"Item {number} of {file}"
        if not isinstance(values, dict):
            raise DataError(f"{place} is a JSON {type(values).__name__}: each item must be an object.")
        check_values(values, place)
        yield number, "item", values


def _loads(text: str, place: str, rule: str) -> object:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise DataError(f"{place} is nested too deep to be read as JSON: flatten it.") from None
    except ValueError as error:
        reason = one_line(str(error), 200)
        raise DataError(f"{place} is not readable as JSON ({reason}): {rule}.") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"the key {shown(repeated(name for name, _ in pairs))} is there twice")
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _csv(file: Path) -> Numbered:
    csv.field_size_limit(LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        number, whole = 0, 0
        try:
            header = next(reader, [])
            whole = reader.line_num
            _check_header(header, file)
            for cells in reader:
                whole = reader.line_num
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    raise DataError(
                        f"Row {number} of {file} has {'more' if len(cells) > len(header) else 'fewer'} cells than the "
                        "header: quote a cell that contains a comma."
                    )
                values = dict(zip(header, cells, strict=True))
                if any("\0" in cell for cell in cells):
                    check_values(values, f"Row {number} of {file}")
                yield number, "row", values
        except csv.Error as error:
            reason = one_line(str(error), 200)
            open_ended = "field limit" in reason or "end of data" in reason
            cure = "a quote is not closed, or a cell is too long" if open_ended else "check the quotes there"
            raise DataError(
                f"{file} is not readable as CSV in the row that begins in line {whole + 1} ({reason}): {cure}."
            ) from error


def _check_header(header: list[str], file: Path) -> None:
    check_columns(header, file)
    if header and header[0].strip().lower().startswith("sep="):
        raise DataError(f"{file} begins with a line for a spreadsheet program, {shown(','.join(header))}: remove it.")
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and mark in header[0]:
            raise DataError(
                f"The columns of {file} are separated by {name} (the header is {shown(header[0])}): save it with "
                "commas, and cells that hold a comma in quotes."
            )


def check_columns(names: list[str], file: Path) -> None:
    """Raise DataError where two columns have one name: nobody knows which is meant."""
    twice = repeated(names)
    if twice is not None:
        raise DataError(f"{file} has the column {shown(twice)} twice: rename or remove one of them.")


def _parquet(file: Path) -> Numbered:
    for number, values in parquet_rows(file, MOST_ROWS):
        yield number, "row", values


READERS: dict[str, Callable[[Path], Numbered]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".json": _json}
"""The formats by suffix."""
