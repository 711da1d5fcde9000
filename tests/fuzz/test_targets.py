"""Every parser on its valid inputs, on what fuzzing found, and on damage that is drawn (anew with `make fuzz`)."""

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditree.errors import DataError
from tests.fuzz.oracle import BrokenError, law, refusing
from tests.fuzz.targets import FOUND, SEEDS, TARGETS
from tests.malformed.mutations import BYTES

NAMES = sorted(TARGETS)
EACH = st.tuples(st.integers(0, 2**32), st.integers(0, 100), st.lists(st.sampled_from(sorted(BYTES)), max_size=4))


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= set(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_valid_inputs_and_what_was_found_once(name: str) -> None:
    for data in (*SEEDS[name], *(path.read_bytes() for path in sorted((FOUND / name).glob("*")))):
        TARGETS[name](data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(EACH)
def test_damaged_inputs(name: str, drawn: tuple[int, int, list[str]]) -> None:
    _damaged(name, drawn)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(EACH)
def test_more_damaged_inputs(name: str, drawn: tuple[int, int, list[str]]) -> None:
    _damaged(name, drawn)


def _damaged(name: str, drawn: tuple[int, int, list[str]]) -> None:
    seed, place, kinds = drawn
    draw, data = random.Random(seed), SEEDS[name][place % len(SEEDS[name])]
    for kind in kinds:
        data = BYTES[kind](data, draw)
    TARGETS[name](data)


def test_nothing_is_drawn_anew_but_where_that_is_asked_for() -> None:
    assert settings().derandomize == (os.environ.get("HYPOTHESIS_PROFILE") != "explore")
    assert settings().deadline is None


def test_a_law_that_is_broken_is_seen() -> None:
    with pytest.raises(BrokenError, match="no sentence"), refusing():
        raise DataError("no")
    with pytest.raises(KeyError), refusing(ValueError):
        raise KeyError("x")
    with pytest.raises(BrokenError):
        law(False, "x")
