"""The key `reward` of a configuration: which verifier judges completions, its options, or several rewards as a sum."""

from collections.abc import Callable
from hashlib import sha256
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
from creditree.notation import NotationError, read_values
from creditree.rewards import READY, Combine, Combined, Single
from creditree.text import shown
from creditree.units import parse_bytes
from creditree.user_code import placed
from creditree.verify import (
    Choice,
    ExactText,
    IsolatedReward,
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
                _grader(self)
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
        return (self.name,) if self.rewards is None else tuple(one.name for one in self.rewards)

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that were set."""
        return self.model_dump(mode="json", exclude={"name", "rewards", "combine"}, exclude_none=True)

    @property
    def written(self) -> str | dict[str, Any] | list[str | dict[str, Any]]:
        """Return the block as a configuration has it: the name alone where no option is set."""
        if self.rewards is None:
            return {"name": self.name, **self.options} if self.options else self.name
        rewards = [one.written({} if one.is_ready else judge_of(one).options) for one in self.rewards]
        return rewards if self.combine in (None, "sum") else {"rewards": rewards, "combine": self.combine}


def build_verifier(reward: RewardBlock | str) -> Verifier:
    """Return the verifier that `reward` names. Raises ConfigError where it cannot be made.

    A function is imported now, in a process of its own; workers of graders start when the first answer needs one. Close
    it with `verify.closing`.
    """
    block = reward_of({"name": reward}) if isinstance(reward, str) else reward
    if block.rewards is not None:
        return _combined(block, block.rewards, build_verifier)
    if block.name in OPTIONS:
        grader = _grader(block)
        if isinstance(grader, Program):
            grader.check()
        return grader
    memory = None if block.memory is None else parse_bytes(block.memory)
    return load_reward(block.name, block.deadline or DEADLINE_S, memory)


def grading(reward: RewardBlock) -> Rules:
    """Return the rules by which `reward` judges, without running anything: a function's are those that are set."""
    if reward.rewards is not None:
        return _combined(reward, reward.rewards, _unstarted).rules()
    if reward.name in OPTIONS:
        return _grader(reward).rules()
    return rules_of(reward.name) | {"deadline_s": reward.deadline or DEADLINE_S}


def code_digest(reward: RewardBlock) -> str | None:
    """Return the sha256 of the file of a reward function; None for a grader, whose code is Creditree's.

    That of several is over all of theirs.
    """
    if reward.rewards is not None:
        own = [code_digest(judge_of(one)) for one in reward.rewards if not one.is_ready]
        return sha256(" ".join(map(str, own)).encode()).hexdigest() if any(own) else None
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


def _combined(block: RewardBlock, rewards: list[SingleBlock], build: Callable[[RewardBlock], Verifier]) -> Combined:
    names = zip(labels(rewards), rewards, strict=True)
    singles = [Single(name, one.weight, one.ready() if one.is_ready else build(judge_of(one))) for name, one in names]
    return Combined(tuple(singles), block.combine or "sum")


def _unstarted(block: RewardBlock) -> Verifier:
    """Return a verifier that says its rules, and has started nothing."""
    if block.name in OPTIONS:
        return _grader(block)
    return IsolatedReward(block.name, block.deadline or DEADLINE_S)


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
