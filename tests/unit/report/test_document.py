"""Every block in Markdown and HTML: nothing in a text becomes markup, and the page needs nothing from elsewhere."""

from base64 import b64decode
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.report.document import (
    Block,
    Bullets,
    Callout,
    Code,
    Details,
    Heading,
    Paragraph,
    Picture,
    Rows,
    to_html,
    to_markdown,
)

VOID = {"meta", "img", "br", "hr"}
NASTY = '<script>alert("x")</script> & <b>'
TEXTS = st.text("ab<>&\"'`|*/!\n script", max_size=20)


class Page(HTMLParser):
    """Records tags, text and attributes; fails on an end tag that does not close the innermost open one."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def every(text: str) -> list[Block]:
    """Return each kind of block with `text` wherever text goes."""
    return [
        Heading(text, 1),
        Paragraph(text),
        Callout(text, "bad"),
        Bullets((text, text)),
        Rows((text, "b"), ((text, "1"), ("c", text))),
        Code(text),
        Details(text, (Paragraph(text), Code(text))),
        Picture("run/reward.png", b"\x89PNG", text),
    ]


@pytest.mark.parametrize(
    ("block", "markdown", "html"),
    [
        (Heading("Title", 1), "# Title\n", "<h1>Title</h1>"),
        (Heading("Part"), "## Part\n", "<h2>Part</h2>"),
        (Paragraph("p < 1e-10 & so on"), "p < 1e-10 & so on\n", "<p>p &lt; 1e-10 &amp; so on</p>"),
        (
            Callout("Use it.", "good"),
            "> **Use it.**\n",
            '<div class="callout good"><strong>Use it.</strong></div>',
        ),
        (Callout("a\nb"), "> **a b**\n", '<div class="callout neutral"><strong>a\nb</strong></div>'),
        (Bullets(("a", "b\nc")), "- a\n- b c\n", "<ul><li>a</li><li>b\nc</li></ul>"),
        (
            Rows(("x", "y"), (("1|2", "a\n b"),)),
            "| x | y |\n| --- | --- |\n| 1\\|2 | a b |\n",
            (
                '<div class="scroll"><table><thead><tr><th>x</th><th>y</th></tr></thead>'
                "<tbody><tr><td>1|2</td><td>a\n b</td></tr></tbody></table></div>"
            ),
        ),
        (Code("a <b\n c"), "```text\na <b\n c\n```\n", "<pre>a &lt;b\n c</pre>"),
        (
            Details("More", (Paragraph("a"), Code("b"))),
            "**More**\n\na\n\n```text\nb\n```\n",
            "<details><summary>More</summary>\n<p>a</p>\n<pre>b</pre>\n</details>",
        ),
        (
            Picture("run/r.png", b"abc", "the reward"),
            "![the reward](run/r.png)\n",
            '<img alt="the reward" src="data:image/png;base64,YWJj">',
        ),
    ],
)
def test_each_block(block: Block, markdown: str, html: str) -> None:
    assert to_markdown([block]) == markdown
    assert f"<body>\n{html}\n</body>" in to_html("t", [block])


def test_blocks_are_set_apart_by_an_empty_line() -> None:
    assert to_markdown([Heading("A"), Bullets(("b",)), Paragraph("c")]) == "## A\n\n- b\n\nc\n"


def test_nothing_in_a_text_becomes_a_tag() -> None:
    page = Page(to_html(NASTY, every(NASTY)))
    assert "script" not in page.tags
    assert "b" not in page.tags
    # Title, heading, paragraph, callout, two items, two cells and a head, code, summary and its two blocks.
    assert "".join(page.words).count(NASTY) == 13
    assert ("alt", NASTY) in page.attributes
    assert ("class", "callout bad") in page.attributes


def test_markdown_passes_no_tag_on_outside_of_code() -> None:
    for block in every(NASTY):
        written = to_markdown([block])
        if not isinstance(block, Code | Details):
            assert "<script" not in written.replace("\\<", "")
            assert "</script" not in written.replace("\\<", "")
    assert to_markdown([Code(NASTY)]) == f"```text\n{NASTY}\n```\n"


@pytest.mark.parametrize(("text", "fence"), [("a", 3), ("``", 3), ("```", 4), ("a```\n````` b", 6), ("`" * 9, 10)])
def test_a_fence_is_longer_than_what_is_inside(text: str, fence: int) -> None:
    mark = "`" * fence
    assert to_markdown([Code(text)]) == f"{mark}text\n{text}\n{mark}\n"


@given(text=TEXTS)
def test_any_text_gives_a_page_of_balanced_tags_that_holds_it(text: str) -> None:
    written = to_html(text, every(text))
    page = Page(written)
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "p", "div", "strong", "ul", "li", "table", "thead",
        "tbody", "tr", "th", "td", "pre", "details", "summary", "img",
    }  # fmt: skip
    assert "".join(page.words).count(text) >= 13 or not text.strip()
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == 1
    assert sources[0] is not None
    assert sources[0].startswith("data:image/png;base64,")
    assert b64decode(sources[0].partition(",")[2]) == b"\x89PNG"
    assert "http:" not in written
    assert "https:" not in written
    assert "url(" not in written


def test_the_page_says_what_it_is() -> None:
    written = to_html("A & B", [])
    assert written.startswith("<!DOCTYPE html>\n<html")
    assert '<meta charset="utf-8">' in written
    assert "<title>A &amp; B</title>" in written
