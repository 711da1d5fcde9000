"""What is asked of a worker arrives as it was, and nothing that could run is among it."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.frames import packed, unpacked

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_it_arrives_as_it_was(value: Any) -> None:
    found = unpacked(packed(value))
    assert found == value
    assert repr(found) == repr(value)  # 1, 1.0 and True are equal; a tuple stays one


@pytest.mark.parametrize(
    "value", [{"bytes": "AA=="}, {"tuple": [1]}, {".bytes": 1}, {"": {"bytes": b"\x00"}}, "\ud800", [float("inf")]]
)
def test_what_looks_like_our_own_marks_is_data(value: Any) -> None:
    assert unpacked(packed(value)) == value


def test_numbers_of_numpy_and_views_of_mappings_arrive_as_pythons() -> None:
    columns: Mapping[str, Any] = MappingProxyType({"n": np.int64(3), "x": np.float32(0.5)})
    assert unpacked(packed(columns)) == {"n": 3, "x": 0.5}
    assert math.isnan(unpacked(packed(float("nan"))))


@pytest.mark.parametrize("value", [print, {1: 2}, {2, 3}, object(), [lambda: 1]])
def test_what_is_no_plain_value_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        packed(value)


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        packed(endless)
