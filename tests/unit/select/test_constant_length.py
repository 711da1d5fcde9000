"""Dr. GRPO's normaliser: a constant, where `everything` divides by each completion's own length."""

import numpy as np
import pytest

from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.select.constant_length import ConstantLength
from creditree.select.everything import Everything
from tests.forests import KEY, assigned, branch, flat, root


def test_golden_weights() -> None:
    # G = 2, T = 5: 1 / 10 for every token, of long and short completions alike
    tree = flat([[2, 3, 4, 1], [1]], [1.0, 0.0])
    weights = ConstantLength(5).weigh((tree,), (GroupRelative().assign(tree),), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.1] * 4, [0.1]]


def test_a_token_that_two_share_has_the_weight_of_both() -> None:
    tree = root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.0, 0, 1))
    weights = ConstantLength(5).weigh((tree,), (GroupRelative().assign(tree),), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.2, 0.1, 0.1], [0.1, 0.1]]


def test_where_all_have_the_constant_length_it_is_everything_to_the_bit() -> None:
    tree = flat([[2, 3, 1], [3, 3, 1], [4, 2, 1]], [1.0, 0.0, 0.5])
    field = (GroupRelative().assign(tree),)
    pairs = zip(
        ConstantLength(3).weigh((tree,), field, KEY)[0], Everything().weigh((tree,), field, KEY)[0], strict=True
    )
    assert all(np.array_equal(assigned(ours), assigned(theirs)) for ours, theirs in pairs)


def test_no_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.normal_length is 0: set 1 or more\."):
        ConstantLength(0)
