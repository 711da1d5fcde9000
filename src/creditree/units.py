"""Sizes of memory and stretches of time as users write them: 8GB, 500MB; 30m, 2h, 90s."""

import re

BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
"""Bytes of each unit: GB is 10^9, GiB 2^30."""
MOST = 2.0**60
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*")


def parse_bytes(text: object) -> int:
    """Return the bytes that ``8GB``, ``1.5 GiB`` or ``500mb`` stand for. Raises ValueError, in words, for others."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("write a number and a unit, such as 8GB or 500MB")
    number, unit = match.groups()
    by_name = {name.lower(): size for name, size in BYTES.items()}
    if not unit:
        raise ValueError("it has no unit; write 8GB or 500MB")
    if unit.lower() not in by_name:
        near = unit[0].upper() + "B"
        hint = f"did you mean '{near}'?" if near in BYTES else f"known are {', '.join(BYTES)}"
        raise ValueError(f"'{unit}' is no unit ({hint}); write 8GB or 500MB")
    if float(number) * by_name[unit.lower()] >= MOST:
        raise ValueError("that is more than any machine has")
    size = int(float(number) * by_name[unit.lower()])
    if size == 0:
        raise ValueError("it must be above 0")
    return size


def show_bytes(size: int) -> str:
    """Return bytes as people read them: 4.62 GB, 380 MB, 12 kB."""
    for name, unit, digits in (("GB", 10**9, 2), ("MB", 10**6, 0), ("kB", 10**3, 0)):
        if size >= unit:
            value = size / unit
            return f"{value:.{1 if digits == 0 and value < 10 else digits}f} {name}"
    return f"{size} B"


SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
"""Seconds of each unit."""
LONGEST_S = 100 * 365 * 86400
_PART = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-z]+)")


def parse_duration(text: str) -> float:
    """Return the seconds that ``30m``, ``1h30m`` or ``90 s`` stand for. Raises ValueError, in words, for others."""
    lowered = text.strip().lower()
    parts = _PART.findall(lowered)
    if not parts or _PART.sub("", lowered).strip():
        raise ValueError("write numbers with a unit each, such as 30m, 90s or 1h30m")
    for _, unit in parts:
        if unit not in SECONDS:
            raise ValueError(f"'{unit}' is no unit (known are {', '.join(SECONDS)}); write 30m or 2h")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise ValueError("that is longer than a hundred years")
    if seconds <= 0:
        raise ValueError("it must be above 0")
    return seconds
