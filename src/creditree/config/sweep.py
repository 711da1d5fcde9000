"""A sweep: one configuration, changed case by case, each case run with several seeds."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import yaml

from creditree.config.anchor import anchored
from creditree.config.block import LARGEST_INTEGER
from creditree.config.load import check_config, parse_values, read_yaml
from creditree.config.overrides import apply_overrides, set_key
from creditree.config.schema import RunConfig
from creditree.disk import is_file
from creditree.errors import ConfigError, did_you_mean
from creditree.text import shown

KEYS = ("base", "grid", "cases", "seeds")
LONGEST_NAME = 80
MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run of a sweep: its case, its seed, the keys that make the case, and the whole checked configuration."""

    case: str
    seed: int
    keys: Mapping[str, object]
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where the run lies below the sweep's directory: ``CASE/seed-SEED``."""
        return Path(folder_name(self.case)) / f"seed-{self.seed}"


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> list[SweepRun]:
    """Return the runs of the sweep in a YAML file: each case with the first seed, then each with the second, ...

    ``base`` is a configuration, or the path of one (beside the file, else from the working directory); `overrides`
    change it. ``cases`` maps names to dotted keys with values; ``grid`` maps dotted keys to lists, of which every
    combination is a case; with both, every case is combined with every point of the grid. ``seeds`` is a list of whole
    numbers. Everything is checked before anything runs. Raises ConfigError.
    """
    values = parse_values(read_yaml(path, "sweep"), str(path))
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"{path}: unknown key '{key}'.{did_you_mean(str(key), KEYS)}")
    base = apply_overrides(base_values(values.get("base"), path), overrides)
    seeds = _seeds(values.get("seeds", [0]), path)
    cases = _cases(values, path, MOST_RUNS // len(seeds))
    folders: dict[str, str] = {}
    for name in cases:
        other = folders.setdefault(folder_name(name), name)
        if other != name:
            raise ConfigError(f"{path}: the cases '{other}' and '{name}' would share a folder; rename one.")
    return [_run(base, name, keys, seed, path) for seed in seeds for name, keys in cases.items()]


def _run(base: Mapping[str, Any], name: str, keys: Mapping[str, object], seed: int, path: Path) -> SweepRun:
    where = f"{path}, case '{name}'"
    return SweepRun(name, seed, keys, configured(base, {**keys, "seed": seed}, path, where))


def configured(base: Mapping[str, Any], keys: Mapping[str, object], path: Path, where: str) -> RunConfig:
    """Return the base of the sweep in the file at `path` with dotted keys set, checked. Raises ConfigError."""
    values = deepcopy(dict(base))
    for key, value in keys.items():
        set_key(values, key, deepcopy(value), where)
    return check_config(anchored(values, path.parent), where)


def base_values(base: object, path: Path) -> dict[str, Any]:
    """Return the values of a sweep's base: written in its file at `path`, or those of the file that it names."""
    if isinstance(base, dict):
        return deepcopy(base)
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {shown(base)}; write a configuration below it, or the path of one.")
    beside = path.parent / base
    source = beside if is_file(beside) else Path(base)
    return parse_values(read_yaml(source, "the sweep's base"), str(source))


def _cases(values: Mapping[str, Any], path: Path, most: int) -> dict[str, dict[str, object]]:
    named, grid = values.get("cases"), values.get("grid")
    if named is None and grid is None:
        raise ConfigError(f"{path}: it has neither grid nor cases, so there is nothing to compare; add one of them.")
    points = [{}] if grid is None else _points(grid, path, most // max(1, len(named) if isinstance(named, dict) else 1))
    cases: dict[str, dict[str, object]] = {}
    for name, keys in ({"": {}} if named is None else _named(named, path)).items():
        for point in points:
            shown = [f"{short_key(key, point)}={text_of(value)}" for key, value in point.items()]
            label = ", ".join([*([name] if name else []), *shown])
            twice = [key for key in point if key in keys]
            if twice:
                raise ConfigError(f"{path}: case '{name}' and grid both set {twice[0]}; keep one of them.")
            if label in cases:
                raise ConfigError(f"{path}: '{label}' is there twice; remove one.")
            cases[label] = {**keys, **point}
    return cases


def _named(cases: object, path: Path) -> dict[str, dict[str, object]]:
    if not isinstance(cases, dict) or not cases:
        raise ConfigError(f"{path}: cases maps names to keys with values, such as long: {{train.steps: 400}}.")
    for name, keys in cases.items():
        if keys is not None and not (isinstance(keys, dict) and all(isinstance(key, str) for key in keys)):
            raise ConfigError(
                f"{path}: case '{name}' is {shown(keys)}; write dotted keys with values, such as train.steps: 400."
            )
    return {str(name): dict(keys or {}) for name, keys in cases.items()}


def _points(grid: object, path: Path, most: int) -> list[dict[str, object]]:
    if not isinstance(grid, dict) or not grid:
        raise ConfigError(f"{path}: grid maps dotted keys to lists, such as method.group: [8, 16].")
    for key, choices in grid.items():
        if not isinstance(key, str) or not isinstance(choices, list) or not choices:
            raise ConfigError(f"{path}: grid's {key} is {shown(choices)}; write a list of values, such as [8, 16].")
    if prod(map(len, grid.values())) > most:
        raise ConfigError(f"{path}: it makes more than {MOST_RUNS:,} runs; leave out values of grid, cases or seeds.")
    return [dict(zip(grid, point, strict=True)) for point in product(*grid.values())]


def _seeds(seeds: object, path: Path) -> list[int]:
    usable = isinstance(seeds, list) and all(type(seed) is int and 0 <= seed <= LARGEST_INTEGER for seed in seeds)
    if not isinstance(seeds, list) or not seeds or not usable:
        raise ConfigError(f"{path}: seeds is {shown(seeds)}; write a list of whole numbers, such as [0, 1, 2].")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{path}: seeds has a number twice; the second run would be the first again.")
    return seeds


def short_key(key: str, point: Iterable[str]) -> str:
    """Return the last part of a key where it says enough: no other key of the grid has it."""
    last = key.rpartition(".")[2]
    shared = sum(other.rpartition(".")[2] == last for other in point) > 1
    return key if shared or last == "name" else last


def text_of(value: object) -> str:
    """Return a value as YAML writes it on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def folder_name(case: str) -> str:
    """Return the name of the folder of a case: its own where it may be one, else one that is different for each."""
    name = re.sub(r"[^\w.=+-]+", "_", case).strip("._") or "case"
    if len(name) <= LONGEST_NAME and name == case.replace(", ", "_"):
        return name
    return f"{name[:LONGEST_NAME]}-{blake2b(case.encode(), digest_size=4).hexdigest()}"
