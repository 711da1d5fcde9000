"""The report of a run that opens in a browser, written while the run trains and at its end."""

from collections.abc import Callable
from time import monotonic

from creditree.overview.overview import Overview
from creditree.overview.run import overview_of
from creditree.report.page.page import report_html
from creditree.runs.directory import RunDirectory

PAGE = "report.html"
WRITING_SHARE = 0.02
"""What is written while a run trains takes at most this share of its time."""


class PageWriter:
    """Writes ``report.html``. It is for people to look at: whatever goes wrong with it, the run goes on."""

    def __init__(
        self, run: RunDirectory, message: Callable[[str], None], clock: Callable[[], float] = monotonic
    ) -> None:
        """`message` hears, once, that it could not be written."""
        self._run, self._message, self._clock = run, message, clock
        self._next = float("-inf")
        self._failed = False

    def refresh(self) -> None:
        """Write it as the run is now, unless that would take too much of the run's time."""
        begun = self._clock()
        if begun < self._next:
            return
        self.write()
        took = self._clock() - begun
        self._next = begun + took / WRITING_SHARE

    def write(self) -> None:
        """Write it as the run is now."""
        try:
            html = report_html(Overview((overview_of(self._run.path),)))
            self._run.write_text(PAGE, html, checked=False)
        except Exception as error:  # a page that cannot be drawn is no reason to lose a run
            if not self._failed:
                self._failed = True
                self._message(f"{PAGE} could not be written ({' '.join(str(error).split())}); the run goes on.")
