"""A document of a few kinds of blocks, written as Markdown and as one HTML file that opens offline."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from creditree.report.wording import markdown_line, markdown_table, markdown_text
from creditree.text import printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 860px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { padding: .25rem .7rem; text-align: left; }
th { border-bottom: 2px solid #999; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
td:not(:first-child), th:not(:first-child) { font-variant-numeric: tabular-nums; }
pre { background: #f4f4f4; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
.callout { border-left: 5px solid #0072b2; background: #eef5fa; padding: .6rem 1rem; margin: .8rem 0; }
.callout.bad { border-color: #d55e00; background: #fdf1ea; }
.callout.good { border-color: #009e73; background: #ebf7f3; }
details { margin: .4rem 0; } summary { cursor: pointer; } img { max-width: 100%; }
@media print { details > *:not(summary) { display: block; } }
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; the first level is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Callout:
    """The sentence that counts; `mood` is good, bad or neutral."""

    text: str
    mood: str = "neutral"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it is: a command, a completion."""

    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that open on a click; in Markdown they just follow."""

    summary: str
    blocks: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, by its bytes and its name beside the Markdown file."""

    name: str
    png: bytes
    caption: str


Block = Heading | Paragraph | Callout | Bullets | Rows | Code | Details | Picture


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the blocks as Markdown."""
    return printable("\n".join(_markdown(block) for block in blocks))


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Return the blocks as one HTML file without anything from elsewhere: no script, pictures inside."""
    body = "\n".join(_html(block) for block in blocks)
    return printable(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {markdown_line(text)}\n"
        case Paragraph(text):
            return f"{markdown_text(text)}\n"
        case Callout(text, _):
            return f"> **{markdown_line(text)}**\n"
        case Bullets(items):
            return "".join(f"- {markdown_line(item)}\n" for item in items)
        case Rows(header, rows):
            return markdown_table(header, rows)
        case Code(text):
            return f"{_fence(text)}text\n{text}\n{_fence(text)}\n"
        case Details(summary, blocks):
            return f"**{markdown_line(summary)}**\n\n{to_markdown(blocks)}"
        case Picture(name, _, caption):
            return f"![{markdown_line(caption)}]({name})\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Callout(text, mood):
            return f'<div class="callout {escape(mood)}"><strong>{escape(text)}</strong></div>'
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Rows(header, rows):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
            lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case Details(summary, blocks):
            inner = "\n".join(_html(block) for block in blocks)
            return f"<details><summary>{escape(summary)}</summary>\n{inner}\n</details>"
        case Picture(_, png, caption):
            return f'<img alt="{escape(caption)}" src="data:image/png;base64,{b64encode(png).decode()}">'


def _fence(text: str) -> str:
    """Return a fence longer than any run of backticks in the text."""
    longest = max((len(run) for run in _runs(text, "`")), default=0)
    return "`" * max(3, longest + 1)


def _runs(text: str, mark: str) -> list[str]:
    return [run for run in "".join(character if character == mark else " " for character in text).split()]
