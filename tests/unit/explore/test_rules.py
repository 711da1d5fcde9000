"""What each rule of branching takes, on trees made by hand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from creditree.credit.process import process_value
from creditree.explore.attention import Attention
from creditree.explore.baselines import FirstSteps, RandomBranching
from creditree.explore.branching import Branching, nodes_below
from creditree.explore.entropy import Entropy
from creditree.problem import Verdict
from creditree.rng import Key
from creditree.steps import Separators
from creditree.tree import Branch, RolloutTree
from tests.forests import KEY, branch, root

SEPARATORS = Separators((frozenset({2}),), think_end=(4, 4), conclusions=frozenset({5}))


def chosen(explorer: Branching, tree: RolloutTree, chain: int = 0, key: Key = KEY) -> list[tuple[int, int]]:
    return explorer.choose(tree, nodes_below(tree)[chain], key)


def surprised(tokens: Sequence[int], surprisal: Sequence[float], parent: int | None = None, fork: int = 0) -> Branch:
    return replace(branch(tokens, 0.0, parent, fork), logprobs=-np.array(surprisal))


def two_branches() -> RolloutTree:
    """Chain 0 of 6 tokens, another of 3, and one branch at 3 of chain 0."""
    return root().grown(
        surprised([3, 3, 3, 3, 3, 1], [9.0, 0.2, 0.5, 0.9, 0.5, 9.0]),
        surprised([3, 3, 1], [9.0, 0.1, 9.0]),
        surprised([6, 3, 3, 1], [9.0, 0.7, 0.5, 9.0], 0, 3),
    )


def test_golden_surprisal_pools_the_branches_of_a_tree() -> None:
    # Open: chain 0 at 1 (.2), 2 (.5), 4 (.5), not 0, 3 (forked), 5 (last); branch 2 at 4 (.7), 5 (.5), not 3, 6.
    tree = two_branches()
    later = Entropy(points=9, first_token=False)
    assert chosen(replace(later, points=1), tree) == [(2, 4)]
    assert chosen(replace(later, points=3), tree) == [(2, 4), (0, 2), (0, 4)]
    assert chosen(later, tree) == [(2, 4), (0, 2), (0, 4), (2, 5), (0, 1)]
    assert chosen(later, tree, 1) == [(1, 1)]


def test_golden_the_first_token_of_a_chain_is_open_once() -> None:
    # Surprisal 9 at offset 0 of chain 0 and at 3 of branch 2, which is its first: only the chain's may be forked.
    tree = two_branches()
    assert chosen(Entropy(points=2), tree) == [(0, 0), (2, 4)]
    # Forked there, the new completion is of chain 0's tree; its own first token, and the chain's, are taken.
    grown = tree.grown(surprised([6, 3, 3], [9.0, 0.8, 9.0], 0, 0))
    assert (grown.branches[3].parent, grown.branches[3].beside, grown.branches[3].is_chain) == (None, 0, False)
    assert chosen(Entropy(points=2), grown) == [(3, 1), (2, 4)]
    assert chosen(Entropy(points=2), grown, 1) == [(1, 0), (1, 1)]
    assert grown.forked == (0, 2, 3)


def test_a_continuation_from_the_first_token_is_trained_on() -> None:
    # Rewards 1, 0, 1, V(root) 2/3: chain 1 is let alone; A = 2 (R - V(root)) of the chain and of its continuation.
    tree = root().grown(
        surprised([3, 1], [9.0, 0.1]), surprised([4, 1], [0.1, 0.1]), surprised([6, 1], [0.1, 0.1], 0, 0)
    )
    judged = tree.judged({0: Verdict(1.0), 1: Verdict(0.0), 2: Verdict(1.0)})
    first, alone, other = process_value(judged)
    assert alone is None
    assert first == pytest.approx([2 / 3, 2 / 3])
    assert other == pytest.approx([2 / 3, 2 / 3])


def test_golden_conclusion_mask_reaches_what_inherits_it() -> None:
    # 5 announces the answer at offset 2 of chain 0: the tokens behind it are masked, it is not. Branch 1 inherits it.
    tree = root().grown(
        surprised([3, 3, 5, 3, 3, 1], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        surprised([3, 3, 1], [0.9, 0.9, 0.9], 0, 4),
    )
    masked = Entropy(points=9, first_token=False, separators=SEPARATORS)
    assert chosen(masked, tree) == [(0, 2), (0, 1)]
    assert chosen(replace(masked, masked=False), tree) == [(1, 5), (0, 3), (0, 2), (0, 1)]


def test_golden_entropy_is_another_number() -> None:
    tree = root().grown(
        replace(surprised([3] * 5, [0.0, 0.9, 0.1, 0.1, 0.0]), entropies=np.array([2.0, 0.1, 0.3, 0.8, 2.0]))
    )
    assert chosen(Entropy(points=1, first_token=False, uncertainty="entropy"), tree) == [(0, 3)]
    assert chosen(Entropy(points=1), tree) == [(0, 1)]


@pytest.mark.parametrize("explorer", [Entropy(uncertainty="entropy"), Attention()], ids=lambda rule: rule.name)
def test_a_missing_signal_is_told(explorer: Branching) -> None:
    with pytest.raises(ValueError, match="the engine gave none"):
        chosen(explorer, two_branches())


def influenced(tokens: Sequence[int], influence: Sequence[float], parent: int | None = None, fork: int = 0) -> Branch:
    return replace(branch(tokens, 0.0, parent, fork), influence=np.array(influence))


def test_golden_attention_pools_the_branches_of_a_tree() -> None:
    # Steps of 2. Chain 0: y = .9 (first: 0), .5, .1, .6, .1; branch 1 is another third step and on: .7, .4, .8.
    tree = root().grown(
        influenced([3, 2] * 5, np.repeat([0.9, 0.5, 0.1, 0.6, 0.1], 2).tolist()),
        influenced([6, 2] * 3, np.repeat([0.7, 0.4, 0.8], 2).tolist(), 0, 4),
    )
    rule = Attention(points=2, min_gap=0, delta=1, quantile=0.6, separators=SEPARATORS)
    # Alone, chain 0: 0 .1 .1 .5 .6, rank 2.4: .26; candidates at 2 and 6.
    assert chosen(rule, root().grown(tree.branches[0])) == [(0, 2), (0, 6)]
    # Branch 1 offers its own steps .7 .4 .8 (rank 1.2: .72): 8, then the fallback, 6. Earliest of 2, 6 and 6, 8.
    assert chosen(rule, tree) == [(0, 2), (0, 6)]
    assert chosen(replace(rule, points=4), tree) == [(0, 2), (0, 6), (1, 6), (0, 8)]


def test_the_prompt_counts_in_the_gap_only_where_asked() -> None:
    # Prompt of 3, steps of 2: the first start with start + 3 >= 7 is 4; with start >= 7 it is 8.
    tree = root().grown(influenced([3, 2] * 6, [0.5] * 12))
    rule = Attention(points=1, min_gap=7, delta=1, separators=SEPARATORS)
    assert chosen(rule, tree) == [(0, 4)]
    assert chosen(replace(rule, gap_from="response"), tree) == [(0, 8)]


def test_thinking_ends_for_the_rule_too() -> None:
    # "4 4" ends the thinking in the third step.
    tree = root().grown(influenced([3, 2, 3, 2, 4, 4, 2, 3, 2, 1], [0.1, 0.1, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]))
    rule = Attention(points=3, min_gap=0, delta=1, fallback="relax", separators=SEPARATORS)
    assert chosen(rule, tree) == [(0, 2)]


def test_golden_first_steps() -> None:
    tree = root().grown(branch([3, 2, 3, 2, 3, 3, 2, 1]), branch([6, 2, 6, 1], 0.0, 0, 4))
    rule = FirstSteps(points=2, separators=SEPARATORS)
    assert chosen(rule, root().grown(tree.branches[0])) == [(0, 2), (0, 4)]
    assert chosen(rule, tree) == [(0, 2), (1, 6)]  # 4 is forked; 6 of branch 1 comes before 7 of chain 0
    assert chosen(replace(rule, points=9), tree) == [(0, 2), (1, 6), (0, 7)]


def test_random_points_are_uniform_over_a_tree() -> None:
    tree = two_branches()
    pool = [(0, 1), (0, 2), (0, 4), (0, 5), (2, 4), (2, 5), (2, 6)]
    counts = Counter(p for seed in range(3000) for p in chosen(RandomBranching(points=2), tree, 0, Key.of(seed)))
    assert sorted(counts) == pool
    # Each with chance 2/7: 857 of 3000, standard deviation sqrt(3000 * 2/7 * 5/7) = 24.7; 4.5 of them.
    assert all(abs(count - 6000 / 7) < 112 for count in counts.values())
    starts = root().grown(branch([3, 2, 3, 2, 3, 1]))
    assert chosen(RandomBranching(points=9, unit="step", separators=SEPARATORS), starts) == [(0, 2), (0, 4)]
