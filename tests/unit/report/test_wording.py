import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.engines.engine import Sampling
from creditree.evaluate.statistics import Interval
from creditree.report.wording import (
    count,
    duration,
    markdown_table,
    p_value,
    percent_interval,
    phases,
    points,
    points_interval,
    ratio,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (950, "950"), (999.4, "999"), (1000, "1.00 k"), (9_994, "9.99 k"), (9_996, "10.0 k"),
        (12_345, "12.3 k"), (123_456, "123 k"), (999_949, "1000 k"), (999_951, "1.00 M"), (4_567_000, "4.57 M"),
        (2e9, "2.00 G"), (5e12, "5000 G"),
    ],
)  # fmt: skip
def test_count(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (185.4, "3 min 05 s"), (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"), (7600, "2 h 07 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_duration_never_shows_sixty(seconds: float) -> None:
    assert "60" not in duration(seconds).replace("h", "min").split(" ")[2::2]
    assert not duration(seconds).startswith("60.0")


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "p = 1.000"), (0.0312, "p = 0.031"), (0.000999, "p = 1e-03"), (4.2e-7, "p = 4e-07"),
        (1e-11, "p < 1e-10"), (0, "p < 1e-10"),
    ],
)  # fmt: skip
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text


def test_percent_and_points() -> None:
    assert percent_interval(0.058, Interval(0.0412, 0.0819)) == "5.8 (4.1, 8.2)"
    assert points_interval(0.812, Interval(-0.0004, 1.0)) == "+81.2 (0.0, +100.0)"
    assert [points(d) for d in (-0.003, 0.0, 0.0004, -0.0004)] == ["-0.3", "0.0", "0.0", "0.0"]


def test_ratio_says_how_many_fewer() -> None:
    assert ratio(280, 1000) == "28 %, 3.6x fewer"
    assert ratio(11, 1000) == "1.1 %, 90.9x fewer"
    assert ratio(1200, 1000) == "120 %, 1.2x as many"
    assert ratio(0, 1000) == ratio(5, 0) == ratio(7, 7) == ""


def test_names_phases_and_tables() -> None:
    assert [Sampling(t).name for t in (0.0, 0.3, 1.0)] == ["greedy", "T=0.3", "T=1"]
    assert phases({"learn": 1.0, "sample": 70.0}) == "sample 1 min 10 s, learn 1.0 s"
    assert markdown_table(("a", "b"), [("1|2", "")]) == "| a | b |\n| --- | --- |\n| 1\\|2 |  |\n"
