"""How numbers are written for readers, the same in tables, sentences and Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from creditree.engines.pulse import Pulse
from creditree.evaluate.statistics import Interval
from creditree.text import printable

_SMALLEST_P = 1e-10


def pulse_words(pulse: Pulse) -> str:
    """Return ``12 of 64 completions sampled, 4.32 k tokens, 310 tokens/s, at most 40 s left``."""
    if pulse.to_read and pulse.read < pulse.to_read:
        return f"reading prompts, {count(pulse.read)} of {count(pulse.to_read)} tokens"
    rate = [] if pulse.tokens_per_s is None else [f"{count(pulse.tokens_per_s)} tokens/s"]
    left = [] if pulse.left_s is None else [f"at most {duration(pulse.left_s)} left"]
    sampled = f"{pulse.finished:,} of {pulse.rows:,} completions sampled, {count(pulse.tokens)} tokens"
    return ", ".join([sampled, *rate, *left])


def percent(share: float) -> str:
    """Return a share as percent, without the sign: ``5.8``."""
    return f"{100 * share:.1f}"


def percent_interval(value: float, interval: Interval) -> str:
    """Return ``5.8 (4.1, 8.2)``, in percent."""
    return f"{percent(value)} ({percent(interval.low)}, {percent(interval.high)})"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points, signed: ``+81.2``; a zero has no sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def points_interval(value: float, interval: Interval) -> str:
    """Return ``+81.2 (+77.4, +84.5)``, in percentage points."""
    return f"{points(value)} ({points(interval.low)}, {points(interval.high)})"


def nats(difference: float) -> str:
    """Return a difference in nats, signed, with four decimals: ``+0.0123``; a zero has no sign."""
    text = f"{difference:+.4f}"
    return "0.0000" if text in ("+0.0000", "-0.0000") else text


def p_value(p: float) -> str:
    """Return ``p = 0.031``, ``p = 4e-07`` or ``p < 1e-10``."""
    if p < _SMALLEST_P:
        return f"p < {_SMALLEST_P:.0e}"
    return f"p = {p:.0e}" if p < 0.001 else f"p = {p:.3f}"


def count(number: float) -> str:
    """Return a count in at most four significant digits: ``950``, ``12.3 k``, ``4.57 M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would round to "1000.0 k".
        if number >= size * 0.99995:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Return ``8.2 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def ratio(part: float, whole: float) -> str:
    """Return how much smaller `part` is than `whole`: ``28 %, 3.6x fewer``; empty where they are equal or one is 0."""
    if part <= 0 or whole <= 0 or part == whole:
        return ""
    share = f"{100 * part / whole:.2g} %" if part < whole else f"{100 * part / whole:.0f} %"
    return f"{share}, {whole / part:.1f}x fewer" if part < whole else f"{share}, {part / whole:.1f}x as many"


def phases(seconds: Mapping[str, float]) -> str:
    """Return ``sample 41.0 s, learn 2.1 s``, longest first."""
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {duration(value)}" for name, value in ordered)


def terminal_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], num_left: int = 1) -> Table:
    """Return a table for the terminal; the first `num_left` columns hold words, the others numbers.

    Narrow enough that the accuracies of a run fit into 80 columns.
    """
    table = Table(
        title=Text(printable(title), style="bold"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for number, name in enumerate(header):
        table.add_column(Text(printable(name)), justify="left" if number < num_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def markdown_text(text: str) -> str:
    """Return text that Markdown shows as it is: nothing in it makes a link, a picture, a tag, emphasis or a heading.

    Names, problems and completions go through this; a viewer might load what a picture in them points to.
    """
    return _BLOCK.sub(r"\1\\", _inline(text))


def markdown_line(text: str) -> str:
    """Return `markdown_text` of a text on one line."""
    return markdown_text(" ".join(text.split()))


def markdown_bullets(items: Iterable[str]) -> str:
    """Return a Markdown list of plain texts."""
    return "".join(f"- {markdown_line(item)}\n" for item in items)


_INLINE = re.compile(r"[\\`*\[\]]|<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_BLOCK = re.compile(r"^( {0,3})(?=#{1,6}(?:\s|$)|>|[-+](?:\s|$)|-+\s*$|=+\s*$|[-_]{3}|~{3})", re.MULTILINE)
"""What begins a heading, a quotation, a list, a rule or code at the start of a line."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of plain texts; a bar inside a cell is escaped, and so is what Markdown would read."""
    head, *lines = [[_cell(text) for text in line] for line in (header, *rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(header), *lines))


def _cell(text: str) -> str:
    return _inline(" ".join(text.split())).replace("|", "\\|")


def _inline(text: str) -> str:
    return _INLINE.sub(r"\\\g<0>", printable(text))
