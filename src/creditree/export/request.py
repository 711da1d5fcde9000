"""What an export is asked for, and what came of it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from creditree.disk import is_folder, is_possible
from creditree.errors import ConfigError, RunError
from creditree.text import shown

Kind = Literal["merged", "adapter", "gguf"]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is asked for: one of `merged`, `adapter` (directories to write) and `gguf` (a file).

    `converter`: llama.cpp's ``convert_hf_to_gguf.py``, where it is not on the path.
    """

    run: Path
    merged: Path | None = None
    adapter: Path | None = None
    gguf: Path | None = None
    converter: Path | None = None

    @property
    def wanted(self) -> tuple[Kind, Path]:
        """What is to be written, and where. Raises ConfigError unless that is one thing."""
        kinds: tuple[tuple[Kind, Path | None], ...] = (
            ("merged", self.merged),
            ("adapter", self.adapter),
            ("gguf", self.gguf),
        )
        asked = [(kind, path) for kind, path in kinds if path is not None]
        if len(asked) != 1:
            given = "several are" if asked else "none is"
            raise ConfigError(
                f"An export writes one thing, and {given} named: give `merged` DIR, `adapter` DIR or `gguf` FILE."
            )
        if self.converter is not None and self.gguf is None:
            raise ConfigError("`converter` is for `gguf`; leave it out.")
        return asked[0]


@dataclass(frozen=True, slots=True)
class Verified:
    """How far what was written is from what was trained, over `tokens` log-probabilities.

    `difference`: the mean of |log p - log p'|, at most `tolerance`;  `largest`: of one token;  `effect`: what training
    changed, the mean of |log p - log p of the base|.
    """

    tokens: int
    difference: float
    largest: float
    effect: float
    tolerance: float

    def words(self) -> str:
        """Return it in a sentence."""
        return (
            f"log-probabilities of {self.tokens:,} tokens differ from those of what was trained by "
            f"{self.difference:.1e} on average (at most {self.largest:.1e}; allowed on average {self.tolerance:.0e}); "
            f"training changed them by {self.effect:.1e}"
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: its kind and place, the base model, and in words what it holds."""

    kind: Kind
    path: str
    base: str
    holds: str
    dtype: str
    verified: Verified | None

    def to_json(self) -> Mapping[str, Any]:
        """Return it for a record."""
        return asdict(self)

    def words(self) -> str:
        """Return it in sentences."""
        checked = "" if self.verified is None else f" Verified: {self.verified.words()}."
        return f"{self.path}: {self.holds} (base {self.base}).{checked}"


def free_folder(path: Path, option: str) -> Path:
    """Return the path of a directory to write, made absolute. Raises RunError where it is there and not empty."""
    path = _possible(path, option).resolve()
    if is_folder(path) and not any(path.iterdir()):
        return path
    if os.path.lexists(path):
        held = "is not empty" if is_folder(path) else "is a file"
        raise RunError(f"`{option}` {path} {held}; choose a directory that is new or empty.")
    return path


def free_file(path: Path, option: str) -> Path:
    """Return the path of a file to write, made absolute. Raises RunError where something is there."""
    path = _possible(path, option).absolute()
    if os.path.lexists(path):
        raise RunError(f"`{option}` {path} is there already; choose another name, or remove it.")
    return path


def _possible(path: Path, option: str) -> Path:
    if not is_possible(path):
        raise RunError(f"`{option}` is {shown(str(path))}, which nothing can be called; choose another name.")
    return path
