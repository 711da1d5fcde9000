from math import log
from typing import Any

import pytest

from creditree.config.space import Between, Drawn, OneOf, drawn, settings
from creditree.errors import ConfigError
from creditree.rng import Key


def test_what_a_key_is_drawn_from() -> None:
    assert drawn([8, 16], "here") == OneOf((8, 16))
    assert drawn([["q_proj"]], "here") == OneOf((["q_proj"],))
    assert drawn({"name": "svamp"}, "here") == OneOf(({"name": "svamp"},))
    assert drawn(3, "here").at(0.99) == 3
    assert drawn({"low": 1, "high": 4}, "here") == Between(1, 4, whole=True)
    assert drawn({"low": 1.0, "high": 4, "scale": "log"}, "here") == Between(1.0, 4, log=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "x is an empty list; write the values to choose from"),
        ({"low": 1}, "x is {'low': 1}; write two numbers"),
        ({"low": 2, "high": 2}, "write two numbers"),
        ({"low": True, "high": 2}, "write two numbers"),
        ({"low": float("nan"), "high": 2}, "write two numbers"),
        ({"low": 1, "high": 2, "scales": "log"}, "x: unknown key 'scales'. Did you mean 'scale'?"),
        ({"low": 1, "high": 2, "scale": "lin"}, "x: scale is 'lin'"),
        ({"low": 0, "high": 2, "scale": "log"}, "x: low is 0, which has no logarithm"),
    ],
)
def test_mistakes_are_sentences(value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        drawn(value, "x")
    assert said in str(found.value)


def test_a_range_has_its_ends_and_its_scale() -> None:
    assert Between(1.0, 100.0, log=True).at(0.5) == pytest.approx(10.0)
    assert Between(1.0, 100.0).at(0.5) == pytest.approx(50.5)
    assert [Between(2, 4, whole=True).at(place) for place in (0.0, 0.34, 0.67, 0.999)] == [2, 3, 4, 4]
    # by the logarithm of [1, 9): 1, 2, 4 and 8 lie at equal places
    assert [Between(1, 8, log=True, whole=True).at(log(n + 0.5) / log(9)) for n in (1, 2, 4, 8)] == [1, 2, 4, 8]
    assert Between(0.00123, 0.5).at(0.0) == 0.00123


def test_settings_cover_each_key_evenly() -> None:
    space: dict[str, Drawn] = {"rate": Between(0.0, 1.0), "group": OneOf((8, 16)), "fixed": OneOf((1,))}
    found = settings(space, 6, Key.of(0))
    # one rate in each sixth of the range, and each group three times
    assert sorted(int(float(str(one["rate"])) * 6) for one in found) == list(range(6))
    assert sorted(str(one["group"]) for one in found) == ["16"] * 3 + ["8"] * 3
    assert found == settings(space, 6, Key.of(0)) != settings(space, 6, Key.of(1))


def test_spaces_that_share_a_key_get_the_same_values_of_it() -> None:
    one = settings({"rate": Between(0.0, 1.0)}, 4, Key.of(3))
    other = settings({"group": OneOf((1, 2, 3, 4)), "rate": Between(0.0, 1.0)}, 4, Key.of(3))
    assert [setting["rate"] for setting in one] == [setting["rate"] for setting in other]


def test_equal_settings_are_there_once() -> None:
    assert settings({"a": OneOf((1, 2)), "b": OneOf((3,))}, 6, Key.of(0)) in (
        [{"a": 1, "b": 3}, {"a": 2, "b": 3}],
        [{"a": 2, "b": 3}, {"a": 1, "b": 3}],
    )
