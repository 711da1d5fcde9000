"""Copies of a run's numbers in TensorBoard, Weights & Biases or trackio; the run directory stays the source."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from creditree.errors import ConfigError
from creditree.report.watcher import Watcher

PROJECT = "creditree"


class Mirror(Protocol):
    """Somewhere else that metrics are shown."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of a step."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class TensorBoardMirror:
    """Event files in ``DIR/tensorboard``."""

    def __init__(self, run: Path) -> None:
        _imported("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class ServiceMirror:
    """A package with the interface of wandb: ``init(project, name, config)``, ``log(numbers, step)``, ``finish()``."""

    def __init__(self, package: str, name: str, config: Mapping[str, Any]) -> None:
        self._package = _imported(package)
        with redirect_stdout(sys.stderr):  # trackio prints how to look at it
            self._package.init(project=PROJECT, name=name, config=dict(config))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of a step."""
        self._package.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run there."""
        with redirect_stdout(sys.stderr):
            self._package.finish()


def open_mirrors(
    names: Sequence[str], run: Path, config: Mapping[str, Any], tell: Callable[[str], None]
) -> dict[str, Mirror]:
    """Open the named mirrors; one that cannot be opened is told of and left out: a copy must not stop the run.

    Raises ConfigError where a package is not installed.
    """
    opened: dict[str, Mirror] = {}
    for name in names:
        try:
            opened[name] = TensorBoardMirror(run) if name == "tensorboard" else ServiceMirror(name, run.name, config)
        except ConfigError:
            raise
        except Exception as error:
            tell(_failure(name, "could not be opened", error))
    return opened


def _failure(name: str, what: str, error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"log.mirrors: {name} {what} ({said}); training goes on without it, and the run directory has all numbers"


def numbers_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a metrics record, nested ones by path; what is None is left out."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            numbers |= {f"{name}/{inner}": number for inner, number in numbers_of(value).items()}
        elif isinstance(value, (int, float)) and name != "step":
            numbers[name] = float(value)
    return numbers


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise ConfigError(
            f"log.mirrors names {package}, which is not installed; pip install 'creditree[{package}]', or leave it out."
        ) from None


class _Mirrored(Watcher):
    """A watcher that also feeds mirrors."""

    def __init__(self, watcher: Watcher, mirrors: Mapping[str, Mirror]) -> None:
        self._watcher = watcher
        self._mirrors = dict(mirrors)

    def update(self, record: Mapping[str, Any]) -> None:
        for name, mirror in list(self._mirrors.items()):
            try:
                mirror.log(int(record["step"]), numbers_of(record))
            except Exception as error:
                del self._mirrors[name]
                self._watcher.message(_failure(name, "failed", error))
        self._watcher.update(record)

    def message(self, text: str) -> None:
        self._watcher.message(text)


@contextmanager
def mirrored(watcher: Watcher, mirrors: Mapping[str, Mirror]) -> Iterator[Watcher]:
    """Give a watcher that passes every record on to the mirrors too, and close these at the end, as far as they let."""
    try:
        yield _Mirrored(watcher, mirrors) if mirrors else watcher
    finally:
        for name, mirror in mirrors.items():
            try:
                mirror.close()
            except Exception as error:
                watcher.message(_failure(name, "could not be closed", error))
