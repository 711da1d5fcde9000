"""The `method` block of a configuration: a named method, any axis exchanged, any of its pieces' numbers set."""

from dataclasses import Field as DataclassField
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from creditree.config.block import Block
from creditree.config.numbers import checked_numbers
from creditree.errors import ConfigError, did_you_mean
from creditree.methods import AXES, DEFAULT, METHODS, Method
from creditree.piece import Piece, numbers_of, types_of
from creditree.pieces import PIECES, all_numbers, is_location, owners, piece_class, version_of
from creditree.text import shortened
from creditree.user_code import placed

QUESTIONS = {
    "explore": "how the tree grows",
    "credit": "what each token was worth",
    "select": "which tokens learn",
    "objective": "what is maximised",
    "schedule": "which problems are drawn and kept",
}


def _answers(axis: str) -> Any:
    known = ", ".join(PIECES[axis])
    return Field(None, description=f"{QUESTIONS[axis]}: {known}, or your own as FILE.py:Name")


class MethodConfig(Block):
    """A method by name. Whatever is left out is as the named method has it; what an axis does not use is refused.

    Besides the keys below it has the numbers of the chosen pieces, as these declare them.
    """

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="constants")

    name: str = Field(DEFAULT, description=", ".join(METHODS))
    explore: str | None = _answers("explore")
    credit: str | None = _answers("credit")
    select: str | None = _answers("select")
    objective: str | None = _answers("objective")
    schedule: str | None = _answers("schedule")
    step_texts: list[str] | None = Field(None, description="what ends a step: the first of these that occurs")

    @field_validator(*AXES)
    @classmethod
    def _placed(cls, name: str | None) -> str | None:
        return None if name is None else placed(name, Path.cwd())

    def __getattr__(self, name: str) -> Any:
        """Return a number of a piece as it is set; None where it is not."""
        numbers = None if name.startswith("_") else (self.model_extra or {})
        if numbers is None or (name not in numbers and name not in all_numbers()):
            raise AttributeError(f"the method block has no '{name}'")
        return numbers.get(name)

    @property
    def given(self) -> dict[str, Any]:
        """The numbers that are set."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    @property
    def locations(self) -> dict[str, str]:
        """Where pieces lie that are not ours, by axis."""
        named = {axis: getattr(self, axis) for axis in AXES}
        return {axis: name for axis, name in named.items() if name is not None and is_location(name)}

    def build(self) -> Method:
        """Return the method, made once for equal values.

        Raises ConfigError for unknown names, unused numbers and crosses that make no sense.
        """
        return _built(self.model_dump_json(), tuple(map(version_of, self.locations.values())))

    def _made(self) -> Method:
        if self.name not in METHODS:
            raise ConfigError(f"method.name is '{self.name}', which is no method.{did_you_mean(self.name, METHODS)}")
        preset = METHODS[self.name]()
        kinds = {axis: self._kind(axis, getattr(preset, axis)) for axis in AXES}
        for name in self.given:
            if not any(name in types_of(kind) for kind in kinds.values()):
                raise ConfigError(_unused(name, kinds))
        pieces: dict[str, Any] = {axis: _piece(kind, getattr(preset, axis), self.given) for axis, kind in kinds.items()}
        _check_shared(pieces)
        texts = preset.step_texts if self.step_texts is None else tuple(self.step_texts)
        if self.step_texts is not None and (not texts or not all(texts)):
            raise ConfigError("method.step_texts names no text, or an empty one; set one or more, such as ['\\n'].")
        return Method(self.name, preset.paper, **pieces, step_texts=texts)

    def resolved(self) -> "MethodConfig":
        """Return this block with every axis and every number that it uses written out."""
        method = self.build()
        values: dict[str, Any] = {"name": self.name}
        if method.looks_at_steps:
            values["step_texts"] = list(method.step_texts)
        for axis, piece in zip(AXES, method.pieces, strict=True):
            values[axis] = self.locations.get(axis, piece.name)
            values |= {item.name: getattr(piece, item.name) for item in numbers_of(piece) if not _is_quiet(piece, item)}
        return MethodConfig(**values)

    def _kind(self, axis: str, preset: Piece) -> type[Piece]:
        chosen = getattr(self, axis)
        return type(preset) if chosen is None or chosen == preset.name else piece_class(axis, chosen)


@lru_cache(maxsize=64)
def _built(values: str, versions: tuple[str | None, ...]) -> Method:
    """Return the method of a block's values; `versions` are of the code that they name."""
    return MethodConfig.model_validate_json(values)._made()


def _piece(kind: type[Piece], preset: Piece, given: dict[str, Any]) -> Piece:
    """Return a piece with the numbers that are given, else those of the preset that it has too, else its own."""
    own = types_of(kind)
    numbers = {item.name: getattr(preset, item.name) for item in numbers_of(preset) if item.name in own}
    mine = {name: value for name, value in given.items() if name in own}
    return kind(**numbers | checked_numbers(kind, mine, "method"))


def _is_quiet(piece: Piece, item: DataclassField[Any]) -> bool:
    """Whether a number has the default that goes without saying."""
    return bool(item.metadata.get("quiet")) and getattr(piece, item.name) == item.default


def _check_shared(pieces: dict[str, Piece]) -> None:
    """Raise ConfigError where pieces have a number of one name that would differ: a configuration sets both alike."""
    seen: dict[str, tuple[str, object]] = {}
    for axis, piece in pieces.items():
        for item in numbers_of(piece):
            value = getattr(piece, item.name)
            other, theirs = seen.setdefault(item.name, (f"{axis} '{piece.name}'", value))
            if theirs != value:
                raise ConfigError(
                    f"method.{item.name} belongs to {other} and to {axis} '{piece.name}', which would have {theirs} "
                    f"and {value}; set it."
                )


def _unused(name: str, kinds: dict[str, type[Piece]]) -> str:
    for axis, owner in owners(name):
        return (
            f"method.{name} has no effect: it belongs to {axis} '{owner}', and {axis} is '{kinds[axis].name}'; "
            f"remove it, or set method.{axis}: {owner}."
        )
    own = [*MethodConfig.model_fields, *(number for kind in kinds.values() for number in types_of(kind))]
    hint = did_you_mean(name, own)
    hint = hint if "Did you mean" in hint else did_you_mean(name, [*own, *all_numbers()])
    return f"unknown key 'method.{shortened(name)}'.{hint} (in method)"
