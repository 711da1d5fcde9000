"""Stretches of time as users write them: 30m, 2h, 90s."""

import re

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
"""Seconds of each unit."""
LONGEST = 100 * 365 * 86400
_PART = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-z]+)")


def parse_duration(text: str) -> float:
    """Return the seconds that ``30m``, ``1h30m`` or ``90 s`` stand for. Raises ValueError, in words, for others."""
    lowered = text.strip().lower()
    parts = _PART.findall(lowered)
    if not parts or _PART.sub("", lowered).strip():
        raise ValueError("write numbers with a unit each, such as 30m, 90s or 1h30m")
    for _, unit in parts:
        if unit not in UNITS:
            raise ValueError(f"'{unit}' is no unit (known are {', '.join(UNITS)}); write 30m or 2h")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise ValueError("that is longer than a hundred years")
    if seconds <= 0:
        raise ValueError("it must be above 0")
    return seconds
