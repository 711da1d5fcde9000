"""A toy problem with exact arithmetic: three binary tokens, then EOS; only the second token decides the reward.

The group is all eight completions, so every mean is the exact expectation under a uniform policy.
"""

from itertools import product

import numpy as np
import pytest

from creditree.batch import Batch, pack
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from tests.forests import EOS, KEY, PROMPT, flat

LOSE, WIN = 2, 3
COMPLETIONS = [(*choices, EOS) for choices in product((LOSE, WIN), repeat=3)]
FOREST = (flat(COMPLETIONS, [float(completion[1] == WIN) for completion in COMPLETIONS]),)
DECISIVE = 1


def _batch(credit: Credit, select: Selection) -> Batch:
    advantages = tuple(credit.assign(tree) for tree in FOREST)
    return pack([FOREST], [advantages], [select.weigh(FOREST, advantages, KEY)], keep_zero_advantage=False)


def _push(batch: Batch) -> list[float]:
    """Return the sum of |weight * advantage| at each of the four completion positions."""
    at = batch.position[batch.row] - (len(PROMPT) - 1)
    push = np.abs(batch.weight * batch.advantage)
    return [float(push[at == position].sum()) for position in range(4)]


def test_t_spmo_credits_the_decisive_token_alone() -> None:
    batch = _batch(PrefixGain(), BranchingPairs())
    # V() = V(first) = 1/2, V(first WIN) = 1, V(first LOSE) = 0: gains 1/2 and -1/2 after each of two first tokens.
    assert sorted(zip(batch.token.tolist(), batch.advantage.tolist(), strict=True)) == [
        (LOSE, -0.5),
        (LOSE, -0.5),
        (WIN, 0.5),
        (WIN, 0.5),
    ]
    # Pairs at branching prefixes: 2 at (), 4 after one token, 8 after two; EOS never branches. |U| = 14.
    assert batch.weight.tolist() == [1 / 14] * 4
    # 4 terms of 1/14 * 1/2, all at the decisive position.
    assert _push(batch) == pytest.approx([0.0, 1 / 7, 0.0, 0.0], abs=1e-15)
    # Forwarded: the prompt and the two first tokens.
    assert batch.token_ids.tolist() == [*PROMPT, LOSE, WIN]


def test_grpo_spreads_the_credit_evenly() -> None:
    push = _push(_batch(GroupRelative(std=False), Everything()))
    # |A| = 1/2 on each of 4 tokens of 8 completions, weight 1/(8*4): a quarter of the whole push of 1/2 a position.
    assert push == pytest.approx([1 / 8] * 4, abs=1e-15)


def test_grpo_punishes_the_right_steps_of_a_wrong_completion() -> None:
    batch = _batch(GroupRelative(), Everything())
    # Unbiased variance of four 1 and four 0: 8/4/7 = 2/7, std 0.534522; |A| = 0.5/(0.534522 + 0.0001) = 0.9352394.
    assert np.abs(batch.advantage) == pytest.approx([0.9352394] * 32, abs=1e-7)
    wrong = batch.advantage[batch.position[batch.row] == len(PROMPT) - 1] < 0
    assert wrong.sum() == 4


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # The first alpha tokens only, each with weight 1/(8 alpha): |A| = 1/2 spread over alpha positions.
        (EarlyAndRandom(alpha=1, k=0), [1 / 2, 0, 0, 0]),
        (EarlyAndRandom(alpha=2, k=0), [1 / 4, 1 / 4, 0, 0]),
        (EarlyAndRandom(alpha=1, probability=1.0, k=3), [1 / 6, 1 / 6, 1 / 6, 0]),
        (EarlyAndRandom(alpha=4, k=0), [1 / 8, 1 / 8, 1 / 8, 1 / 8]),
    ],
)
def test_s_grpo_spreads_it_over_whatever_it_selects(select: EarlyAndRandom, expected: list[float]) -> None:
    assert _push(_batch(GroupRelative(std=False), select)) == pytest.approx(expected, abs=1e-15)


def test_s_grpo_with_random_tokens_never_singles_out_the_decisive_one() -> None:
    push = _push(_batch(GroupRelative(std=False), EarlyAndRandom(alpha=1, probability=0.5, k=3)))
    # The early token is in every T_i, the decisive one in about half of them.
    assert push[0] > push[DECISIVE] > 0
    assert sum(push) == pytest.approx(0.5, abs=1e-15)


def test_prefix_gain_on_all_tokens_still_credits_the_decisive_one_alone() -> None:
    # |A| = 1/2 in 8 completions, weight 1/(8*4).
    assert _push(_batch(PrefixGain(), Everything())) == pytest.approx([0.0, 1 / 8, 0.0, 0.0], abs=1e-15)
