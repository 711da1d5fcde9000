"""The wire format on forests small enough to draw."""

import numpy as np
import pytest

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.fields import TokenField
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.everything import Everything
from creditree.tree import Forest
from tests.forests import KEY, branch, flat, root


def _gains(forest: Forest) -> tuple[TokenField, ...]:
    return tuple(PrefixGain().assign(tree) for tree in forest)


@pytest.fixture
def batch() -> Batch:
    """Return the T-SPMO batch of 2 3 1 (R 1), 2 4 1 (R 0), 2 3 1 (R 1) after the prompt 7 8 9.

    Only 7 8 9 2 is forwarded: both pairs, 3 and 4, follow the prefix 2. V(2) = 2/3: A = 1/3, -2/3; weights 1/2.
    """
    forest = (flat([[2, 3, 1], [2, 4, 1], [2, 3, 1]], [1.0, 0.0, 1.0]),)
    weights = BranchingPairs().weigh(forest, _gains(forest), KEY)
    return pack([forest], [_gains(forest)], [weights], keep_zero_advantage=False)


def test_golden_skeleton(batch: Batch) -> None:
    assert batch.token_ids.tolist() == [7, 8, 9, 2]
    assert batch.position.tolist() == [0, 1, 2, 3]
    assert batch.enter.tolist() == [0, 1, 2, 3]
    assert batch.exit.tolist() == [4, 4, 4, 4]
    assert batch.num_tokens == 4


def test_golden_terms(batch: Batch) -> None:
    assert batch.row.tolist() == [3, 3]
    assert batch.token.tolist() == [3, 4]
    assert batch.advantage == pytest.approx([1 / 3, -2 / 3], abs=1e-15)
    assert batch.weight.tolist() == [0.5, 0.5]
    # The builder gives token v at offset t the log-probability -0.1 (v + 1) - 0.01 t.
    assert batch.old_logprob == pytest.approx([-0.41, -0.51], abs=1e-15)
    assert batch.num_terms == 2


def test_the_first_token_is_predicted_by_the_last_of_the_prompt() -> None:
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    batch = pack(
        [forest], [_gains(forest)], [Everything().weigh(forest, _gains(forest), KEY)], keep_zero_advantage=False
    )
    # Gains: 1/2 and -1/2 at the first tokens, 0 at EOS.
    assert batch.token_ids.tolist() == [7, 8, 9]
    assert batch.row.tolist() == [2, 2]
    assert batch.token.tolist() == [2, 3]


def test_zero_advantages_are_terms_only_where_a_penalty_wants_them() -> None:
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    weights = Everything().weigh(forest, _gains(forest), KEY)
    batch = pack([forest], [_gains(forest)], [weights], keep_zero_advantage=True)
    assert batch.token_ids.tolist() == [7, 8, 9, 2, 3]
    assert batch.position.tolist() == [0, 1, 2, 3, 3]
    assert batch.exit.tolist() == [5, 5, 5, 4, 5]
    assert batch.row.tolist() == [2, 3, 2, 4]
    assert batch.token.tolist() == [2, 1, 3, 1]
    assert batch.advantage.tolist() == [0.5, 0.0, -0.5, 0.0]


def test_what_is_not_a_number_is_a_term() -> None:
    """Left out it would look like an advantage of 0; as a term it makes the loss NaN, which every learner reports."""
    fields = ((np.array([np.nan, 0.0]), np.array([0.0, 0.5])),)
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    batch = pack([forest], [fields], [((np.ones(2), np.ones(2)),)], keep_zero_advantage=False)
    assert batch.advantage.tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)
    assert batch.restricted(np.isnan(batch.advantage)).has_signal


def test_tokens_of_a_replay_tree_stand_behind_the_kept_ones() -> None:
    # Kept 4 5; the pair (kept | 2) and (kept | 3) is predicted by token 5 at position 4.
    forest = (flat([[4, 5, 1], [4, 5, 1]], [1.0, 1.0]), flat([[2, 1], [3, 1]], [1.0, 0.0], kept=[4, 5]))
    weights = BranchingPairs().weigh(forest, _gains(forest), KEY)
    batch = pack([forest], [_gains(forest)], [weights], keep_zero_advantage=False)
    assert batch.token_ids.tolist() == [7, 8, 9, 4, 5]
    assert batch.row.tolist() == [4, 4]
    assert batch.token.tolist() == [2, 3]


