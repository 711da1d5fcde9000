import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from creditree.errors import RunError
from creditree.report.curves import Series, average, plot_curves

X = np.arange(5.0)
SEEDS = Series("t-spmo", [(X, X), (X, X + 1.0), (X, X + 5.0)])


def test_mean_and_bands_on_one_grid() -> None:
    # At each x: x, x + 1, x + 5. Mean x + 2; sample variance (4 + 1 + 9) / 2 = 7.
    found = average(SEEDS)
    np.testing.assert_allclose(found.mean, X + 2)
    np.testing.assert_array_equal((found.low, found.high), (X, X + 5))
    deviation = average(SEEDS, "sd")
    np.testing.assert_allclose(deviation.high - deviation.mean, np.sqrt(7))
    np.testing.assert_allclose(deviation.mean - deviation.low, np.sqrt(7))


def test_seeds_on_other_grids_are_read_between_their_points_where_all_have_some() -> None:
    found = average(
        Series(
            "a", [(np.array([0.0, 4.0]), np.array([0.0, 4.0])), (np.array([1.0, 3.0, 9.0]), np.array([2.0, 2.0, 8.0]))]
        )
    )
    # In common: 1 .. 4. Line one is y = x; line two is 2, 2, then 2 + (x - 3).
    np.testing.assert_allclose(found.x, [1, 3, 4])
    np.testing.assert_allclose(found.mean, [1.5, 2.5, 3.5])
    np.testing.assert_allclose(found.low, [1, 2, 3])
    np.testing.assert_allclose(found.high, [2, 3, 4])


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_one_seed_is_itself_without_a_band(values: list[float]) -> None:
    x, y = np.arange(len(values), dtype=float), np.array(values)
    for band in ("range", "sd"):
        found = average(Series("a", [(x, y)]), band)
        np.testing.assert_array_equal((found.mean, found.low, found.high), (y, y, y))


def test_points_are_sorted_cleaned_and_of_equals_the_last_is_taken() -> None:
    x = np.array([2.0, 1.0, 1.0, 3.0, np.nan])
    y = np.array([20.0, 9.0, 10.0, np.nan, 1.0])
    found = average(Series("a", [(x, y)]))
    np.testing.assert_array_equal((found.x, found.mean), ([1, 2], [10, 20]))


@pytest.mark.parametrize(
    ("points", "cause"),
    [
        ([], "series 'a' has no runs"),
        ([(X, X), (X + 10, X)], "have no stretch in common"),
        ([(X, X * np.nan)], "a run without points"),
        ([(X, X[:2])], r"x of shape \(5,\) and y of shape \(2,\)"),
    ],
)
def test_what_cannot_be_averaged_is_named(points: list[tuple[np.ndarray, np.ndarray]], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        average(Series("a", points))


def chunks(data: bytes) -> set[bytes]:
    names, at = set(), 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        names.add(data[at + 4 : at + 8])
        at += 12 + length
    return names


def test_the_picture_is_repeatable_and_undated(tmp_path: Path) -> None:
    series = [SEEDS, Series("grpo", [(X, X * 0.5)])]
    for name in ("a.png", "b.png"):
        plot_curves(series, tmp_path / name, "tokens", "accuracy", "title", y_range=(0, 10))
    one, two = (tmp_path / "a.png").read_bytes(), (tmp_path / "b.png").read_bytes()
    assert one == two
    assert chunks(one) == {b"IHDR", b"IDAT", b"IEND", b"pHYs"}


def test_the_picture_has_the_lines_and_the_band_in_their_colours(tmp_path: Path) -> None:
    plot_curves([SEEDS, Series("grpo", [(X, X * 0.5)])], tmp_path / "a.png", "x", "y", "t")
    pixels = np.round(imread(tmp_path / "a.png")[:, :, :3] * 255).astype(int).reshape(-1, 3)

    def share(colour: tuple[int, int, int]) -> float:
        return float(np.mean(np.abs(pixels - colour).max(axis=1) <= 2))

    # Blue #0072B2 and vermilion #D55E00; the band is blue at 18 % on white: 255 - .18 * (255 - c) = (209, 230, 241).
    assert share((0, 0x72, 0xB2)) > 0.002
    assert share((0xD5, 0x5E, 0)) > 0.002
    assert share((209, 230, 241)) > 0.03


def test_many_series_stay_apart(tmp_path: Path) -> None:
    many = [Series(f"method {number}", [(X, X + number)]) for number in range(15)]
    plot_curves(many, tmp_path / "a.png", "x", "y", "t")
    assert imread(tmp_path / "a.png").shape == (660, 1080, 4)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to plot"):
        plot_curves([], tmp_path / "a.png", "x", "y", "t")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot write"):
        plot_curves([SEEDS], tmp_path / "file" / "a.png", "x", "y", "t")
