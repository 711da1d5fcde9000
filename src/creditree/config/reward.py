"""The key `reward` of a configuration: which verifier judges completions, its options, or several rewards as a sum."""

from pathlib import Path
from typing import Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from creditree.config.block import Block, Real, Whole
from creditree.config.single import SingleBlock, check_singles, hint, labels
from creditree.errors import ConfigError, did_you_mean
from creditree.limits import Limits, check_execution, check_tolerance
from creditree.notation import NotationError, read_values
from creditree.rewards import READY, Combine
from creditree.text import shown
from creditree.units import parse_bytes
from creditree.user_code import placed

OPTIONS: dict[str, tuple[str, ...]] = {
    "last_integer": (),
    "exact": ("ignore_case",),
    "numeric": ("tolerance",),
    "choice": (),
    "math": ("math_verify", "deadline", "workers", "memory"),
    "program": ("allow_execution", "contain", "deadline", "workers", "memory"),
}
"""The graders, and the options that each has."""
FUNCTION_OPTIONS = ("deadline", "memory")
MOST_WORKERS = 256
FUNCTION = "or a function as package.module:name or file.py:name"


class RewardBlock(Block):
    """Who judges: a grader's name, or a Python function; an option left out has the grader's own default.

    Or several rewards: as a list, or as a block with `rewards` and `combine`. The first is the task's
    (`creditree.rewards.Combined`).
    """

    name: str = Field("last_integer", description=f"{', '.join(OPTIONS)}, {FUNCTION}")
    ignore_case: bool | None = Field(None, description="exact: capitals do not count; none: they do")
    tolerance: Real | None = Field(None, description="numeric: largest relative difference; none: 0", ge=0)
    math_verify: bool | None = Field(None, description="math: ask math-verify too; none: true")
    allow_execution: bool | None = Field(None, description="program: run what the model writes; none: false")
    contain: bool | None = Field(
        None, description="program: shut it in, or refuse where that is impossible; false: it can do all that you can"
    )
    deadline: Real | None = Field(
        None, description="math, program: wall seconds for one answer; none: 5; function: for one call; none: 60", gt=0
    )
    workers: Whole | None = Field(None, description="math, program: processes; none: 2", ge=1, le=MOST_WORKERS)
    memory: str | None = Field(
        None, description="of a process; none: math 1GiB, program 512MiB, function nine tenths of what is free"
    )

    rewards: list[SingleBlock] | None = Field(
        None, description="several rewards, each {name, weight, its options}, instead of name; the first is the task's"
    )
    combine: Combine | None = Field(
        None,
        description="of several: sum, or normalise_then_sum (each within its group, GDPO, arXiv 2601.05242); none: sum",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        if isinstance(values, dict) and [*values] == ["name"]:
            values = values["name"]
        if isinstance(values, str) and values[:1] in ("[", "{"):  # a whole block, where only a text can be given
            values = _read(values)
        if isinstance(values, str):
            return {"name": values}
        if isinstance(values, list):
            return {"rewards": values}
        if not isinstance(values, dict):
            raise ValueError(f"name a grader, {FUNCTION}, as a string, a block with the key name, or a list of rewards")
        return values

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in OPTIONS and ":" not in name:
            if name in READY:
                raise ValueError(f"it is no judge of the task; write a list, such as [last_integer, {name}]")
            raise ValueError(f"set the name of a grader ({hint(name, OPTIONS)}), {FUNCTION}")
        return placed(name, Path.cwd())

    @field_validator("memory")
    @classmethod
    def _size(cls, memory: str | None) -> str | None:
        if memory is not None:
            parse_bytes(memory)
        return memory

    @model_validator(mode="after")
    def _fits(self) -> "RewardBlock":
        if self.rewards is not None:
            self._check_several(self.rewards)
            return self
        if self.combine is not None:
            raise ValueError("combine is for several rewards; write them as a list, or leave it out")
        allowed = OPTIONS.get(self.name, FUNCTION_OPTIONS)
        for option in sorted(self.options):
            if option not in allowed:
                has = f"it has {', '.join(allowed)}" if allowed else "it has no options"
                kind = self.name if self.name in OPTIONS else "a function"
                raise ValueError(f"{option} is no option of {kind}: {has}")
        if self.name in OPTIONS:
            try:
                _check(self)
            except ConfigError as error:
                raise ValueError(str(error).removesuffix(".")) from None
        return self

    @model_serializer(mode="wrap")
    def _dumped(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the block as values; of several rewards without the keys that one alone has."""
        values: dict[str, Any] = dumped(self)
        several = ("rewards", "combine")
        return values if self.rewards is None else {key: values[key] for key in several if key in values}

    def _check_several(self, rewards: list[SingleBlock]) -> None:
        named = self.model_fields_set - {"rewards", "combine"}
        beside = sorted(key for key in named if getattr(self, key) is not None)
        if beside:
            raise ValueError(f"{beside[0]} stands beside a list of rewards; give it to the one that it belongs to")
        check_singles(rewards)
        for place, single in enumerate(rewards):
            known = single.is_ready or single.name in OPTIONS or ":" in single.name
            if not known:
                meant = hint(single.name, [*OPTIONS, *READY])
                raise ValueError(f"rewards.{place} is {shown(single.name)}, which is no reward ({meant}), {FUNCTION}")
            try:
                if not single.is_ready:
                    judge_of(single)
            except ConfigError as error:
                said = str(error).removesuffix(".").replace("reward", f"rewards.{place}", 1)
                raise ValueError(said) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The name, or those of several; the first says whether a completion is correct."""
        return (self.name,) if self.rewards is None else tuple(reward.name for reward in self.rewards)

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that were set."""
        return self.model_dump(mode="json", exclude={"name", "rewards", "combine"}, exclude_none=True)

    @property
    def written(self) -> str | dict[str, Any] | list[str | dict[str, Any]]:
        """Return the block as a configuration has it: the name alone where no option is set."""
        if self.rewards is None:
            return {"name": self.name, **self.options} if self.options else self.name
        rewards = [reward.written({} if reward.is_ready else judge_of(reward).options) for reward in self.rewards]
        return rewards if self.combine in (None, "sum") else {"rewards": rewards, "combine": self.combine}


def reward_of(values: dict[str, Any]) -> RewardBlock:
    """Return the checked block of `values`. Raises ConfigError."""
    try:
        return RewardBlock.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = "reward" if first["loc"] in ((), ("name",)) else f"reward.{'.'.join(map(str, first['loc']))}"
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"unknown key '{key}'.{did_you_mean(str(first['loc'][0]), OPTION_NAMES)}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = values.get("name") if key == "reward" else first["input"]
        raise ConfigError(f"{key} is {shown(given)}: {message[0].lower()}{message[1:].removesuffix('.')}.") from None


def singles_named(reward: RewardBlock) -> tuple[str, ...]:
    """Return the names of several rewards, as metrics have them; () where there is one."""
    return () if reward.rewards is None else tuple(labels(reward.rewards))


def judge_of(single: SingleBlock) -> RewardBlock:
    """Return the block of one of several rewards that is a grader or a function. Raises ConfigError."""
    return reward_of({"name": single.name, **single.options})


def _read(text: str) -> object:
    try:
        return read_values(text)
    except NotationError as error:
        raise ValueError(f"it is not valid YAML{error}") from None


OPTION_NAMES = tuple(RewardBlock.model_fields)


def limits_of(block: RewardBlock) -> Limits:
    """Return what the workers of a grader may use. Raises ConfigError where that is too little."""
    default = Limits(memory_bytes=1 << 29) if block.name == "program" else Limits()
    return Limits(
        deadline_s=block.deadline or default.deadline_s,
        memory_bytes=default.memory_bytes if block.memory is None else parse_bytes(block.memory),
        num_workers=block.workers or default.num_workers,
    )


def _check(block: RewardBlock) -> None:
    """Raise ConfigError for options that a grader cannot have."""
    if block.name == "numeric":
        check_tolerance(block.tolerance or 0.0)
    if block.name in ("math", "program"):
        limits_of(block)
    if block.name == "program":
        check_execution(allowed=bool(block.allow_execution))
