"""Data files that go wrong in a known way: encodings, sizes, types, bombs, and what stands in the place of a file."""

import gzip
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.malformed.families import CONFIG, ROWS, written_table
from tests.malformed.outcomes import Case, Check

MILLION = 1_000_000
SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "gb18030")
Make = Callable[[Path], Path]
"""Makes the file in a folder, and returns the path that the configuration names."""


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
    for name, make in (_BOMBS | _PLACES | _SHAPES).items():
        yield name, make, None


def _text(suffix: str, rows: list[dict[str, Any]]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"set{suffix}"
        written_table(path, rows)
        return path.read_text(encoding="utf-8")


def _bytes(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


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
            yield f"{suffix} in {encoding}", _bytes(f"set{suffix}", data), None
        yield f"{suffix} with two marks", _bytes(f"set{suffix}", b"\xef\xbb\xbf" * 2 + text.encode()), None


def _large_cells() -> Iterator[tuple[str, Make, int | None]]:
    for suffix in SUFFIXES:
        for column in ("question", "answer", "id", "other"):
            rows = [dict(row, other="x") for row in ROWS]
            rows[3][column] = "7" * MILLION
            yield f"{suffix} with a million characters in {column}", _rows(suffix, rows), None
    yield "a cell of 11 million", _rows(".jsonl", [ROWS[0] | {"other": "x" * 11 * MILLION}]), None
    yield "a line of 20 million", _bytes("set.csv", b"question,answer\n" + b"1," * 10 * MILLION), None
    yield "a million columns", _bytes("set.csv", b"question,answer" + b",x" * MILLION), None
    wide = ",".join(f"c{n}" for n in range(20_000))
    yield "20,000 columns", _bytes("set.csv", f"question,answer,{wide}\n1,2,{wide}\n".encode()), None


def _repeats() -> Iterator[tuple[str, Make, int | None]]:
    for suffix in SUFFIXES:
        same = [dict(row, id="r") for row in ROWS]
        yield f"{suffix} with one id for all", _rows(suffix, same), None
        yield f"{suffix} with every row twice", _rows(suffix, [row for row in ROWS for _ in range(2)]), len(ROWS)
        other = [*ROWS, ROWS[0] | {"id": "new", "answer": "999"}]
        yield f"{suffix} with two answers to a question", _rows(suffix, other), None
        yield f"{suffix} with an empty id", _rows(suffix, [dict(row, id="") for row in ROWS]), len(ROWS)
    yield "a header with one name twice", _bytes("set.csv", b"question,answer,answer\na,1,2\n"), None
    yield "a key twice", _bytes("set.jsonl", b'{"question": "a", "answer": 1, "answer": 2}\n'), None
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


def _many_rows(folder: Path) -> Path:
    """Sixty million rows in some kilobytes: the same ones again."""
    question = pa.DictionaryArray.from_arrays(pa.array([0] * MILLION, pa.int32()), pa.array(["q"]))
    table = pa.table({"question": question, "answer": question})
    with pq.ParquetWriter(folder / "set.parquet", table.schema, compression="zstd") as writer:
        for _ in range(8):
            writer.write_table(table, row_group_size=MILLION)
    return folder / "set.parquet"


def _zeros(folder: Path) -> Path:
    """A column that unfolds to gigabytes: one long text, thousands of times."""
    text = pa.array(["0" * 3 * MILLION])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), text)
    table = pa.table({"question": [str(n) for n in range(20_000)], "answer": ["1"] * 20_000, "other": column})
    pq.write_table(table, folder / "set.parquet", compression="zstd", dictionary_pagesize_limit=1 << 30)
    return folder / "set.parquet"


def _plain_zeros(folder: Path) -> Path:
    """The same without a dictionary: hundreds of megabytes of zeros, which a compressor makes small."""
    table = pa.table({"question": [str(n) for n in range(60)], "answer": ["1"] * 60, "other": ["0" * 9 * MILLION] * 60})
    pq.write_table(table, folder / "set.parquet", compression="zstd", use_dictionary=False)
    return folder / "set.parquet"


