"""A search: compositions of pieces, each with a few settings of its numbers, that successive halving chooses among."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from creditree.config.block import Block, Positive, Real, Whole, mistake
from creditree.config.load import parse_values, read_yaml
from creditree.config.overrides import apply_overrides, check_free
from creditree.config.schema import RunConfig
from creditree.config.space import Drawn, drawn, settings
from creditree.config.sweep import base_values, configured, folder_name, short_key, text_of
from creditree.errors import ConfigError, did_you_mean
from creditree.rng import Key
from creditree.text import shown

MOST_STEPS = 1_000_000
MOST_TRIALS = 1_000
RUNS_OF_A_SEED = 3
"""Runs of the confirmation for each seed: both at equal tokens, and the best once more for the baseline's seconds."""
LEFT_ALONE = {
    name: "leave it out"
    for name in ("seed", "train.steps", "train.tokens", "train.seconds", "train.cpu_seconds", "evaluation.split")
}
"""Keys that a search sets itself."""


class BudgetBlock(Block):
    """How much is spent."""

    tokens: Positive | None = Field(None, description="sampled by all runs together, with those of the confirmation")
    first_rung: Positive | None = Field(None, description="sampled by each trial in the first rung, instead of tokens")
    seconds: Real | None = Field(None, description="no further rung is begun that would take longer", gt=0)


class ConfirmBlock(Block):
    """How the best is compared with the baseline in the end."""

    seeds: Whole = Field(5, description="fresh seeds of both; 0: no confirmation", ge=0, le=1000)
    level: Real = Field(0.01, description="the best has won where every p-value is below it", gt=0, lt=1)


class SearchBlock(Block):
    """The file of a search, but for its base."""

    space: dict[str, Any] = Field({}, description="what every composition's keys are drawn from")
    compositions: dict[str, dict[str, Any] | None] = Field(description="keys of each composition, drawn or fixed")
    baseline: str | None = Field(None, description="the composition that the best is compared with")
    settings: Positive = Field(6, description="settings tried of each composition")
    budget: BudgetBlock = Field(description="how much is spent")
    rungs: Positive = Field(3, description="how often trials are compared", le=10)
    eta: Real = Field(3.0, description="of so many trials one goes on, for so many times the tokens", gt=1, le=100)
    seed: Whole = Field(0, description="draws the settings, and the random numbers of every trial", ge=0)
    confirm: ConfirmBlock = Field(default_factory=ConfirmBlock)


KEYS = ("base", *SearchBlock.model_fields)


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of a composition, which `keys` make; `config` says how it runs to the last rung.

    `free`: those of the keys that are drawn.
    """

    name: str
    composition: str
    keys: Mapping[str, object]
    free: tuple[str, ...]
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where its run lies below the search's directory."""
        return Path("trials") / folder_name(self.name)

    @property
    def setting(self) -> str:
        """What is drawn, on one line."""
        return ", ".join(f"{short_key(key, self.free)}={text_of(self.keys[key])}" for key in self.free)


@dataclass(frozen=True, slots=True)
class Rung:
    """`slots` trials have sampled `tokens` tokens each, counted from their beginning."""

    tokens: int
    slots: int


@dataclass(frozen=True, slots=True)
class Search:
    """A search, checked. `values` say all that its results depend on, as the file and the overrides have it.

    `seeds`: of the confirmation, other than that of the trials; none where there is no baseline.
    """

    trials: tuple[Trial, ...]
    rungs: tuple[Rung, ...]
    baseline: str | None
    seeds: tuple[int, ...]
    level: float
    seconds: float | None
    values: Mapping[str, Any]

    @property
    def compositions(self) -> list[str]:
        """The names of the compositions, in the order of the file."""
        return list(dict.fromkeys(trial.composition for trial in self.trials))

    def trial(self, name: str) -> Trial:
        """Return the trial of a name."""
        return next(trial for trial in self.trials if trial.name == name)


def is_search(path: Path) -> bool:
    """Return whether the sweep in a YAML file is a search. Raises ConfigError where it cannot be read."""
    return "compositions" in parse_values(read_yaml(path, "sweep"), str(path))


