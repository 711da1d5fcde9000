"""A console that nothing a model writes can steer."""

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from creditree.text import printable


class PlainConsole(Console):
    """A console that shows every text as it is: no markup, no emoji codes, and control characters as escapes.

    Whatever models, data files and paths hold goes through `render` before it reaches the terminal.
    """

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file=file, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what rich would print, with nothing in it that steers the terminal but rich's own styles."""
        # before the lines are broken, so that escapes count with their width; tables and panels come here cell by cell
        if isinstance(renderable, Text) and renderable.plain != printable(renderable.plain):
            renderable = Text(
                printable(renderable.plain), renderable.style, justify=renderable.justify, overflow=renderable.overflow
            )
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
