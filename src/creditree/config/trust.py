"""Code and servers that a saved run names are somebody's: they are used only where the command line says so."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from creditree.config.keywords import written
from creditree.config.overrides import named_keys
from creditree.config.reward import OPTIONS
from creditree.errors import ConfigError
from creditree.methods import AXES
from creditree.rewards import READY
from creditree.text import shortened
from creditree.user_code import file_of

ENGINES = {"engine", "engine.name", "engine.start"}
"""Keys that say anew who samples."""
JUDGES = (("reward",), ("guard", "reward"))
"""Where a configuration names who judges."""


def check_trust(
    values: Mapping[str, Any], where: str, overrides: Sequence[str] = (), *, trusted: bool, cure: str = ""
) -> None:
    """Raise ConfigError where the saved configuration `values` names code to run, and nobody here asked for it.

    Asking is `trusted`, or an override that names who judges. The sentence says what would run, then `cure`. The same
    holds for a server that would be sent prompts and a key, and for a folder that adapters would be written into.
    """
    named = named_keys(overrides)
    if not trusted:
        _check_server(values.get("engine"), where, named)
    for place in JUDGES:
        key = ".".join(place)
        code = None if trusted else next(_codes(_at(values, place)), None)
        if code is not None and not named & {key, f"{key}.name", f"{key}.allow_execution", f"{key}.rewards"}:
            raise ConfigError(
                f"{where} names code that would run on this machine: {key} is {code}; add `trust` if you trust "
                f"whoever wrote it{cure}."
            )
    pieces = {} if trusted else _pieces(values.get("method")) | _tasks(values.get("task"))
    programs = {} if trusted or named & ENGINES else _programs(values.get("engine"))
    for key, name in (pieces | programs).items():
        if not named & {key, f"{key}.name"}:
            raise ConfigError(
                f"{where} names code that would run on this machine: {key} is {shortened(name)}; add `trust` if you "
                f"trust whoever wrote it."
            )


def _check_server(engine: object, where: str, named: frozenset[str]) -> None:
    """Raise ConfigError where a saved engine names a server, or a folder outside the run, and no override does."""
    if not isinstance(engine, Mapping) or named & {"engine", "engine.name"}:
        return
    for key, what in (("url", "a server that would be asked"), ("adapters", "a folder that would be written into")):
        if engine.get(key) is not None and f"engine.{key}" not in named:
            raise ConfigError(
                f"{where} names {what}: engine.{key} is {shortened(str(engine[key]))}; add `trust` if you trust "
                f"whoever wrote it, or set engine.{key}, or engine: in_process."
            )


def _tasks(task: object) -> dict[str, str]:
    """Return where the code of tasks lies that are functions, under the key that asks for them."""
    mixture = task.get("mixture") if isinstance(task, Mapping) else None
    several = mixture if isinstance(mixture, list) else [task]
    names = [reward.get("name") if isinstance(reward, Mapping) else reward for reward in several]
    code = [str(file_of(name) or name) for name in names if isinstance(name, str) and ":" in name]
    return {"task": code[0]} if code else {}


def _programs(engine: object) -> dict[str, str]:
    """Return what would start a server, beside this interpreter and vLLM, under the key that asks for it."""
    start = engine.get("start") if isinstance(engine, Mapping) else None
    named = {name: start.get(name) for name in ("python", "options")} if isinstance(start, Mapping) else {}
    return {f"engine.start.{name}": str(value) for name, value in named.items() if value}


def without_pieces(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the saved configuration `values` without a method that names code: to measure a run takes no method."""
    pieces = _pieces(values.get("method"))
    return {key: value for key, value in values.items() if key != "method" or not pieces}


def _pieces(method: object) -> dict[str, str]:
    """Return the pieces of a method that are no names of ours, by key, and where their code lies."""
    if not isinstance(method, Mapping):
        return {}
    named = {f"method.{axis}": method.get(axis) for axis in AXES}
    return {key: str(file_of(name) or name) for key, name in named.items() if isinstance(name, str) and ":" in name}


def reward_override(reward: object) -> list[str]:
    """Return who judges, as a door was told, as an override of the configuration; None: nothing was said."""
    return [] if reward is None else [f"reward={written('reward', reward)}"]


def _at(values: Mapping[str, Any], place: Sequence[str]) -> object:
    value: object = values
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _codes(reward: object) -> Iterator[str]:
    """Yield what a reward, or each of several, would run, in words."""
    several = reward.get("rewards") if isinstance(reward, Mapping) else reward
    for single in several if isinstance(several, list) else [reward]:
        code = _code(single)
        if code is not None:
            yield code


def _code(reward: object) -> str | None:
    """Return what a reward would run, in words; None for graders of ours."""
    name = reward.get("name") if isinstance(reward, Mapping) else reward
    if name == "program":
        return "'program', which runs what the model writes"
    if not isinstance(name, str) or name in OPTIONS or name in READY:
        return None
    source, _, function = name.rpartition(":")
    file = file_of(name)
    return f"the function {function} in {source if file is None else file}"
