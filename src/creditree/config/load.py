"""Read a configuration: YAML, then dotted overrides, then checks; every mistake is one sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from creditree.config.anchor import anchored
from creditree.config.engine import check_engine
from creditree.config.guard import GuardBlock
from creditree.config.overrides import apply_overrides
from creditree.config.reading import read_yaml as read_yaml
from creditree.config.schema import LoraBlock, RunConfig
from creditree.config.sizes import check_step
from creditree.config.task import BY_TAG, KINDS, MIXTURE
from creditree.config.warm_start import WarmStartBlock
from creditree.errors import ConfigError, did_you_mean
from creditree.methods import Method
from creditree.notation import NotationError, read_values
from creditree.piece import Circumstances
from creditree.text import shortened, shown


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the checked configuration in `path`, with overrides such as ``method.group=16``. Raises ConfigError."""
    return parse_config(read_yaml(path), str(path), overrides)


def parse_config(text: str, where: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the checked configuration in YAML `text`; `where` names it in errors."""
    return check_config(apply_overrides(parse_values(text, where), overrides), where)


def parse_values(text: str, where: str) -> dict[str, Any]:
    """Return the mapping in YAML `text`, not checked any further. Raises ConfigError where it is none.

    `where` is the path of its file: reward functions are looked for beside it first.
    """
    try:
        values = read_values(text)
    except NotationError as error:
        raise ConfigError(f"{where} is not valid YAML{error}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no configuration: it must be a mapping with at least 'task'.")
    return anchored(values, Path(where).parent)


def check_config(values: Mapping[str, Any], where: str) -> RunConfig:
    """Return the checked configuration. Raises ConfigError, also for pieces that do not fit together."""
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(error)}") from None
    try:
        _check_together(config, config.method.build())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return config


def dump_config(config: RunConfig) -> str:
    """Return the resolved configuration as YAML: every key that has an effect, with its value."""
    values = config.model_dump(mode="json")
    if config.train.weights == "all":
        del values["lora"]
    if not config.engine.is_remote:
        del values["engine"]
    if not config.model.sharded:
        del values["model"]["sharded"]
    if config.guard.reward is not None:
        values["guard"]["reward"] = config.guard.reward.written
    values["reward"] = config.reward.written
    values["method"] = config.method.resolved().model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _check_together(config: RunConfig, method: Method) -> None:
    check_step(config, method)
    if config.validation.patience is not None and config.validation.every == 0:
        raise ConfigError(
            "validation.patience has no effect while validation.every is 0; set every, or remove patience."
        )
    if config.guard.path is None and config.guard != GuardBlock():
        raise ConfigError("guard has no effect without the file of its problems; set guard.path, or remove guard.")
    if config.warm_start.steps == 0 and config.warm_start != WarmStartBlock():
        raise ConfigError("warm_start has no effect while its steps are 0; set warm_start.steps, or remove it.")
    if config.train.weights == "all":
        _check_all_weights(config)
    objection = why_not_sharded(config) if config.model.sharded else None
    if objection is not None:
        raise ConfigError(f"{objection}, or remove model.sharded.")
    sampling = config.sampling
    adapter = config.train.weights == "adapter"
    check_engine(config.engine, method, sampling.temperature, sampling.top_p, config.model.dtype, adapter=adapter)
    method.check(Circumstances(sampling.max_new_tokens, sampling.temperature, sampling.top_p, adapter))


def _check_all_weights(config: RunConfig) -> None:
    if config.lora != LoraBlock():
        raise ConfigError("lora has no effect while train.weights is 'all'; remove it, or set train.weights: adapter.")
    if config.model.dtype != "float32":
        raise ConfigError(
            f"model.dtype is {config.model.dtype} and train.weights 'all': numbers that small would lose most updates "
            "to rounding; set model.dtype: float32, or train.weights: adapter."
        )


def why_not_sharded(config: RunConfig) -> str | None:
    """Return why the base cannot be divided among workers, and what to do, or None where it can.

    It must be frozen, of plain numbers, and sampled from by those who hold it.
    """
    if config.train.weights == "all":
        return "model.sharded divides a frozen base, and train.weights is 'all'; set train.weights: adapter"
    if config.model.dtype in ("int8", "nf4"):
        return (
            f"model.sharded divides plain numbers, and model.dtype is {config.model.dtype}; set model.dtype: bfloat16"
        )
    if config.engine.is_remote:
        return (
            f"model.sharded is for workers, who sample themselves, and engine.name is '{config.engine.name}'; set "
            "engine: in_process"
        )
    return None


def _sentence(error: ValidationError) -> str:
    """Return the first mistake in words."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    name = ".".join(_without_tag(place) if place[-1:] == ["task"] else [*_without_tag(place[:-1]), *place[-1:]])
    kind, value = first["type"], first.get("input")
    if kind in ("extra_forbidden", "invalid_key"):
        return f"unknown key '{shortened(name)}'.{_did_you_mean(place)}"
    if kind == "missing":
        return f"'{name}' is missing; add it."
    if kind == "union_tag_invalid":
        tag = str(value.get("name")) if isinstance(value, dict) else str(value)
        if isinstance(value, dict) and MIXTURE in value:
            return f"{name} is a mixture in a mixture; put its tasks into the outer one."
        return f"{name}.name is '{shortened(tag)}', which is no task.{did_you_mean(tag, KINDS)}"
    if kind == "union_tag_not_found" and isinstance(value, dict):
        return f"{name}.name is missing; name one of {', '.join(sorted(KINDS))}, or your own as FILE.py:name."
    if kind in ("model_type", "model_attributes_type", "union_tag_not_found"):
        return f"{name} is {shown(value)}: it is a block of keys; write them below it."
    message = first["msg"].removeprefix("Value error, ")
    return f"{name} is {shown(value)}: {message[0].lower()}{message[1:]}." if place else f"{message}."


def _without_tag(place: Sequence[str]) -> list[str]:
    """Drop what pydantic puts into the place of a mistake: the kind of a task, and what holds one in a mixture."""
    if not place or place[0] != "task":
        return list(place)
    kinds = [index for index, part in enumerate(place) if index and place[index - 1] == "task" and part in BY_TAG]
    inner = [index for index, part in enumerate(place) if index and part == "task" and place[index - 1].isdecimal()]
    return [part for index, part in enumerate(place) if index not in (*kinds, *inner)]


def _did_you_mean(place: Sequence[str]) -> str:
    above = ".".join(_without_tag(place[:-1]))
    return did_you_mean(place[-1], _known_keys(place[:-1])) + (f" (in {above})" if above else "")


def _known_keys(place: Sequence[str]) -> list[str]:
    block: type[BaseModel] = RunConfig
    for part in place:
        if part in BY_TAG:
            block = BY_TAG[part]
        elif part in block.model_fields:
            inner = block.model_fields[part].annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                block = inner
    return list(block.model_fields)