def load_search(path: Path, overrides: Sequence[str] = ()) -> Search:
    """Return the search in a YAML file; `overrides` change its base.

    Everything is checked before anything runs: every setting of every composition. Raises ConfigError.
    """
    values = parse_values(read_yaml(path, "sweep"), str(path))
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"{path}: unknown key '{key}'.{did_you_mean(str(key), KEYS)}")
    base = base_values(values.pop("base", None), path)
    check_free(overrides, LEFT_ALONE, "a search")
    base = apply_overrides(base, overrides)
    try:
        block = SearchBlock.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {mistake(error)}") from None
    _check(block, path)
    own = _spaces(block, path)
    drawn_settings = {name: settings(space, block.settings, Key.of(block.seed)) for name, space in own.items()}
    seeds = tuple(block.seed + 1 + index for index in range(block.confirm.seeds)) if block.baseline else ()
    rungs = _rungs(block, sum(map(len, drawn_settings.values())), len(seeds), path)
    limits: dict[str, object] = {"train.steps": MOST_STEPS, "train.tokens": rungs[-1].tokens, "train.seconds": None}
    limits |= {"train.cpu_seconds": None, "seed": block.seed, "evaluation.split": "test"}
    trials = [
        _trial(base, name, own[name], number, {**keys, **limits}, path)
        for name, points in drawn_settings.items()
        for number, keys in enumerate(points, 1)
    ]
    kept = block.model_dump(mode="json")
    del kept["budget"]["seconds"]  # how long one is ready to wait changes no result that is there
    values = {"base": base, **kept}
    return Search(tuple(trials), rungs, block.baseline, seeds, block.confirm.level, block.budget.seconds, values)


def _check(block: SearchBlock, path: Path) -> None:
    names = list(block.compositions)
    if not names:
        raise ConfigError(f"{path}: compositions is empty; name one or more, such as grpo: {{method.name: grpo}}.")
    if block.baseline is not None and block.baseline not in names:
        hint = did_you_mean(block.baseline, names)
        raise ConfigError(f"{path}: baseline is {shown(block.baseline)}, which is no composition.{hint}")
    if block.baseline is not None and len(names) < 2:
        raise ConfigError(f"{path}: nothing is compared with the baseline; add a composition, or leave baseline out.")
    if block.baseline is not None and block.confirm.seeds == 1:
        raise ConfigError(f"{path}: confirm.seeds is 1, and one seed confirms nothing; set 2 or more, or 0 for none.")
    if (block.budget.tokens is None) == (block.budget.first_rung is None):
        raise ConfigError(f"{path}: budget says how many tokens are sampled: set either budget.tokens or first_rung.")
    if block.settings * len(names) > MOST_TRIALS:
        raise ConfigError(f"{path}: it makes more than {MOST_TRIALS:,} trials; lower settings.")


def _spaces(block: SearchBlock, path: Path) -> dict[str, dict[str, Drawn]]:
    """Return the space of each composition: its own keys replace those of all."""
    spaces = {}
    for name, own in block.compositions.items():
        entries: dict[str, Drawn] = {}
        for key, value in {**block.space, **(own or {})}.items():
            where = f"{path}, composition '{name}': {key}"
            if key in LEFT_ALONE:
                raise ConfigError(f"{where}: a search sets it itself; leave it out.")
            entries[key] = drawn(value, where)
        spaces[name] = entries
    return spaces


def _rungs(block: SearchBlock, trials: int, seeds: int, path: Path) -> tuple[Rung, ...]:
    """Return the rungs: of eta trials one goes on, for eta times the tokens, at least one beside the baseline.

    Of the budget each rung takes what its trials sample more than in the rung before, and the confirmation what its
    runs sample, each as many as a trial of the last rung.
    """
    eta, least = block.eta, 1 if block.baseline is None else 2
    slots = [max(min(least, trials), floor(trials / eta**index + 1e-9)) for index in range(block.rungs)]
    marks = [eta**index for index in range(block.rungs)]
    more = [mark - before for mark, before in zip(marks, [0.0, *marks], strict=False)]
    share = sum(count * factor for count, factor in zip(slots, more, strict=True)) + RUNS_OF_A_SEED * seeds * marks[-1]
    first = block.budget.first_rung or floor((block.budget.tokens or 0) / share)
    if first < 1:
        raise ConfigError(f"{path}: budget.tokens is {block.budget.tokens}, too few for {trials} trials; raise it.")
    return tuple(Rung(round(first * mark), count) for mark, count in zip(marks, slots, strict=True))


def _trial(
    base: Mapping[str, Any],
    composition: str,
    space: Mapping[str, Drawn],
    number: int,
    keys: Mapping[str, object],
    path: Path,
) -> Trial:
    where = f"{path}, setting {number} of '{composition}'"
    config = configured(base, keys, path, where)
    if config.validation.every > 0:
        raise ConfigError(f"{where}: validation.every is {config.validation.every}, but rungs validate; set 0.")
    free = tuple(key for key, entry in space.items() if entry.at(0.0) != entry.at(1.0 - 1e-9))
    return Trial(f"{composition}-{number}", composition, {key: keys[key] for key in space}, free, config)
