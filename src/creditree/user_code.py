"""Code that a configuration names: ``path/to/file.py:Name`` or ``package.module:Name``."""

import importlib
import importlib.util
import inspect
import itertools
import os
import re
import sys
from collections.abc import Callable
from hashlib import blake2b, sha256
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from creditree.disk import is_file
from creditree.errors import ConfigError, did_you_mean
from creditree.text import one_line

HERE = "here:"
"""How the name of a thing begins that no file has at its top: it is known to the process that defined it."""
_KEPT: dict[str, Callable[..., object]] = {}
"""The functions of this process that have such names."""
_RELATIVE = re.compile(r"^\s*from\s+\.", re.MULTILINE)
LONGEST_REASON = 300
"""Characters of what an exception says that a message shows."""


def parts_of(location: str, what: str, example: str) -> tuple[str, str]:
    """Return file or module, and the name in it. Raises ConfigError where the location, a `what`, has not both."""
    source, colon, name = location.rpartition(":")
    if not colon or not source or not name:
        raise ConfigError(
            f"The {what} '{location}' names no {example}: write package.module:{example} or path/to/file.py:{example}."
        )
    return source, name


def load(location: str, what: str, example: str) -> object:
    """Return what a location names, imported into this process.

    Raises ConfigError, with the reason, where there is no such file, module or name, or importing it fails.
    """
    if location.startswith(HERE):
        return _kept(location, what)
    source, name = parts_of(location, what, example)
    if source.endswith(".py"):
        module = _from_file(Path(source), location, what)
    else:
        module = _from_import(source, location, what, example)
    named: object = getattr(module, name, None)
    if named is None:
        own = (other for other, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        known = [other for other in own if not other.startswith("_")]
        raise ConfigError(
            f"The {what} '{location}' cannot be found: {source} has no '{name}'.{did_you_mean(name, known)}"
        )
    return named


def placed(location: str, folder: Path) -> str:
    """Return a location with the path of its file, where it has one, made absolute."""
    source, colon, name = location.rpartition(":")
    return f"{os.path.abspath(folder / source)}:{name}" if colon and source.endswith(".py") else location


def beside(location: str, folder: Path) -> str:
    """Return a location whose file lies in `folder` with its absolute path; any other as it is."""
    place = placed(location, folder)
    return place if is_file(place.rpartition(":")[0]) else location


def file_of(location: str) -> Path | None:
    """Return the file that holds what a location names, without running any code; None where none is found.

    A package's parents are not imported, so a module that something else than `sys.path` provides is not found.
    """
    source = location.rpartition(":")[0]
    if location.startswith(HERE):
        return None
    if source.endswith(".py"):
        return Path(source) if is_file(source) else None
    folders, name, spec = None, "", None
    for part in source.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


def place_of(thing: object) -> str | None:
    """Return where a function or class lies, as a configuration names it; None where no file has it at its top."""
    name, module = getattr(thing, "__qualname__", "?"), sys.modules.get(getattr(thing, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or not file.endswith(".py") or getattr(module, name, None) is not thing:
        return None
    if "." in module.__name__ and _RELATIVE.search(Path(file).read_text(encoding="utf-8")):
        return f"{module.__name__}:{name}"  # it can only be imported as a module of its package
    return f"{os.path.abspath(file)}:{name}"


def location_of(function: Callable[..., object]) -> str:
    """Return where a function lies, as a configuration names it.

    One that another process cannot import, of a notebook, of another function, of the program that runs now, is kept
    under a name that begins with `HERE`, which this process and its forks know.
    """
    place = place_of(function)
    return keep(function) if place is None or function.__module__ == "__main__" else place


def keep(function: Callable[..., object]) -> str:
    """Return the name under which this process knows a function, the same each time: ``here:score``."""
    plain = re.sub(r"\W+", "_", getattr(function, "__name__", type(function).__name__)).strip("_") or "function"
    for count in itertools.count(1):
        location = f"{HERE}{plain}" if count == 1 else f"{HERE}{plain}_{count}"
        if _KEPT.setdefault(location, function) is function:
            return location
    raise AssertionError


def _kept(location: str, what: str) -> object:
    if location not in _KEPT:
        raise ConfigError(
            f"The {what} '{location.removeprefix(HERE)}' was a function of the program that named it, which no file "
            "has at its top: hand it over again in Python, or write it into a file and name it as "
            "path/to/file.py:function."
        )
    return _KEPT[location]


def digest_of(location: str) -> str | None:
    """Return the sha256 of the file that holds what a location names; None where none can be read.

    What that file imports is not part of it. Of a function that no file has at its top it is that of its own text.
    """
    if location.startswith(HERE):
        try:
            return sha256(inspect.getsource(_KEPT[location]).encode()).hexdigest()
        except (KeyError, OSError, TypeError):
            return None
    file = file_of(location)
    try:
        return None if file is None else sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def described(error: BaseException) -> str:
    """Return an exception in words: its type, and its text where it has one, in one line."""
    try:
        text = one_line(str(error), LONGEST_REASON)
    except BaseException:  # its own code may fail as well
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _AsItIs(SourceFileLoader):
    """Compiles a file as it is now, with no bytecode of before.

    Python takes bytecode for current where the file's size and the second of its last change are the same.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _from_file(file: Path, location: str, what: str) -> ModuleType:
    if not is_file(file):
        raise ConfigError(f"The {what} '{location}' cannot be found: there is no file {file}.")
    # The name differs by path, so two files called rewards.py do not replace each other.
    name = f"creditree_user_{blake2b(str(file.resolve()).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_AsItIs(name, str(file)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"The {what} '{location}' cannot be imported: {file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _failed(location, what, error) from error
    return module


def _from_import(source: str, location: str, what: str, example: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and (source == error.name or source.startswith(f"{error.name}.")):
            raise ConfigError(
                f"The {what} '{location}' cannot be found: there is no module '{error.name}' to import; "
                f"install it, or name a file as path/to/file.py:{example}."
            ) from error
        raise _failed(location, what, error) from error
    except BaseException as error:
        raise _failed(location, what, error) from error


def _failed(location: str, what: str, error: BaseException) -> ConfigError:
    return ConfigError(f"The {what} '{location}' cannot be imported: it raises {described(error)}.")