def _lists(folder: Path) -> Path:
    """One row with a list of three million zeros."""
    column = pa.array([[0] * 3 * MILLION])
    pq.write_table(pa.table({"question": ["a"], "answer": ["1"], "other": column}), folder / "set.parquet")
    return folder / "set.parquet"


def _nested(folder: Path) -> Path:
    value: Any = pa.array([1])
    for _ in range(60):
        value = pa.StructArray.from_arrays([value], ["a"])
    pq.write_table(pa.table({"question": ["a"], "answer": ["1"], "other": value}), folder / "set.parquet")
    return folder / "set.parquet"


def _zip(name: str) -> Make:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/workbook.xml", b"0" * 20 * MILLION)
        return folder / name

    return make


def _sized_footer(folder: Path) -> Path:
    """A parquet file whose end says that its metadata have four gigabytes."""
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return _bytes("set.parquet", sink.getvalue()[:-8] + b"\xff\xff\xff\xff" + b"PAR1")(folder)


_BOMBS: dict[str, Make] = {
    "8 million rows in a small parquet": _many_rows,
    "60 GB of one text in a small parquet": _zeros,
    "540 MB of zeros in a small parquet": _plain_zeros,
    "a list of millions in one cell": _lists,
    "structures in structures": _nested,
    "a footer of four gigabytes": _sized_footer,
    "gzip called csv": _bytes("set.csv", gzip.compress(b"0" * 50 * MILLION)),
    "gzip called parquet": _bytes("set.parquet", gzip.compress(b"0" * 50 * MILLION)),
    "zip called csv": _zip("set.csv"),
    "zip called jsonl": _zip("set.jsonl"),
    "a spreadsheet": _zip("set.xlsx"),
    "brackets without end": _bytes("set.json", b"[" * MILLION),
    "brackets without end in a line": _bytes("set.jsonl", b'{"question":' + b"[" * MILLION),
    "objects in objects": _bytes("set.json", b'{"a":' * 100_000),
    "a number of a million digits": _bytes("set.jsonl", b'{"question": "x", "answer": ' + b"9" * MILLION + b"}"),
    "an exponent without end": _bytes("set.jsonl", b'{"question": "x", "answer": 1e999999999}'),
    "a quote that is not closed": _bytes("set.csv", b'question,answer\n"' + b"x\n" * 3 * MILLION),
    "a million empty lines": _bytes("set.jsonl", b"\n" * MILLION),
    "ten million spaces": _bytes("set.jsonl", b" " * 10 * MILLION),
    "two hundred thousand short rows": _bytes("set.csv", b"question,answer\n" + b"1,2\n" * 200_000),
}


def _linked(target: Callable[[Path], Path | str], suffix: str = ".csv") -> Make:
    def make(folder: Path) -> Path:
        path = folder / f"set{suffix}"
        path.symlink_to(target(folder))
        return path

    return make


def _outside(folder: Path) -> Path:
    outside = folder.parent / f"outside-{folder.name}"
    outside.mkdir()
    written_table(outside / "other.csv", ROWS)
    return outside / "other.csv"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "set.csv")
    return folder / "set.csv"


def _folder(folder: Path) -> Path:
    (folder / "set.csv").mkdir()
    return folder / "set.csv"


