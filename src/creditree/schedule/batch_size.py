"""How many problems to draw so that enough completions are left to train on (arXiv 2509.26628, equation 10)."""

from math import ceil, floor
from typing import Literal

BatchRounding = Literal["ceil", "round"]

_ROUNDING_ERROR = 1e-9


def next_batch_size(
    problems: int,
    rows: int,
    target: int,
    *,
    decay: float = 0.9,
    rounding: BatchRounding = "ceil",
    least: int = 1,
    most: int | None = None,
) -> int:
    """Return B' = decay B + (1 - decay) B target / rows, between `least` and `most`.

    B = `problems`; `rows` completions were left to train on after the last update, `target` are wanted. At the fixed
    point rows = target. `rounding`: ``ceil``, with the ratio's term rounded down before (the authors' code), or
    ``round`` to the nearest (as printed). Where no row was left there is no ratio, and B stays.

    Rounding swallows steps of less than one problem: at decay 0.9, B stays where fewer than 10 (ceil, downwards) or 5
    (round) problems are missing, so small batches need a smaller decay.
    """
    wanted = problems * target / rows if rows else float(problems)
    if rounding == "ceil":
        size = ceil(decay * problems + (1.0 - decay) * floor(wanted + _ROUNDING_ERROR) - _ROUNDING_ERROR)
    else:
        size = floor(decay * problems + (1.0 - decay) * wanted + 0.5)
    size = max(least, size)
    return size if most is None else min(most, size)
