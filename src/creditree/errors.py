"""Errors that a user can cause, each one clear sentence: what was wrong, where, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class CreditreeError(Exception):
    """Base of every error that Creditree raises for a user's mistake; the command line prints it and exits with 2."""


class ConfigError(CreditreeError):
    """A configuration that cannot run: an unknown name, a value out of range, or pieces that do not fit together."""


class DataError(CreditreeError):
    """A problem set that cannot be read: a missing file or column, an empty set, a row without an answer."""


class ModelError(CreditreeError):
    """A model, tokenizer or adapter that cannot be loaded or used."""


class NonFiniteError(CreditreeError):
    """Logits that are NaN or infinite: nothing may be sampled, scored or learned from them.

    Every engine raises it before a token is emitted. Training may answer by skipping the step; anything else ends.
    """


class RunError(CreditreeError):
    """A run directory that cannot be written, continued or read."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to `word`, or the known words if none is near."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""


def check_choice(key: str, value: object, known: Iterable[str]) -> None:
    """Raise ConfigError where the value of `key` is none of `known`."""
    names = tuple(known)
    if value not in names:
        raise ConfigError(f"{key} is '{value}', which is none of its choices.{did_you_mean(str(value), names)}")


def check_fraction(key: str, value: float) -> None:
    """Raise ConfigError where the value of `key` lies outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{key} is {value}: it must lie between 0 and 1.")


def check_least(key: str, value: float, least: float) -> None:
    """Raise ConfigError where the value of `key` lies below `least`."""
    if not value >= least:
        raise ConfigError(f"{key} is {value}: set {least} or more.")
