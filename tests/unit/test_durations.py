"""Stretches of time in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.units import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("90s", 90),
        ("90 s", 90),
        ("2h", 7200),
        ("1h30m", 5400),  # 3600 + 1800
        (" 1H 30 Min ", 5400),
        ("1.5h", 5400),
        (".5m", 30),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(hours=st.integers(0, 50), minutes=st.integers(0, 500), seconds=st.integers(1, 500))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h {minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30", "write numbers with a unit each, such as 30m"),
        ("", "write numbers with a unit each"),
        ("soon", "write numbers with a unit each"),
        ("-5m", "write numbers with a unit each"),
        ("1h,30m", "write numbers with a unit each"),
        ("1 0m", "write numbers with a unit each"),
        ("5m 30", "write numbers with a unit each"),
        ("2 hours", "'hours' is no unit"),
        ("1e3s", "'e' is no unit"),
        ("0s", "it must be above 0"),
    ],
)
def test_what_is_none_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_duration(text)
    assert "\n" not in str(error.value)
