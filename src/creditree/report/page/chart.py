"""Charts as records: what is drawn, whoever draws it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from creditree.report.curves import Series


@dataclass(frozen=True, eq=False, slots=True)
class LineChart:
    """Lines over x, each the mean of its seeds with a band from the lowest to the highest.  `name`: of its files."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from 0 to `value`, or a dot with its interval; `text` says the number, `colour` is one of seven."""

    label: str
    value: float
    text: str
    interval: tuple[float, float] | None = None
    colour: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class BarChart:
    """Bars, one below the other; those with intervals are dots."""

    name: str
    title: str
    x_label: str
    bars: Sequence[Bar]


Chart = LineChart | BarChart


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Return round numbers from `low` to `high`, steps of 1, 2 or 5 times a power of ten; `whole`: of 1 at least."""
    if not high > low:
        return [low]
    step = 10.0 ** floor(log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    step = max(step, 1.0) if whole else step
    first = ceil(low / step - 1e-9)
    return [number * step for number in range(first, first + most + 2) if number * step <= high + 1e-9 * step]


def tick_text(value: float) -> str:
    """Return a number at an axis: ``0.25``, ``12k``, ``3M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}" if abs(value) >= 1e-12 else "0"
