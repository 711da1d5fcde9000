"""Which cases of a product of parameters `make test` runs: few, in which each value is met; the rest is thorough."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest

_Parameters = type(pytest.param())


def each_once(*axes: Iterable[Any]) -> list[Any]:
    """Return every combination of one value of each axis, as parameters of a test of that many arguments.

    `make test` runs as many as the longest axis has values: each value of each axis is in one of them. An axis starts
    one value later than the one before it, so that two short axes do not go together. All others are `thorough`.
    """
    values = [list(axis) for axis in axes]
    sizes = [len(axis) for axis in values]
    rows = max(sizes)
    chosen = {tuple((row + shift) % rows % size for shift, size in enumerate(sizes)) for row in range(rows)}
    return [
        _parameters([axis[place] for axis, place in zip(values, places, strict=True)], places in chosen)
        for places in product(*map(range, sizes))
    ]


def first_of(values: Iterable[Any], count: int) -> list[Any]:
    """Return the values as parameters of a test; `make test` runs the first `count`, the others are `thorough`."""
    return [_parameters([value], place < count) for place, value in enumerate(values)]


def _parameters(values: list[Any], is_chosen: bool) -> Any:
    """Put values together, some of which may be parameters with marks of their own."""
    sets = [value if isinstance(value, _Parameters) else pytest.param(value) for value in values]
    marks = [mark for one in sets for mark in one.marks]
    return pytest.param(
        *(held for one in sets for held in one.values), marks=marks if is_chosen else [*marks, pytest.mark.thorough]
    )
