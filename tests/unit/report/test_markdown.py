"""Reports in Markdown, read by a Markdown parser: what is quoted stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from creditree.report.document import (
    Block,
    Bullets,
    Callout,
    Code,
    Details,
    Heading,
    Paragraph,
    Rows,
    to_html,
    to_markdown,
)
from creditree.report.wording import markdown_bullets, markdown_line, markdown_table, markdown_text

READER = MarkdownIt("commonmark").enable("table")
HOSTILE = [
    "![](http://elsewhere.example/x.png)",
    "[press](javascript:alert(1))",
    "<img src=x onerror=y>",
    "# Result: much better",
    "a\n===\nb",
    "> quoted",
    "- item",
    "`code` ![a](b)",
    "\\![a](b)",
    "&#91;a](b) &lt;b&gt;",
    "*strong* **stronger**",
    "![a][b]\n\n[b]: http://elsewhere.example/y.png",
    "a | b | ![c](d)",
    "```\n<script>",
]


def kinds(markdown: str) -> list[str]:
    """Return the kinds of everything that a reader finds, inline parts too."""
    found = []
    for token in READER.parse(markdown):
        found += [token.type, *(child.type for child in token.children or ())]
    return found


def words(markdown: str) -> str:
    return "".join(
        child.content for token in READER.parse(markdown) for child in token.children or () if child.type == "text"
    )


ACTIVE = {"image", "link_open", "html_inline", "html_block", "em_open", "strong_open", "code_inline", "hr", "fence"}


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_elsewhere_stays_text(text: str) -> None:
    for written in (markdown_text(text), markdown_line(text), markdown_bullets([text, text])):
        assert not ACTIVE & set(kinds(written)), written
        assert "heading_open" not in kinds(written)
        assert "blockquote_open" not in kinds(written)
    assert kinds(markdown_bullets([text, text])).count("list_item_open") == 2
    assert "list_item_open" not in kinds(markdown_line(text))
    assert words(markdown_line(text)) == " ".join(text.split())
    table = markdown_table((text, "b"), [(text, text)])
    assert kinds(table).count("td_open") == 2
    assert not ACTIVE & set(kinds(table)), table
    line = " ".join(text.split())
    assert words(table) == f"{line}b{line}{line}"


@given(st.text())
def test_any_line_reads_as_itself(text: str) -> None:
    written = markdown_line(text)
    assert not (ACTIVE - {"em_open", "strong_open"}) & set(kinds(written))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_document_has_no_more_parts_than_were_written(text: str) -> None:
    blocks: list[Block] = [
        Heading(text),
        Paragraph(text),
        Callout(text),
        Bullets((text,)),
        Rows((text,), ((text,),)),
        Code(text),
        Details(text, (Paragraph(text),)),
    ]
    found = kinds(to_markdown(blocks))
    assert not {"image", "link_open", "html_inline", "html_block", "hr"} & set(found)
    assert [found.count(kind) for kind in ("heading_open", "blockquote_open", "fence", "list_item_open")] == [1] * 4


def test_no_control_character_reaches_a_report() -> None:
    blocks: list[Block] = [
        Heading("\x1b[2J\u202e"),
        Code("\x07\x9b"),
        Rows(("\ud800",), (("\x1b",),)),
        Paragraph("\x00"),
    ]
    for written in (to_markdown(blocks), to_html("\x1b", blocks)):
        assert not set("\x1b\u202e\x07\x9b\ud800\x00") & set(written)
        written.encode()
