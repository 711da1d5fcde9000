"""Errors that a user can cause, each one clear sentence: what was wrong, where, what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from creditree.text import shortened

PARAMETER = re.compile(r"`([a-z_]+)`")
"""How a sentence names a parameter of a procedure."""


class CreditreeError(Exception):
    """Base of every error that Creditree raises for a user's mistake; the command line prints it and exits with 2.

    What was asked for is named as a procedure's parameters are, in backticks: `samples`, `out`. A door that has other
    words for them puts those there.
    """

    @property
    def key(self) -> str | None:
        """The first parameter that the sentence names, None where it names none."""
        match = PARAMETER.search(str(self))
        return None if match is None else match[1]


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
    """Return ``" Did you mean 'x'?"`` for the known word nearest to `word`, or the known words if none is near.

    Names may come from a file: of very long ones nothing is near, and only so many of them are listed.
    """
    names = sorted(known)
    short = [name for name in names if len(name) <= _LONGEST_NAME][:_MOST_COMPARED]
    near = get_close_matches(word, short, n=1, cutoff=0.6) if len(word) <= _LONGEST_NAME else []
    if near:
        return f" Did you mean '{near[0]}'?"
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f" Known: {', '.join(shortened(name, 60) for name in names[:_MOST_LISTED])}{more}." if names else ""


_LONGEST_NAME, _MOST_COMPARED, _MOST_LISTED = 100, 2000, 40
"""Characters of a name that is compared with others, and how many names are compared and listed."""


def check_choice(key: str, value: object, known: Iterable[str]) -> None:
    """Raise ConfigError where the value of `key` is none of `known`."""
    names = tuple(known)
    if value not in names:
        given = str(value)
        raise ConfigError(f"{key} is '{shortened(given)}', which is none of its choices.{did_you_mean(given, names)}")


def check_fraction(key: str, value: float) -> None:
    """Raise ConfigError where the value of `key` lies outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{key} is {value}: it must lie between 0 and 1.")


def check_least(key: str, value: float, least: float) -> None:
    """Raise ConfigError where the value of `key` lies below `least`."""
    if not value >= least:
        raise ConfigError(f"{key} is {value}: set {least} or more.")


def lack_in(error: BaseException) -> str | None:
    """Return the sentence for what the system has not given; None for any other error."""
    if isinstance(error, OSError):
        where = f" '{error.filename}'" if error.filename else ""
        return f"the system refused{where} ({error.strerror or error}); free or repair it, and repeat."
    if is_out_of_memory(error):
        return "there is not enough memory for this; take less at once, or a smaller model."
    return None


_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What torch says where it has no class for it: its allocator on a CPU, the CUDA driver, and libraries on a GPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: on a GPU, in numpy, or in torch on a CPU."""
    # the second is torch's, which is not imported here
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
