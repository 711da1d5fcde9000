"""Maps of steps: the cells that count, and the way back from them."""

import numpy as np
import pytest

from creditree.step_attention import StepAttention


def test_cells_are_those_that_count_step_by_step() -> None:
    """A prompt and three steps, delta 2: step 2 counts for the prompt, step 3 for the prompt and step 1."""
    weights = np.zeros((4, 4))
    weights[2, 0], weights[3, :2] = 0.1, (0.2, 0.3)
    made = StepAttention(np.array([4, 6, 9]), 2, weights)
    assert made.cells.tolist() == [0.1, 0.2, 0.3]
    again = StepAttention.of_cells([4, 6, 9], made.cells)
    assert (again.delta, again.ends.tolist()) == (2, [4, 6, 9])
    np.testing.assert_array_equal(again.weights, weights)


@pytest.mark.parametrize("cells", [[], [0.1, 0.2], [0.1] * 15])
def test_what_makes_no_triangle_is_refused(cells: list[float]) -> None:
    with pytest.raises(ValueError, match="attention weights between 3 steps make no triangle"):
        StepAttention.of_cells([4, 6, 9], cells)
