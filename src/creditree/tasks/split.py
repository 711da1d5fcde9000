"""Which problems are held out: decided by a hash of the problem itself, the same for every run, seed and machine."""

from hashlib import blake2b
from typing import Literal

Split = Literal["validation", "test"]
Slice = Literal["training", "validation", "test"]

HELD_OUT_SHARE = 0.1
"""Share of a generated task's problems in each held-out split."""


def order_of(identity: str) -> float:
    """Return where the problem with this identity stands in a fixed random order: uniform on [0, 1)."""
    digest = blake2b(identity.encode(), digest_size=8, person=b"creditree split").digest()
    return int.from_bytes(digest, "big") / 2**64


def slice_of(identity: str, validation: float = HELD_OUT_SHARE, test: float = HELD_OUT_SHARE) -> Slice:
    """Return the slice that the problem with this identity belongs to.

    The test split comes first in the fixed order, then validation, then training: a larger validation share never
    moves a problem into or out of the test split.
    """
    position = order_of(identity)
    if position < test:
        return "test"
    return "validation" if position < test + validation else "training"
