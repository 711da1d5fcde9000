"""One of several rewards in a configuration: a grader, a function or a ready reward, with its weight and options."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from creditree.config.block import Block, Real
from creditree.config.numbers import checked_numbers
from creditree.errors import ConfigError, did_you_mean
from creditree.piece import numbers_of, types_of
from creditree.rewards import READY, Reward
from creditree.text import shown
from creditree.user_code import placed


class SingleBlock(Block):
    """One of several rewards. Besides these keys it has the options of the grader, function or ready reward."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description=f"a grader, a function as FILE.py:name, or {', '.join(READY)}")
    weight: Real = Field(1.0, description="what it counts in the sum; 0: it is measured alone")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"name": values}
        if not isinstance(values, dict) or "name" not in values:
            raise ValueError("each reward is a name, or a block with the keys name and weight")
        return values

    @field_validator("name")
    @classmethod
    def _placed(cls, name: str) -> str:
        return placed(name, Path.cwd())

    @model_validator(mode="after")
    def _fits(self) -> "SingleBlock":
        if self.name in READY:
            try:
                self.ready()
            except ConfigError as error:
                raise ValueError(str(error).removesuffix(".")) from None
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What is set besides name and weight."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    @property
    def label(self) -> str:
        """Its name as metrics and tables have it: a function's own, without its file."""
        return self.name.rpartition(":")[2]

    @property
    def is_ready(self) -> bool:
        """Whether it is one of ours, beside the task's."""
        return self.name in READY

    def ready(self) -> Reward:
        """Return the ready reward with its numbers. Raises ConfigError for one that it has not, or out of range."""
        kind = READY[self.name]
        for number in self.options:
            if number not in types_of(kind):
                raise ConfigError(f"{number} is no number of {self.name} ({hint(number, types_of(kind))})")
        return kind(**checked_numbers(kind, self.options, f"reward.{self.name}"))

    def written(self, options: dict[str, Any]) -> str | dict[str, Any]:
        """Return the block as a configuration has it; `options` are those of a grader or function, read back."""
        if self.is_ready:
            ready = self.ready()
            options = {item.name: getattr(ready, item.name) for item in numbers_of(ready)}
        weight = {} if self.weight == 1 else {"weight": self.weight}
        return {"name": self.name, **weight, **options} if weight or options else self.name


def hint(name: str, known: Iterable[str]) -> str:
    """Return what may have been meant, as it goes on in a sentence."""
    guess = did_you_mean(name, known).strip().removesuffix(".")
    return f"{guess[:1].lower()}{guess[1:]}"


def check_singles(singles: list[SingleBlock]) -> None:
    """Raise ValueError where the first of several rewards cannot say whether a completion is correct."""
    if not singles:
        raise ValueError("the list is empty: name the task's grader, then the others")
    if singles[0].is_ready:
        raise ValueError(
            "the first of several rewards says whether a completion is correct, which "
            f"{shown(singles[0].name)} cannot: put a grader or a function first, with weight: 0 where it is to be "
            "measured alone"
        )


def labels(singles: list[SingleBlock]) -> list[str]:
    """Return the names of rewards, each once: a second one of the same name is called ``name_2``."""
    names: list[str] = []
    for single in singles:
        count = 1 + sum(other.label == single.label for other in singles[: len(names)])
        names.append(single.label if count == 1 else f"{single.label}_{count}")
    return names
