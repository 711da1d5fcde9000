"""The ledger adds up."""

import pytest

from creditree.ledger import Ledger, Seconds


def test_add_sums_every_count() -> None:
    names = list(Ledger().as_dict())
    first = Ledger(*range(1, len(names) + 1))
    total = Ledger()
    total.add(first)
    total.add(first)
    assert total.as_dict() == {name: 2 * (index + 1) for index, name in enumerate(names)}
    assert first.as_dict() == {name: index + 1 for index, name in enumerate(names)}


def test_seconds_add_up_by_phase() -> None:
    seconds = Seconds()
    with seconds.phase("learn"):
        pass
    once = seconds.wall["learn"]
    with seconds.phase("learn"):
        pass
    assert 0.0 <= once <= seconds.wall["learn"]
    assert set(seconds.wall) == set(seconds.cpu) == {"learn"}


def _fail(seconds: Seconds) -> None:
    with seconds.phase("sample"):
        raise KeyError("x")


def test_a_phase_that_raises_is_counted() -> None:
    seconds = Seconds()
    with pytest.raises(KeyError):
        _fail(seconds)
    assert set(seconds.wall) == {"sample"}