def test_trees_of_one_problem_share_the_tokens_that_coincide() -> None:
    forest = (flat([[4, 2, 1], [4, 3, 1]], [1.0, 0.0]), flat([[2, 2, 1], [2, 3, 1]], [1.0, 0.0], kept=[4]))
    weights = BranchingPairs().weigh(forest, _gains(forest), KEY)
    batch = pack([forest], [_gains(forest)], [weights], keep_zero_advantage=False)
    # First tree: pairs after 4; second: pairs after 4 2. One path serves both.
    assert batch.token_ids.tolist() == [7, 8, 9, 4, 2]
    assert batch.row.tolist() == [3, 3, 4, 4]


def test_problems_are_averaged_and_do_not_see_each_other() -> None:
    forests = [
        (flat([[2, 1], [3, 1]], [1.0, 0.0], prompt=(7,)),),
        (flat([[2, 1], [3, 1]], [1.0, 0.0], prompt=(7, 8)),),
    ]
    fields = [_gains(forest) for forest in forests]
    weights = [BranchingPairs().weigh(f, a, KEY) for f, a in zip(forests, fields, strict=True)]
    batch = pack(forests, fields, weights, keep_zero_advantage=False)
    assert batch.token_ids.tolist() == [7, 7, 8]
    assert batch.position.tolist() == [0, 0, 1]
    assert batch.exit.tolist() == [1, 3, 3]
    assert batch.row.tolist() == [0, 0, 2, 2]
    # |U| = 2 in each problem, two problems: 1/2 * 1/2.
    assert batch.weight.tolist() == [0.25] * 4


def test_a_problem_without_signal_still_counts_in_the_mean() -> None:
    forests = [(flat([[2, 1], [3, 1]], [1.0, 0.0]),), (flat([[2, 1], [3, 1]], [1.0, 1.0]),)]
    fields = [_gains(forest) for forest in forests]
    weights = [BranchingPairs().weigh(f, a, KEY) for f, a in zip(forests, fields, strict=True)]
    batch = pack(forests, fields, weights, keep_zero_advantage=False)
    assert batch.weight.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("rewards", [[1.0, 1.0], [0.0, 0.0], [0.1, 0.1], [None, None], [1.0, None]])
def test_without_signal_the_batch_is_empty(rewards: list[float | None]) -> None:
    forest = (flat([[2, 1], [3, 1]], rewards),)
    for credit in (PrefixGain(), GroupRelative()):
        field = (credit.assign(forest[0]),)
        batch = pack([forest], [field], [Everything().weigh(forest, field, KEY)], keep_zero_advantage=False)
        assert batch.num_tokens == batch.num_terms == 0
        assert all(column.dtype == np.int64 for column in (batch.token_ids, batch.exit, batch.row, batch.token))


def test_failed_completions_are_not_forwarded() -> None:
    forest = (flat([[2, 1], [5, 6, 1], [3, 1]], [1.0, None, 0.0]),)
    field = (GroupRelative().assign(forest[0]),)
    batch = pack([forest], [field], [Everything().weigh(forest, field, KEY)], keep_zero_advantage=True)
    assert not np.isin([5, 6], batch.token_ids).any()
    assert not np.isin([5, 6], batch.token).any()


def test_a_branch_that_forks_predicts_its_first_token_from_what_it_inherits() -> None:
    # 2 3 1 (R 1) and, after its first token, 4 1 (R 0); pairs after 2.
    forest = (root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.0, 0, 1)),)
    weights = BranchingPairs().weigh(forest, _gains(forest), KEY)
    batch = pack([forest], [_gains(forest)], [weights], keep_zero_advantage=False)
    assert batch.token_ids.tolist() == [7, 8, 9, 2]
    assert batch.row.tolist() == [3, 3]
    assert batch.token.tolist() == [3, 4]


def test_forests_and_fields_must_be_as_many() -> None:
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    with pytest.raises(ValueError, match="zip"):
        pack([forest], [], [_gains(forest)], keep_zero_advantage=False)
