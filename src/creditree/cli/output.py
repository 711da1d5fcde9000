"""Where the command line's words go."""

import json
import warnings
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from creditree.cli.stream import Stream
from creditree.text import json_escaped, printable


class PlainConsole(Console):
    """A console that shows every text as it is: no markup, no emoji codes, and control characters as escapes.

    Whatever models, data files and paths hold goes through `render` before it reaches the terminal.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(file=cast("IO[str]", stream), highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what rich would print, with nothing in it that steers the terminal but rich's own styles."""
        # before the lines are broken, so that escapes count with their width; tables and panels come here cell by cell
        if isinstance(renderable, Text) and renderable.plain != printable(renderable.plain):
            renderable = Text(
                printable(renderable.plain), renderable.style, justify=renderable.justify, overflow=renderable.overflow
            )
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console() -> Console:
    """Return the console for the tables and sentences that a command is asked for (standard output)."""
    return PlainConsole(Stream("stdout", strict=True))


def progress_console(*, stderr: bool) -> Console:
    """Return the console of work that goes on whether or not anybody reads what it says: its files hold the results."""
    return PlainConsole(Stream("stderr" if stderr else "stdout", strict=False))


def print_text(text: str) -> None:
    """Print text as it is, without breaking its lines, on standard output."""
    _write(printable(text) + "\n")


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    _write(json_escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


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
