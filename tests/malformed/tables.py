"""Data files that go wrong in a known way: encodings, sizes, repeats and types; and all of `odd_files`."""

import json
import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.malformed.families import CONFIG, ROWS, written_table
from tests.malformed.odd_files import BOMBS, MILLION, PLACES, SHAPES, Make, holding
from tests.malformed.outcomes import Case, Check

SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "gb18030")


def table_cases(folder: Path, start: int = 0, step: int = 1) -> Iterator[Case]:
    """Yield a case for each kind, or each so many-th: problems to be shown; every third is measured on instead."""
    for number, (kind, make, count) in list(enumerate(_kinds()))[start::step]:
        place = folder / f"table-{number}"
        place.mkdir(parents=True)
        path = make(place)
        task = {"name": "file", "path": os.fsdecode(path), "validation": 0.3, "test": 0.3}
        (place / "run.yaml").write_bytes(
            yaml.safe_dump(CONFIG | {"task": task, "method": "grpo"}).encode(errors="surrogatepass")
        )
        command: tuple[str, ...] = ("show", "run.yaml", "--json")
        if number % 3 == 0:
            command = ("eval", "builtin:multiplication", "--task", "run.yaml", "--problems", "1", "--temperature", "0",
                       "--max-new-tokens", "2", "--out", "out", "--json")  # fmt: skip
        yield Case(
            "table", kind, place, command, _shows(count) if number % 3 else lambda _: "", leaves=("out/result.json",)
        )


def _shows(count: int | None) -> Check:
    """Return a check that so many problems are shown; None: that is not known."""

    def check(out: str) -> str:
        slices = json.loads(out).get("slices") or json.loads(out).get("problems")
        found = sum(slices.values()) if isinstance(slices, dict) else None
        return "" if count is None or found in (None, count) else f"{found} problems instead of {count}"

    return check


def _kinds() -> Iterator[tuple[str, Make, int | None]]:
    yield from _encodings()
    yield from _large_cells()
    yield from _repeats()
    yield from _types()
    for name, make in (BOMBS | PLACES | SHAPES).items():
        yield name, make, None


def _text(suffix: str, rows: list[dict[str, Any]]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"set{suffix}"
        written_table(path, rows)
        return path.read_text(encoding="utf-8")


def _rows(suffix: str, rows: list[dict[str, Any]]) -> Make:
    def make(folder: Path) -> Path:
        written_table(folder / f"set{suffix}", rows)
        return folder / f"set{suffix}"

    return make


def _encodings() -> Iterator[tuple[str, Make, int | None]]:
    rows = [row | {"question": f"Was ist {row['question']} — naïve {number}é"} for number, row in enumerate(ROWS)]
    for suffix in (".csv", ".jsonl", ".json"):
        # what JSON escapes is ASCII
        text = _text(suffix, rows) if suffix == ".csv" else json.dumps(rows, ensure_ascii=False)
        if suffix == ".jsonl":
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        for encoding in ENCODINGS:
            data = text.encode(encoding, errors="replace")
            yield f"{suffix} in {encoding}", holding(f"set{suffix}", data), None
        yield f"{suffix} with two marks", holding(f"set{suffix}", b"\xef\xbb\xbf" * 2 + text.encode()), None


def _large_cells() -> Iterator[tuple[str, Make, int | None]]:
    for suffix in SUFFIXES:
        for column in ("question", "answer", "id", "other"):
            rows = [dict(row, other="x") for row in ROWS]
            rows[3][column] = "7" * MILLION
            yield f"{suffix} with a million characters in {column}", _rows(suffix, rows), None
    yield "a cell of 11 million", _rows(".jsonl", [ROWS[0] | {"other": "x" * 11 * MILLION}]), None
    yield "a line of 20 million", holding("set.csv", b"question,answer\n" + b"1," * 10 * MILLION), None
    yield "a million columns", holding("set.csv", b"question,answer" + b",x" * MILLION), None
    wide = ",".join(f"c{n}" for n in range(20_000))
    yield "20,000 columns", holding("set.csv", f"question,answer,{wide}\n1,2,{wide}\n".encode()), None


def _repeats() -> Iterator[tuple[str, Make, int | None]]:
    for suffix in SUFFIXES:
        same = [dict(row, id="r") for row in ROWS]
        yield f"{suffix} with one id for all", _rows(suffix, same), None
        yield f"{suffix} with every row twice", _rows(suffix, [row for row in ROWS for _ in range(2)]), len(ROWS)
        other = [*ROWS, ROWS[0] | {"id": "new", "answer": "999"}]
        yield f"{suffix} with two answers to a question", _rows(suffix, other), None
        yield f"{suffix} with an empty id", _rows(suffix, [dict(row, id="") for row in ROWS]), len(ROWS)
    yield "a header with one name twice", holding("set.csv", b"question,answer,answer\na,1,2\n"), None
    yield "a key twice", holding("set.jsonl", b'{"question": "a", "answer": 1, "answer": 2}\n'), None
    twice = pa.table([pa.array(["a"]), pa.array(["1"]), pa.array(["2"])], names=["question", "answer", "answer"])
    yield "a parquet column twice", _parquet(twice), None


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**40, "", " ", "NaN", [], [None], [[1]], [1, "2"], {},
    {"a": 1}, ["x"] * 10_000, "\x00", "\ud800", "=1+1", "\x1b[2J", "\u202e",
)  # fmt: skip


def _types() -> Iterator[tuple[str, Make, int | None]]:
    for column in ("question", "answer", "id", "split", "solution"):
        for value in VALUES:
            rows = [*ROWS[:5], ROWS[5] | {column: value}, *ROWS[6:]]
            yield f"{column} is {str(value)[:20]!r}", _rows(".jsonl", rows), None
    for name, array in _arrays().items():
        if len(array) == 3:
            yield f"parquet answers of {name}", _parquet(pa.table({"question": ["a", "b", "c"], "answer": array})), None
            yield (
                f"parquet questions of {name}",
                _parquet(pa.table({"question": array, "answer": ["1", "2", "3"]})),
                None,
            )


def _arrays() -> dict[str, Any]:
    return {
        "int8": pa.array([1, 2, None], pa.int8()),
        "uint64": pa.array([2**64 - 1, 0, 1], pa.uint64()),
        "float16": pa.array([0.5, 1.5, 2.5], pa.float16()),
        "float32": pa.array([0.1, float("nan"), 3], pa.float32()),
        "bool": pa.array([True, False, None]),
        "decimal": pa.array([Decimal("1.50"), Decimal("2.25"), None], pa.decimal128(20, 2)),
        "date": pa.array([date(2026, 1, 1), date(1, 1, 1), None]),
        "timestamp": pa.array([2**62, -(2**62), 0], pa.timestamp("us")),
        "time": pa.array([1, 2, 3], pa.time32("s")),
        "duration": pa.array([timedelta(days=10**8), timedelta(0), None]),
        "binary": pa.array([b"\xff\xfe", b"1", None]),
        "null": pa.nulls(3),
        "list": pa.array([[1, 2], [], None]),
        "struct": pa.array([{"a": 1}, {"a": None}, None]),
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
        "large text": pa.array(["x", "y", "z"], pa.large_string()),
        "text in zones": pa.array([datetime(2026, 1, 1)] * 3, pa.timestamp("us", tz="Europe/Berlin")),
    }


def _parquet(table: Any, **options: Any) -> Make:
    def make(folder: Path) -> Path:
        pq.write_table(table, folder / "set.parquet", **options)
        return folder / "set.parquet"

    return make