def _odd_name(name: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / (os.fsdecode(name) + ".csv")
        path.parent.mkdir(exist_ok=True)
        written_table(path, ROWS)
        return path

    return make


_PLACES: dict[str, Make] = {
    "a link out of the folder": _linked(_outside),
    "a link to itself": _linked(lambda folder: folder / "set.csv"),
    "a link to nothing": _linked(lambda folder: "nowhere.csv"),
    "a link to a device without end": _linked(lambda folder: "/dev/zero"),
    "a link to a device of random numbers": _linked(lambda folder: "/dev/urandom", ".jsonl"),
    "a link to nothing's device": _linked(lambda folder: "/dev/null"),
    "a link to memory": _linked(lambda folder: "/proc/self/mem", ".parquet"),
    "a link to passwords": _linked(lambda folder: "/etc/passwd"),
    "a pipe": _pipe,
    "a folder": _folder,
    "a name of a line and a half": _odd_name(b"a\nb"),
    "a name that is no text": _odd_name(b"\xff\xfe"),
    "a name that steers": _odd_name(b"\x1b[2J\xe2\x80\xae"),
    "a name in brackets": _odd_name(b"[red]x[/b]"),
    "no name": lambda folder: Path(""),
    "a very long name": lambda folder: folder / ("x" * 300 + ".csv"),
    "a very long path": lambda folder: folder / "/".join(["y" * 200] * 50) / "set.csv",
    "the root": lambda folder: Path("/"),
    "another user's home": lambda folder: Path("~nobody-of-this-name/set.csv"),
}
_SHAPES: dict[str, Make] = {
    "an empty csv": _bytes("set.csv", b""),
    "an empty jsonl": _bytes("set.jsonl", b""),
    "an empty json": _bytes("set.json", b""),
    "an empty parquet": _bytes("set.parquet", b""),
    "a header alone": _bytes("set.csv", b"question,answer\n"),
    "no header": _bytes("set.csv", b"1+1?,2\n2+2?,4\n"),
    "semicolons": _bytes("set.csv", b"question;answer\n1+1?;2\n"),
    "tabs": _bytes("set.csv", b"question\tanswer\n1+1?\t2\n"),
    "a line for a spreadsheet": _bytes("set.csv", b"sep=,\nquestion,answer\n1+1?,2\n"),
    "ends of lines of old": _bytes("set.csv", b"question,answer\r1+1?,2\r"),
    "mixed ends of lines": _bytes("set.csv", b"question,answer\r\n1+1?,2\n2+2?,4\r"),
    "a row too short": _bytes("set.csv", b"question,answer\n1+1?\n"),
    "a row too long": _bytes("set.csv", b"question,answer\n1+1?,2,3\n"),
    "NUL": _bytes("set.csv", b"question,answer\n1\0+1?,2\n"),
    "NUL alone": _bytes("set.csv", b"\0" * 5000),
    "an object": _bytes("set.json", b'{"question": "x", "answer": 1}'),
    "numbers": _bytes("set.json", b"[1, 2]"),
    "lines of numbers": _bytes("set.jsonl", b"1\n2\n"),
    "a list in a line": _bytes("set.jsonl", b'[{"question": "x", "answer": 1}]\n'),
    "objects called json": _bytes("set.json", b'{"question": "x", "answer": 1}\n{"question": "y", "answer": 2}\n'),
    "a comma too many": _bytes("set.json", b'[{"question": "x", "answer": 1},]'),
    "single quotes": _bytes("set.jsonl", b"{'question': 'x', 'answer': 1}\n"),
    "a torn line": _bytes("set.jsonl", b'{"question": "x", "answer": 1}\n{"question": "y", "ans'),
    "NaN": _bytes("set.jsonl", b'{"question": "x", "answer": NaN}\n'),
    "a web page": _bytes("set.csv", b"<!DOCTYPE html><html><table></table></html>"),
    "a pointer": _bytes("set.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
    "csv called parquet": _bytes("set.parquet", b"question,answer\n1+1?,2\n"),
    "another suffix": _bytes("set.txt", b"question,answer\n1+1?,2\n"),
    "no suffix": _bytes("set", b"question,answer\n1+1?,2\n"),
    "a suffix in capitals": _bytes("set.CSV", b"question,answer\n" + b"".join(b"%d?,1\n" % n for n in range(12))),
}  # fmt: skip
