"""A crew of N makes the updates of one process: float64, 1e-10, every named method."""

from dataclasses import replace

import numpy as np
import pytest

from creditree.credit.reinforce_pp import ReinforcePP
from creditree.methods import METHODS
from creditree.schedule.fixed import Fixed
from tests.scaled import matrices, small, trained

CASES = {name: small(name) for name in METHODS} | {
    "reinforce_pp": replace(small("grpo"), name="reinforce_pp", credit=ReinforcePP()),
    "deepscaler": replace(small("deepscaler"), schedule=Fixed(stages=((0, 6), (1, 10)))),
}
ONES = ("t-spmo", "attnrl", "reinforce_pp")
"""What `make test` is content with: unique pairs and replays, the pipeline with its filters, a batch-wide credit."""
SOME = [
    pytest.param(name, size, marks=() if name in ONES and size == 2 else pytest.mark.thorough, id=f"{name}-{size}")
    for name in CASES
    for size in (1, 2, 4)
]


@pytest.mark.parametrize(("name", "size"), SOME)
def test_a_crew_makes_the_updates_of_one_process(name: str, size: int) -> None:
    alone, said = trained(CASES[name], None)
    assert alone.state.ledger.updates > 0
    crewed, also = trained(CASES[name], size)
    assert also == said
    for own, other in zip(matrices(crewed), matrices(alone), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-10)
