"""What can go wrong with a file or a value, drawn at random: cut, flipped, of another type, huge, deep, doubled."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]


def _slice(data: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randrange(len(data) + 1)
    return start, min(len(data), start + draw.randrange(1, 40))


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def emptied(data: bytes, draw: random.Random) -> bytes:
    return b""


def garbage(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 400))


def flipped(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(max(1, len(data)))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :] if data else data


def missing(data: bytes, draw: random.Random) -> bytes:
    start, stop = _slice(data, draw)
    return data[:start] + data[stop:]


def doubled(data: bytes, draw: random.Random) -> bytes:
    start, stop = _slice(data, draw)
    return data[:stop] + data[start:stop] + data[stop:]


def pumped(data: bytes, draw: random.Random) -> bytes:
    """A few bytes over and over: what takes quadratic time shows."""
    start = draw.randrange(len(data) + 1)
    piece = data[start : start + draw.randrange(1, 9)]
    return data[:start] + piece * (LONGEST_PUMP // max(1, len(piece))) + data[start:]


def line_doubled(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    place = draw.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def swapped(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def inserted(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(INSERTED) + data[place:]


LONGEST_PUMP = 30_000
INSERTED = (
    b"\x00", b"\x1b[2J", b"\x9b", b"\xff", b"\xed\xa0\x80", "\u202e".encode(),
    b"\\ud800", b"\\u0000", b'"', b"'", b"\n",
    b"\r", b"\t", b",", b";", b"{", b"[", b"]}", b"&a ", b"*a ", b"!!python/object:os.system ", b"[" * 5000,
    b"{a: " * 300,
    b"9" * 5000, b"-1", b"1e999", b"NaN", b"null", b"x" * 300_000, b" " * 300_000, b"\xef\xbb\xbf", b"%", b"@", b"`",
)  # fmt: skip
BYTES: dict[str, Mutation] = {
    one.__name__: one
    for one in (
        cut,
        emptied,
        garbage,
        flipped,
        missing,
        doubled,
        pumped,
        line_doubled,
        swapped,
        inserted,
        inserted,
        inserted,
    )
}


def mutated(path: Path, draw: random.Random) -> str:
    """Damage a file in place and say how: its bytes, or what stands at its path."""
    kind = draw.choice([*BYTES, "inserted", "inserted", "replaced"])
    if kind != "replaced":
        path.write_bytes(BYTES[kind](path.read_bytes(), draw))
        return kind
    kind = draw.choice(["folder", "loop", "dangling", "pipe", "gone"])
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    return kind


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 10**9, 10**18, 10**30, -(10**30), 0.5, -0.5, 1.0, 1e-320, 1e-300, 1e38, 1e300,
    1e308,
    float("nan"), float("inf"), -float("inf"), "", " ", "x", "none", "auto", "1", "1e5", "-1", "0x10", "x" * 100_000,
    "a\nb", "\x00", "\x1b[2J", "\u202e", "\ud800", "../..", "/", ".", "~", "/dev/zero", "hub:", "hub:#",
    "{question}",
    "{", "{0}", "{question!r:>99999999}", "a" * 300, [], [1], ["x"], [True], [None], [0, 0], [1e300], list(range(2000)),
    [[]], deep(40), {}, {"name": "x"}, {"name": None}, {"a": {"b": 1}}, {"x" * 1000: 1}, {"\ud800": 1},
)  # fmt: skip


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
