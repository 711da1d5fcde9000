"""Spaces of settings: lists to choose from and ranges to draw from, covered evenly by a few settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from creditree.config.block import LARGEST
from creditree.errors import ConfigError, did_you_mean
from creditree.rng import Key
from creditree.text import shown

ENDS, SCALES = ("low", "high", "scale"), ("linear", "log")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values; of one value: always that."""

    values: tuple[object, ...]

    def at(self, place: float) -> object:
        """Return the value at `place` in [0, 1): each has an equal share of it."""
        return self.values[int(place * len(self.values))]


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both included, uniform in itself or in its logarithm; `whole`: a whole number."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, place: float) -> object:
        """Return the number at `place` in [0, 1): whole, or of three significant digits."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        value = exp(log(low) + place * (log(high) - log(low))) if self.log else low + place * (high - low)
        if self.whole:
            return int(value)
        return min(self.high, max(self.low, float(f"{value:.3g}")))


Drawn = OneOf | Between
"""What a key of a configuration is drawn from."""


def drawn(value: object, where: str) -> Drawn:
    """Return what a key is drawn from: a list's values, ``{low: .., high: .., scale: log}``, or always `value`.

    A range is of whole numbers where both ends are. A list that is a value itself is a list in a list. Raises
    ConfigError, which begins with `where`.
    """
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"{where} is an empty list; write the values to choose from, such as [8, 16].")
        return OneOf(tuple(value))
    if isinstance(value, Mapping) and ("low" in value or "high" in value):
        return _range(value, where)
    return OneOf((value,))


def _range(value: Mapping[Any, Any], where: str) -> Between:
    for key in value:
        if key not in ENDS:
            raise ConfigError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), ENDS)}")
    low, high, scale = _end(value.get("low")), _end(value.get("high")), value.get("scale", "linear")
    whole = all(type(value.get(end)) is int for end in ("low", "high"))
    if low is None or high is None or not low < high:
        raise ConfigError(f"{where} is {shown(dict(value))}; write two numbers, such as {{low: 0.001, high: 0.01}}.")
    if scale not in SCALES:
        raise ConfigError(f"{where}: scale is {shown(scale)}.{did_you_mean(str(scale), SCALES)}")
    if scale == "log" and low <= 0:
        raise ConfigError(f"{where}: low is {low:g}, which has no logarithm; set it above 0, or scale: linear.")
    return Between(low, high, scale == "log", whole)


def _end(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < LARGEST else None


def settings(space: Mapping[str, Drawn], count: int, key: Key) -> list[dict[str, object]]:
    """Return `count` settings that cover each key of the space evenly: a Latin hypercube.

    A key's range is cut into `count` parts of equal probability, and each setting gets a number of another part
    (McKay, Beckman and Conover 1979, Technometrics 21:239). Random numbers depend on a key's name alone: spaces that
    share a key get the same values of it. Equal settings, as a space of few values has them, are returned once.
    """
    places = {name: _places(count, key.at("space", name)) for name in space}
    distinct: list[dict[str, object]] = []
    for index in range(count):
        setting = {name: entry.at(places[name][index]) for name, entry in space.items()}
        if setting not in distinct:
            distinct.append(setting)
    return distinct


def _places(count: int, key: Key) -> list[float]:
    """Return one number in each of `count` equal parts of [0, 1), the parts in random order."""
    parts, within = key.at("part").choose(count, count), key.at("within").uniforms(count)
    return [(part + float(number)) / count for part, number in zip(parts, within, strict=True)]
