"""Where the command line's words go."""

import json
import warnings
from typing import IO, cast

from rich.console import Console

from creditree.cli.stream import Stream, tell
from creditree.cli.words import in_options
from creditree.report.plain import PlainConsole
from creditree.report.shown import Shown
from creditree.text import json_escaped, printable


def console() -> Console:
    """Return the console for the tables and sentences that a command is asked for (standard output)."""
    return PlainConsole(cast("IO[str]", Stream("stdout", strict=True)))


def progress_console(*, stderr: bool) -> Console:
    """Return the console of work that goes on whether or not anybody reads what it says: its files hold the results."""
    return PlainConsole(cast("IO[str]", Stream("stderr" if stderr else "stdout", strict=False)))


def shown(*, stderr: bool) -> Shown:
    """Return who shows the progress of a procedure, in the command line's own words."""
    return _InOptions(progress_console(stderr=stderr))


class _InOptions(Shown):
    """Shows progress with options where sentences name parameters."""

    def message(self, text: str) -> None:
        """Show a sentence."""
        super().message(in_options(text))


def print_text(text: str) -> None:
    """Print text as it is, without breaking its lines, on standard output."""
    _write(printable(text) + "\n")


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    _write(json_escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def print_line(value: object) -> None:
    """Print `value` as one line of JSON on standard output."""
    _write(json.dumps(value) + "\n")


def tell_edited(named: str) -> None:
    """Say where a run's configuration is not as the run wrote it."""
    from creditree.setup.edited import edited

    if words := edited(named):
        tell(words)


def _write(text: str) -> None:
    stream = Stream("stdout", strict=True)
    stream.write(text)
    stream.flush()


def quiet_libraries() -> None:
    """Keep notices that are not for the user (deprecations inside libraries, loading reports) off the terminal."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    # else each of five attempts is told of before the sentence that counts
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
