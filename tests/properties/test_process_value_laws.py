"""The laws of process value on random trees, and the row-per-leaf computation that it stands for."""

from math import sqrt
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.process import process_value
from creditree.tree import RolloutTree
from tests.forests import assigned, flat_trees, grown_trees, judged_completions, plain_completion, prefix_values

RootValue = Literal["mean", "leave_one_out"]
Weighting = Literal["after", "before"]

Token = tuple[int, int]


def below(tree: RolloutTree, token: Token) -> list[int]:
    """Return the judged leaves whose completions hold a token, by walking every completion."""
    return [leaf for leaf in tree.rewarded if token in [(b, at) for b, at, _ in plain_completion(tree, leaf)]]


def plain_advantages(tree: RolloutTree, root: RootValue, weighting: Weighting) -> dict[Token, float]:
    """Return the advantage of every token that a judged completion holds, leaf by leaf and token by token."""
    rewards = {leaf: float(tree.rewards([leaf])[0]) for leaf in tree.rewarded}
    total = sum(rewards.values())
    centred = {}
    for leaf, reward in rewards.items():
        others = len(rewards) - 1 if root == "leave_one_out" else len(rewards)
        rest = total - reward if root == "leave_one_out" else total
        centred[leaf] = reward - rest / others if others else 0.0
    found: dict[Token, float] = {}
    structure = {(s.branch, at): n for n, s in enumerate(tree.spans()) for at in range(s.start, s.stop)}
    for leaf in tree.rewarded:
        value_above, local_above, last = 0.0, None, None
        value = local = 0.0
        for branch, at, _ in plain_completion(tree, leaf):
            token = (branch, at)
            if structure[token] != last:
                if last is not None:
                    value_above, local_above = value, local
                leaves = below(tree, token)
                value = sum(centred[other] for other in leaves) / len(leaves)
                if weighting == "before":
                    value /= sqrt(len(leaves))
                local = value - value_above
                if weighting == "before" and abs(local) < 1e-8 and local_above is not None:
                    local = local_above
                last = structure[token]
                scale = 1.0 if weighting == "before" else 1.0 / sqrt(len(leaves))
                advantage = (local + value) * scale
            assert found.setdefault(token, advantage) == pytest.approx(advantage, abs=1e-12)
    return found


@given(grown_trees(failures=True), st.sampled_from(["mean", "leave_one_out"]), st.sampled_from(["after", "before"]))
def test_equals_the_plain_computation(tree: RolloutTree, root: RootValue, weighting: Weighting) -> None:
    field = process_value(tree, root=root, weighting=weighting, unexpanded="keep")
    for (branch, at), expected in plain_advantages(tree, root, weighting).items():
        assert assigned(field[branch])[at] == pytest.approx(expected, abs=1e-9)


@given(grown_trees(failures=True))
def test_global_advantages_telescope_to_the_leafs_reward(tree: RolloutTree) -> None:
    """Read back from A: sqrt(|L|) A(s) = 2 V(s) - V(parent) - V(root), so V follows span by span down to R."""
    field = process_value(tree, unexpanded="keep")
    rewards = tree.rewards(tree.rewarded)
    for leaf in tree.rewarded:
        value = 0.0
        for span in [span for span in tree.spans() if leaf in span.leaves]:
            count = len([other for other in span.leaves if other in tree.rewarded])
            held = assigned(field[span.branch])[span.start]
            value = (sqrt(count) * held + value) / 2
        assert value == pytest.approx(float(tree.rewards([leaf])[0] - rewards.mean()), abs=1e-9)


@given(grown_trees(failures=True))
def test_dropped_are_the_chains_that_nothing_forks_from(tree: RolloutTree) -> None:
    kept, dropped = process_value(tree, unexpanded="keep"), process_value(tree)
    holders = [leaf for leaf in tree.leaves for other in tree.leaves if other != leaf and _share(tree, leaf, other)]
    for leaf in tree.leaves:
        beside = [branch.beside for branch in tree.branches]
        alone = leaf not in holders and beside[leaf] is None and leaf not in beside
        if alone or kept[leaf] is None:
            assert dropped[leaf] is None
        else:
            assert np.array_equal(assigned(kept[leaf]), assigned(dropped[leaf]))


def _share(tree: RolloutTree, one: int, other: int) -> bool:
    return plain_completion(tree, one)[0][:2] == plain_completion(tree, other)[0][:2]


@given(flat_trees(failures=True))
def test_on_a_flat_group_it_is_twice_reward_minus_mean(tree: RolloutTree) -> None:
    field = process_value(tree, unexpanded="keep")
    rewards = tree.rewards(tree.rewarded)
    for leaf, reward in zip(tree.rewarded, rewards, strict=True):
        assert np.allclose(assigned(field[leaf]), 2 * (reward - rewards.mean()), atol=1e-12)


@given(flat_trees(failures=True), st.sampled_from(["mean", "leave_one_out"]))
def test_merged_it_depends_on_prefix_and_token_alone(tree: RolloutTree, root: RootValue) -> None:
    """V(p) by dictionaries; the prefix before a segment is the longest that more completions start with."""
    field = process_value(tree, root=root, unexpanded="keep", merged=True)
    completions = judged_completions(tree)
    if not completions:
        return
    values = prefix_values(completions, tree.rewards(tree.rewarded))
    scale = len(completions) / (len(completions) - 1) if root == "leave_one_out" and len(completions) > 1 else 1.0
    counts = {p: sum(c[: len(p)] == p for c in completions) for p in values}
    for leaf, completion in zip(tree.rewarded, completions, strict=True):
        for at in range(len(completion)):
            prefix = completion[: at + 1]
            above = prefix[:-1]
            while above and counts[above] == counts[prefix]:
                above = above[:-1]
            expected = scale * (2 * values[prefix] - values[above] - values[()]) / sqrt(counts[prefix])
            assert assigned(field[leaf])[at] == pytest.approx(expected, abs=1e-9)
