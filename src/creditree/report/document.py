"""A document of a few kinds of blocks, written as Markdown and as one HTML file that opens offline."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files

from creditree.report.wording import markdown_line, markdown_table, markdown_text
from creditree.text import printable


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
    """Text as it is: a command, a completion. Markdown names the language."""

    text: str
    language: str = "text"


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


@dataclass(frozen=True, slots=True)
class Drawings:
    """SVG pictures beside one another, as `creditree.report.page.svg` makes them; in Markdown they are left out."""

    svgs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The figures that one looks for first: a number and what it is; in Markdown they are left out."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TreePlace:
    """What the page's script draws when it is opened: the trees of a problem, by their place in the data.

    In Markdown it is left out.
    """

    summary: str
    place: int


@dataclass(frozen=True, slots=True)
class PagePart:
    """Blocks that the page's script finds by a name; in Markdown they just follow."""

    name: str
    blocks: tuple["Block", ...]


Block = (
    Heading
    | Paragraph
    | Callout
    | Bullets
    | Rows
    | Code
    | Details
    | Picture
    | Drawings
    | KeyFigures
    | TreePlace
    | PagePart
)


def asset(name: str) -> str:
    """Return a file that the pages are made of."""
    return files("creditree.report.page").joinpath(name).read_text(encoding="utf-8")


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the blocks as Markdown."""
    return printable("\n".join(_markdown(block) for block in blocks))


def to_fragment(blocks: Sequence[Block]) -> str:
    """Return the blocks as HTML to be put into a page."""
    return printable("\n".join(_html(block) for block in blocks))


def page_policy(script: str, *, connect: bool = False) -> str:
    """Return what a page allows itself: its own style and script, pictures inside, and `connect`: its own server."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(asset('style.css'))}'; script-src "
        f"{_quoted_digest(script)}; connect-src {_OWN if connect else _NONE}; base-uri 'none'; form-action 'none'"
    )


_OWN, _NONE = "'self'", "'none'"


def to_html(title: str, blocks: Sequence[Block], script: str = "", data: str = "[]", *, connect: bool = False) -> str:
    """Return the blocks as one HTML file without anything from elsewhere, pictures inside.

    `script` draws with `data`, JSON in which nothing ends an element. The page allows itself no other script, no other
    style, and no connection, unless to its own server (`connect`).
    """
    body = to_fragment(blocks)
    style = asset("style.css")
    scripts = (
        f'<script type="application/json" id="trees">{data}</script>\n<script>{script}</script>\n' if script else ""
    )
    return printable(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{page_policy(script, connect=connect)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n{scripts}</body>\n</html>\n"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _quoted_digest(script: str) -> str:
    return f"'{_digest(script)}'" if script else "'none'"


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
        case Code(text, language):
            return f"{_fence(text)}{language}\n{text}\n{_fence(text)}\n"
        case Details(summary, blocks):
            return f"**{markdown_line(summary)}**\n\n{to_markdown(blocks)}"
        case PagePart(_, blocks):
            return to_markdown(blocks)
        case Picture(name, _, caption):
            return f"![{markdown_line(caption)}]({name})\n"
        case _:
            return ""  # what is drawn


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
            body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
            return f'<div class="scroll">{body}</div>'
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case _:
            return _html_around(block)


def _html_around(block: Block) -> str:
    match block:
        case Details(summary, blocks):
            inner = "\n".join(_html(block) for block in blocks)
            return f"<details><summary>{escape(summary)}</summary>\n{inner}\n</details>"
        case PagePart(name, blocks):
            return f'<div id="{escape(name)}">{to_fragment(blocks)}</div>'
        case Picture(_, png, caption):
            return f'<img alt="{escape(caption)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        case Drawings(svgs):
            return f'<div class="charts">{"".join(f"<figure>{svg}</figure>" for svg in svgs)}</div>'
        case KeyFigures(items):
            tiles = (
                f'<div class="tile"><b>{escape(number)}</b><span>{escape(name)}</span></div>' for number, name in items
            )
            return f'<div class="tiles">{"".join(tiles)}</div>'
        case TreePlace(summary, place):
            return f'<details class="problem" data-forest="{place}"><summary>{escape(summary)}</summary></details>'
        case _:
            raise ValueError(f"no page has a block like {block!r}")


def _fence(text: str) -> str:
    """Return a fence longer than any run of backticks in the text."""
    longest = max((len(run) for run in _runs(text, "`")), default=0)
    return "`" * max(3, longest + 1)


def _runs(text: str, mark: str) -> list[str]:
    return [run for run in "".join(character if character == mark else " " for character in text).split()]
