"""The key `reward` of a configuration: which verifier judges completions, and its options."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from creditree.config.block import Block, Real, Whole
from creditree.errors import ConfigError, did_you_mean
from creditree.text import shown
from creditree.units import parse_bytes
from creditree.user_code import placed
from creditree.verify import (
    Choice,
    ExactText,
    LastInteger,
    Limits,
    Mathematics,
    Numeric,
    Program,
    Verifier,
    WorkerPool,
    load_reward,
    reward_digest,
)
from creditree.verify.isolated import DEADLINE_S
from creditree.verify.reward_function import rules_of
from creditree.verify.verifier import Rules

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
    """Who judges: a grader's name, or a Python function; an option left out has the grader's own default."""

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

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"name": values}
        if not isinstance(values, dict):
            raise ValueError(f"name a grader, {FUNCTION}, as a string, or a block with the key name")
        return values

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in OPTIONS and ":" not in name:
            hint = did_you_mean(name, OPTIONS).strip().removesuffix(".")
            raise ValueError(f"set the name of a grader ({hint[0].lower()}{hint[1:]}), {FUNCTION}")
        return placed(name, Path.cwd())

    @field_validator("memory")
    @classmethod
    def _size(cls, memory: str | None) -> str | None:
        if memory is not None:
            parse_bytes(memory)
        return memory

    @model_validator(mode="after")
    def _fits(self) -> "RewardBlock":
        allowed = OPTIONS.get(self.name, FUNCTION_OPTIONS)
        for option in sorted(self.options):
            if option not in allowed:
                has = f"it has {', '.join(allowed)}" if allowed else "it has no options"
                kind = self.name if self.name in OPTIONS else "a function"
                raise ValueError(f"{option} is no option of {kind}: {has}")
        if self.name in OPTIONS:
            try:
                _grader(self)
            except ConfigError as error:
                raise ValueError(str(error).removesuffix(".")) from None
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that were set."""
        return self.model_dump(mode="json", exclude={"name"}, exclude_none=True)

    @property
    def written(self) -> str | dict[str, Any]:
        """Return the block as a configuration has it: the name alone where no option is set."""
        return {"name": self.name, **self.options} if self.options else self.name


def build_verifier(reward: RewardBlock | str) -> Verifier:
    """Return the verifier that `reward` names. Raises ConfigError where it cannot be made.

    A function is imported now, in a process of its own; workers of graders start when the first answer needs one. Close
    it with `verify.closing`.
    """
    block = reward_of({"name": reward}) if isinstance(reward, str) else reward
    if block.name in OPTIONS:
        grader = _grader(block)
        if isinstance(grader, Program):
            grader.check()
        return grader
    memory = None if block.memory is None else parse_bytes(block.memory)
    return load_reward(block.name, block.deadline or DEADLINE_S, memory)


def grading(reward: RewardBlock) -> Rules:
    """Return the rules by which `reward` judges, without running anything: a function's are those that are set."""
    if reward.name in OPTIONS:
        return _grader(reward).rules()
    return rules_of(reward.name) | {"deadline_s": reward.deadline or DEADLINE_S}


def code_digest(reward: RewardBlock) -> str | None:
    """Return the sha256 of the file of a reward function; None for a grader, whose code is Creditree's."""
    return None if reward.name in OPTIONS else reward_digest(reward.name)


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


OPTION_NAMES = tuple(RewardBlock.model_fields)


def _grader(block: RewardBlock) -> Verifier:
    if block.name == "exact":
        return ExactText(bool(block.ignore_case))
    if block.name == "numeric":
        return Numeric(block.tolerance or 0.0)
    if block.name == "choice":
        return Choice()
    if block.name == "math":
        return Mathematics(WorkerPool(_limits(block, Limits())), block.math_verify is not False)
    if block.name == "program":
        default = Limits(memory_bytes=1 << 29)
        limits = _limits(block, default)
        return Program(
            bool(block.allow_execution),
            limits.deadline_s,
            limits.memory_bytes,
            limits.num_workers,
            block.contain is not False,
        )
    return LastInteger()


def _limits(block: RewardBlock, default: Limits) -> Limits:
    return Limits(
        deadline_s=block.deadline or default.deadline_s,
        memory_bytes=default.memory_bytes if block.memory is None else parse_bytes(block.memory),
        num_workers=block.workers or default.num_workers,
    )
