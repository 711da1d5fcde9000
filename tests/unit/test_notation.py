"""YAML as people write it: values, or a refusal that says where and why."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.notation import MOST_NODES, NotationError, read_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 2.5, true, null]", {"a": 1, "b": ["x", 2.5, True, None]}),
        ("0", 0),
        ("-0.5", -0.5),
        ("0x10", 16),
        ("1_000", 1000),
        ("'1:30'", "1:30"),
        ("x: &a {b: 1}\ny: *a", {"x": {"b": 1}, "y": {"b": 1}}),
        ("", None),
        ("[" * 40 + "]" * 40, [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]),
    ],
)
def test_values(text: str, value: object) -> None:
    assert read_values(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "at line 2: the key 'a' is given twice"),
        ("a: 1\nb: 1:30", "at line 2: '1:30' would be a number to the base 60"),
        ("12:30:45.5", "base 60"),
        ("-017", "base 8"),
        ("n: " + "9" * 6000, "a number of 6,000 characters"),
        ("2026-13-45", "'2026-13-45' is no value of its kind"),
        ("!!int ''", "no value of its kind"),
        ("!!timestamp x", "no value of its kind"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: \x00", "at line 1: it holds the character '\\x00'"),
        ("a: 1\nb: \x1b", "at line 2: it holds the character '\\x1b'"),
        ("[" * 5000, "nested more than 50 levels"),
        ("- " * 5000, "nested more than 50 levels"),
        ("{a: " * 5000, "nested more than 50 levels"),
        ("&a [1, *a]", "an alias stands within what it repeats"),
        ("a: &b {c: {d: *b}}", "an alias stands within what it repeats"),
        ("*nobody", "undefined alias"),
        ("[1, 2", "expected"),
        ("a: 1\n---\nb: 2", "another document"),
        ("x" * 600_000, "600,000 characters"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(NotationError) as refused:
        read_values(text)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 500


def test_aliases_that_unfold_without_end_are_refused_without_unfolding_them() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12)]  # 8^12 values
    with pytest.raises(NotationError, match=f"more than {MOST_NODES:,} values"):
        read_values("\n".join(lines))


@given(st.text())
def test_any_text_is_a_value_or_refused(text: str) -> None:
    with suppress(NotationError):
        read_values(text)
