"""The hash that holds problems out."""

from hypothesis import given
from hypothesis import strategies as st

from creditree.tasks.split import order_of, slice_of

SHARES = st.floats(0, 0.5)


def test_the_hash_never_changes() -> None:
    # Another hash would move problems that the built-in models were trained on into the test split.
    assert [slice_of(f"{a}*{a + 1}") for a in range(2, 12)] == SLICES


SLICES = [
    "validation",
    "training",
    "test",
    "training",
    "training",
    "training",
    "training",
    "test",
    "training",
    "training",
]


@given(st.text(), SHARES, SHARES)
def test_slices_are_cut_from_one_fixed_order(identity: str, validation: float, test: float) -> None:
    position = order_of(identity)
    assert 0 <= position < 1
    expected = "test" if position < test else "validation" if position < test + validation else "training"
    assert slice_of(identity, validation, test) == expected


@given(st.text(), SHARES, SHARES, SHARES)
def test_a_larger_validation_share_leaves_the_test_split_alone(
    identity: str, one: float, two: float, test: float
) -> None:
    assert (slice_of(identity, one, test) == "test") == (slice_of(identity, two, test) == "test")


def test_shares_are_kept() -> None:
    slices = [slice_of(str(number)) for number in range(10_000)]
    assert 900 < slices.count("test") < 1100
    assert 900 < slices.count("validation") < 1100
