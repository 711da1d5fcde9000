"""Finding a reward function by the name that a configuration gives it."""

import importlib
import importlib.util
import sys
from hashlib import blake2b, sha256
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from creditree.errors import ConfigError, did_you_mean
from creditree.verify.reward_function import RewardFunction


def load_reward(location: str) -> RewardFunction:
    """Return the reward function at ``package.module:function`` or ``path/to/file.py:function``.

    Raises ConfigError, with the reason, if there is no such module or function, or if importing it fails.
    """
    source, colon, name = location.rpartition(":")
    if not colon or not source or not name:
        raise ConfigError(
            f"The reward '{location}' names no function: write package.module:function or path/to/file.py:function."
        )
    module = _from_file(Path(source), location) if source.endswith(".py") else _from_import(source, location)
    function = getattr(module, name, None)
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
    return RewardFunction(function)


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
    except Exception as error:
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
    except Exception as error:
        raise _failed(location, error) from error


def _failed(location: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())
    return ConfigError(f"The reward '{location}' cannot be imported: it raises {type(error).__name__}: {reason}.")
