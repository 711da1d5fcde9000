"""The number of problems to draw next: golden numbers, fixed points, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.schedule import next_batch_size


def test_golden_of_the_authors_code() -> None:
    # 64 problems, 1440 of 1920 rows: floor(64 * 4/3 = 85.33) = 85; .9 * 64 + .1 * 85 = 66.1, up.
    assert next_batch_size(64, 1440, 1920) == 67
    # 100 problems, 2000 rows: 96; 90 + 9.6 = 99.6, up.
    assert next_batch_size(100, 2000, 1920) == 100


def test_golden_as_printed() -> None:
    # 57.6 + .1 * 85.33 = 66.13. 90 + 9.6 = 99.6. 64 with 1280 rows: 57.6 + 9.6 = 67.2.
    assert next_batch_size(64, 1440, 1920, rounding="round") == 66
    assert next_batch_size(100, 2000, 1920, rounding="round") == 100
    assert next_batch_size(64, 1280, 1920, rounding="round") == 67
    assert next_batch_size(64, 1280, 1920) == 68


@pytest.mark.parametrize("rounding", ["ceil", "round"])
@pytest.mark.parametrize("decay", [0.9, 0.7, 0.35, 0.1])
def test_as_many_rows_as_wanted_change_nothing(rounding: str, decay: float) -> None:
    # .7 * 3 + .3 * 3 is more than 3 in binary for some numbers: rounding up must not see that.
    for b in range(1, 2000):
        assert next_batch_size(b, b * 30, b * 30, decay=decay, rounding=rounding) == b  # type: ignore[arg-type]


def test_small_steps_are_lost_to_rounding() -> None:
    # A tenth of what is missing: less than 1 problem down is rounded up again, less than 1/2 to the nearest stays.
    assert next_batch_size(9, 10_000, 270) == 9
    assert next_batch_size(9, 10_000, 270, decay=0.5) == 5
    assert [next_batch_size(b, 10_000, 100, rounding="round") for b in (9, 6, 5)] == [8, 5, 5]


@pytest.mark.parametrize("share", [0.75, 0.6, 0.45, 0.3])
def test_it_settles_where_the_share_left_over_makes_up_the_target(share: float) -> None:
    problems, path = 64, [64]
    for _ in range(60):
        problems = next_batch_size(problems, int(30 * problems * share), 64 * 30)
        path.append(problems)
    assert problems == pytest.approx(64 / share, abs=2)
    assert path == sorted(path)


@given(st.integers(1, 500), st.integers(0, 20_000), st.integers(1, 100), st.integers(100, 400), st.floats(0, 1))
def test_bounds_hold_even_without_a_single_row(problems: int, rows: int, least: int, most: int, decay: float) -> None:
    assert least <= next_batch_size(problems, rows, 1920, decay=decay, least=least, most=most) <= most
    assert next_batch_size(problems, 0, 1920, most=most, decay=0.5) == min(problems, most)  # no ratio: B stays
