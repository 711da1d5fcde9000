"""Sizes that a model's configuration names: impossible ones are found before anything is made of that size.

transformers writes a list with an entry a layer as soon as it reads the configuration, so that a number with a few
digits too many takes all memory, or for ever.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from creditree.text import shown

MOST_LAYERS = 10_000
"""Of anything that is counted in layers; published models have hundreds."""
LARGEST = 1 << 40
"""Of any other whole number; the longest context that a configuration claims is 10^9 or so."""


def size_problem(values: Mapping[str, Any]) -> str | None:
    """Return which number of a ``config.json`` no model has, in words, or None."""
    for name, number in _numbers(values):
        most = MOST_LAYERS if "layer" in name else LARGEST
        if abs(number) > most:
            return f"{name} is {shown(number)}, and no model has more than {most:,} there"
        if name in ("num_hidden_layers", "n_layer", "num_layers") and number < 0:
            return f"{name} is {number}, and no model has fewer than none"
    return None


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers by key, also those of what is nested, and of lists the largest."""
    stack: list[tuple[str, object]] = [*values.items()]
    while stack:
        name, value = stack.pop()
        if isinstance(value, Mapping):
            stack += value.items()
        elif isinstance(value, list):
            stack += [("", nested) for nested in value if isinstance(nested, Mapping | list)]
            numbers = [abs(number) for number in value if isinstance(number, int)]
            if numbers:
                yield "", max(numbers)
        elif isinstance(value, int):
            yield name, value
