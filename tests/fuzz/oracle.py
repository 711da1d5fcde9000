"""What every parser is held to: it raises our own errors only, each a sentence, and comes back in time."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from creditree.errors import CreditreeError
from creditree.text import MESSAGE, one_line, printable

LIMIT_S = 5.0
"""Processor seconds that a parser may take for an input of some thousand bytes, with atheris watching each line."""
SENTENCE = re.compile(r"\S.*[.?)]", re.DOTALL)


class BrokenError(AssertionError):
    """A law that an input breaks."""


def law(holds: bool, what: str) -> None:
    """Raise BrokenError where a law does not hold."""
    if not holds:
        raise BrokenError(what)


@contextmanager
def in_time() -> Iterator[None]:
    """Hold a block to its processor time."""
    started = time.process_time()
    yield
    spent = time.process_time() - started
    law(spent <= LIMIT_S, f"it took {spent:.1f} s")


@contextmanager
def refusing(*others: type[Exception]) -> Iterator[None]:
    """Run a block that may refuse its input: with an error of ours that is a sentence, or with one of `others`."""
    try:
        with in_time():
            yield
    except CreditreeError as error:
        said = one_line(str(error))
        law(SENTENCE.fullmatch(said) is not None, f"no sentence: {said!r}")
        law(len(said) <= MESSAGE and said == printable(said), f"not fit to be shown: {said!r}")
    except others:
        pass
