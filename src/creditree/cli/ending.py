"""How a command ends: its exit code, and one sentence for each mistake that a user can mend."""

import os
import signal
import sys
from io import TextIOWrapper
from itertools import pairwise

import typer
from typer.core import TyperGroup

from creditree.cli.examples import print_example
from creditree.cli.stream import LOST, close_quietly, tell
from creditree.cli.words import in_options
from creditree.errors import ConfigError, CreditreeError, lack_in
from creditree.text import one_line
from creditree.train.interrupt import FIRST_SIGNAL_CODE, Interrupted, continuing, raising


class Stopped(Exception):  # noqa: N818  (an end that the user asked for)
    """What a command raises for an interruption: typer would end a KeyboardInterrupt without a word."""

    def __init__(self, by: Interrupted) -> None:
        super().__init__(str(by))
        self.exit_code = by.exit_code


class Commands(TyperGroup):
    """The commands; the signals that ask to stop interrupt every one of them, and none takes an empty word."""

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """Print an example, then what typer prints."""
        print_example("")
        super().format_help(ctx, formatter)  # type: ignore[arg-type]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Return what is left to the command. Raises ConfigError for an empty word: most often an unset variable."""
        for before, word in pairwise(["creditree", *args]):
            unset = word.startswith("--") and word.endswith("=") and word.count("=") == 1
            if not word.strip() or unset:
                whose = word[:-1] if unset else before if before.startswith("--") else "an argument"
                raise ConfigError(f"{whose} is an empty text, such as that of an unset variable; say what is meant.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run a command. Raises Stopped where a signal ended it."""
        try:
            with raising(), continuing(""):
                return super().invoke(ctx)
        except Interrupted as stop:
            raise Stopped(stop) from None


def ended(app: typer.Typer) -> int:
    """Run the application and return its exit code: 2, and one sentence on stderr, for what a user can mend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows less, and ends nothing
    try:
        check_surroundings()
        code = app(standalone_mode=False)
        if code == FIRST_SIGNAL_CODE + signal.SIGINT:  # what typer makes of one that came between the commands
            complain("interrupted")
    except CreditreeError as error:
        code = refused(in_options(str(error)))
    except UsageError as error:
        code = refused(usage(error)) if str(error) else 2  # without any word, typer has shown the help
    except Stopped as stop:
        complain(in_options(str(stop)))
        code = stop.exit_code
    except BrokenPipeError:  # who reads the output has seen enough
        code = LOST
    except (OSError, MemoryError, RuntimeError) as error:
        lack = lack_in(error)
        if lack is None:
            raise
        code = refused(lack)
    finally:
        close_quietly("stdout")
        close_quietly("stderr")
    return int(code or 0)


UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises where the command's own words are wrong; it has no public name of its own."""


def refused(sentence: str) -> int:
    """Print the one sentence of a command that is refused, and return its exit code."""
    complain(sentence)
    return 2


def usage(error: Exception) -> str:
    """Return the sentence for words that the command line does not know, or for none at all."""
    context = error.ctx  # type: ignore[attr-defined]
    command = context.command_path if context else "creditree"
    said = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    return f"{said[:1].lower()}{said[1:]}; {command} --help lists what there is."


def check_surroundings() -> None:
    """Raise ConfigError where what a library needs is missing, before it fails in its own words."""
    try:
        os.getcwd()
    except OSError:
        raise ConfigError("the current directory does not exist any more; change to one that does.") from None
    if sys.flags.optimize > 1:
        raise ConfigError(
            "Python was told to drop docstrings (PYTHONOPTIMIZE=2 or -OO), and transformers needs them; unset it."
        )


def complain(sentence: str) -> None:
    """Print one line on standard error, whatever the sentence quotes."""
    tell(f"creditree: {one_line(sentence)}")
