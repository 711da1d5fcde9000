"""Files in the place of a table: bombs, links, pipes, names, and tables that are none."""

import gzip
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.malformed.families import ROWS, written_table

MILLION = 1_000_000
Make = Callable[[Path], Path]
"""Makes the file in a folder, and returns the path that the configuration names."""


def holding(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

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
    return holding("set.parquet", sink.getvalue()[:-8] + b"\xff\xff\xff\xff" + b"PAR1")(folder)


BOMBS: dict[str, Make] = {
    "8 million rows in a small parquet": _many_rows,
    "60 GB of one text in a small parquet": _zeros,
    "540 MB of zeros in a small parquet": _plain_zeros,
    "a list of millions in one cell": _lists,
    "structures in structures": _nested,
    "a footer of four gigabytes": _sized_footer,
    "gzip called csv": holding("set.csv", gzip.compress(b"0" * 50 * MILLION)),
    "gzip called parquet": holding("set.parquet", gzip.compress(b"0" * 50 * MILLION)),
    "zip called csv": _zip("set.csv"),
    "zip called jsonl": _zip("set.jsonl"),
    "a spreadsheet": _zip("set.xlsx"),
    "brackets without end": holding("set.json", b"[" * MILLION),
    "brackets without end in a line": holding("set.jsonl", b'{"question":' + b"[" * MILLION),
    "objects in objects": holding("set.json", b'{"a":' * 100_000),
    "a number of a million digits": holding("set.jsonl", b'{"question": "x", "answer": ' + b"9" * MILLION + b"}"),
    "an exponent without end": holding("set.jsonl", b'{"question": "x", "answer": 1e999999999}'),
    "a quote that is not closed": holding("set.csv", b'question,answer\n"' + b"x\n" * 3 * MILLION),
    "a million empty lines": holding("set.jsonl", b"\n" * MILLION),
    "ten million spaces": holding("set.jsonl", b" " * 10 * MILLION),
    "two hundred thousand short rows": holding("set.csv", b"question,answer\n" + b"1,2\n" * 200_000),
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


PLACES: dict[str, Make] = {
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
SHAPES: dict[str, Make] = {
    "an empty csv": holding("set.csv", b""),
    "an empty jsonl": holding("set.jsonl", b""),
    "an empty json": holding("set.json", b""),
    "an empty parquet": holding("set.parquet", b""),
    "a header alone": holding("set.csv", b"question,answer\n"),
    "no header": holding("set.csv", b"1+1?,2\n2+2?,4\n"),
    "semicolons": holding("set.csv", b"question;answer\n1+1?;2\n"),
    "tabs": holding("set.csv", b"question\tanswer\n1+1?\t2\n"),
    "a line for a spreadsheet": holding("set.csv", b"sep=,\nquestion,answer\n1+1?,2\n"),
    "ends of lines of old": holding("set.csv", b"question,answer\r1+1?,2\r"),
    "mixed ends of lines": holding("set.csv", b"question,answer\r\n1+1?,2\n2+2?,4\r"),
    "a row too short": holding("set.csv", b"question,answer\n1+1?\n"),
    "a row too long": holding("set.csv", b"question,answer\n1+1?,2,3\n"),
    "NUL": holding("set.csv", b"question,answer\n1\0+1?,2\n"),
    "NUL alone": holding("set.csv", b"\0" * 5000),
    "an object": holding("set.json", b'{"question": "x", "answer": 1}'),
    "numbers": holding("set.json", b"[1, 2]"),
    "lines of numbers": holding("set.jsonl", b"1\n2\n"),
    "a list in a line": holding("set.jsonl", b'[{"question": "x", "answer": 1}]\n'),
    "objects called json": holding("set.json", b'{"question": "x", "answer": 1}\n{"question": "y", "answer": 2}\n'),
    "a comma too many": holding("set.json", b'[{"question": "x", "answer": 1},]'),
    "single quotes": holding("set.jsonl", b"{'question': 'x', 'answer': 1}\n"),
    "a torn line": holding("set.jsonl", b'{"question": "x", "answer": 1}\n{"question": "y", "ans'),
    "NaN": holding("set.jsonl", b'{"question": "x", "answer": NaN}\n'),
    "a web page": holding("set.csv", b"<!DOCTYPE html><html><table></table></html>"),
    "a pointer": holding("set.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
    "csv called parquet": holding("set.parquet", b"question,answer\n1+1?,2\n"),
    "another suffix": holding("set.txt", b"question,answer\n1+1?,2\n"),
    "no suffix": holding("set", b"question,answer\n1+1?,2\n"),
    "a suffix in capitals": holding("set.CSV", b"question,answer\n" + b"".join(b"%d?,1\n" % n for n in range(12))),
}  # fmt: skip
