"""Finding a reward function by the name that a configuration gives it."""

import importlib
import importlib.util
import inspect
import sys
from hashlib import blake2b, sha256
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from creditree.errors import ConfigError, did_you_mean
from creditree.verify.isolated import DEADLINE_S, IsolatedReward
from creditree.verify.reward_function import RewardCallable, described


def load_reward(location: str, deadline_s: float = DEADLINE_S, memory_bytes: int | None = None) -> IsolatedReward:
    """Return the reward function at ``package.module:function`` or ``path/to/file.py:function``, in its own process.

    Raises ConfigError, with the reason, if there is no such module or function, if importing it fails or takes longer
    than `deadline_s`, or if what it names cannot be a reward function. Close it with `verify.closing`.
    """
    _parts(location)
    reward = IsolatedReward(location, deadline_s, memory_bytes)
    reward.start()
    return reward


def find_function(location: str) -> RewardCallable:
    """Return the function itself, imported into this process. Raises ConfigError as `load_reward` does."""
    source, name = _parts(location)
    module = _from_file(Path(source), location) if source.endswith(".py") else _from_import(source, location)
    function: object = getattr(module, name, None)
    if function is None:
        callables = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
        raise ConfigError(
            f"The reward '{location}' cannot be found: {source} has no '{name}'.{did_you_mean(name, callables)}"
        )
    if not callable(function):
        raise ConfigError(
            f"The reward '{location}' is a {type(function).__name__}, not a function: name a callable "
            "f(prompts, completions, **columns)."
        )
    if not _takes_completions(function):
        raise ConfigError(
            f"The reward '{location}' is no reward function, since it does not take 'completions': name a callable "
            "f(prompts, completions, **columns)."
        )
    return function


def _parts(location: str) -> tuple[str, str]:
    source, colon, name = location.rpartition(":")
    if not colon or not source or not name:
        raise ConfigError(
            f"The reward '{location}' names no function: write package.module:function or path/to/file.py:function."
        )
    return source, name


def _takes_completions(function: RewardCallable) -> bool:
    """Return whether a callable can be asked to judge completions: what cannot must not be called by a name in a file.

    It takes ``completions`` or any keyword. Built-in functions that do not say what they take are none.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    named = parameters.get("completions")
    if named is not None and named.kind in (named.POSITIONAL_OR_KEYWORD, named.KEYWORD_ONLY):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def reward_file(location: str) -> Path | None:
    """Return the file that holds the reward function at `location`, without running any code; None where none is found.

    A package's parents are not imported, so a module that something else than `sys.path` provides is not found.
    """
    source = location.rpartition(":")[0]
    if source.endswith(".py"):
        return Path(source) if Path(source).is_file() else None
    folders, name, spec = None, "", None
    for part in source.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


def reward_digest(location: str) -> str | None:
    """Return the sha256 of the file that holds the reward function at `location`; None where none can be read.

    What that file imports is not part of it.
    """
    file = reward_file(location)
    try:
        return None if file is None else sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _from_file(file: Path, location: str) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"The reward '{location}' cannot be found: there is no file {file}.")
    # The name differs by path, so two files called rewards.py do not replace each other.
    name = f"creditree_reward_{blake2b(str(file.resolve()).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"The reward '{location}' cannot be imported: {file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _failed(location, error) from error
    return module


def _from_import(source: str, location: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and (source == error.name or source.startswith(f"{error.name}.")):
            raise ConfigError(
                f"The reward '{location}' cannot be found: there is no module '{error.name}' to import; "
                "install it, or name a file as path/to/file.py:function."
            ) from error
        raise _failed(location, error) from error
    except BaseException as error:
        raise _failed(location, error) from error


def _failed(location: str, error: BaseException) -> ConfigError:
    return ConfigError(f"The reward '{location}' cannot be imported: it raises {described(error)}.")
