"""What is shown of other people's text: nothing that steers a terminal, and not too much of it."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import did_you_mean
from creditree.text import MESSAGE, json_escaped, one_line, printable, shortened, shown

ANY = st.text(st.characters(categories=None, exclude_categories=()))  # lone surrogates too


def steers(text: str) -> bool:
    """Return whether a text holds anything that printing must not let through."""
    bidi = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    return any(
        (unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t")
        or unicodedata.bidirectional(one) in bidi
        or one in "\u200e\u200f\u061c"
        for one in text
    )


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("a\rb\x7f\x9b2J", "a\\x0db\\x7f\\x9b2J"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("half \ud83d", "half \\ud83d"),
        ("naïve 答案 😀", "naïve 答案 😀"),
    ],
)
def test_what_steers_a_terminal_is_an_escape(text: str, seen: str) -> None:
    assert printable(text) == seen


@given(ANY)
def test_nothing_printable_steers_and_every_stream_can_write_it(text: str) -> None:
    assert not steers(printable(text))
    printable(text).encode()
    assert printable(printable(text)) == printable(text)


@given(ANY)
def test_a_message_is_one_short_printable_line(text: str) -> None:
    line = one_line(text * 50)
    assert len(line) <= MESSAGE
    assert len(line.splitlines()) <= 1
    assert not steers(line)


@given(ANY)
def test_json_keeps_its_value(text: str) -> None:
    written = json_escaped(json.dumps({text: [text]}, ensure_ascii=False, indent=1))
    assert json.loads(written) == {text: [text]}
    assert not steers(written)


def test_what_is_too_long_loses_its_middle() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("0123456789abcdefghij", 11) == "012345...ij"  # 8 of 11 are kept: 6 before, 2 after
    assert shortened("abcdef", 3) == "..."


def test_a_value_is_short_whatever_it_holds() -> None:
    assert shown("x") == "'x'"
    assert shown(10**5000) == "an integer of about 5,001 digits"
    assert len(shown(10**900)) <= 120
    nested: object = "x"
    for _ in range(80):
        nested = [nested, nested]  # 2^80 letters if they were written out
    assert len(shown(nested)) <= 120
    assert len(shown({"a" * 10_000: "b" * 10_000})) <= 120


def test_names_from_a_file_do_not_fill_the_terminal() -> None:
    assert did_you_mean("x" * 10**6, ["question"]) == " Known: question."
    said = did_you_mean("zzz", [f"column-{number}-{'y' * 500}" for number in range(5000)])
    assert len(said) < 4000
    assert said.endswith("and 4960 more.")
