"""Attention over trees in blocks against one mask over all tokens."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from creditree.models import tree_attention
from creditree.models.tree_attention import TreePlan, TreeShape, TreeTokens, block_starts, blocks_of
from creditree.tree import IntArray

LIKE = torch.zeros(0, dtype=torch.float64)


def tree_of(depths: list[int]) -> TreeTokens:
    """A forest from any numbers: each token's depth, at most one more than the depth of the one before."""
    depth: list[int] = []
    exit_ = np.zeros(len(depths), dtype=np.int64)
    for wanted in depths:
        depth.append(min(wanted, depth[-1] + 1) if depth else 0)
    for index in range(len(depth)):
        later = [j for j in range(index + 1, len(depth)) if depth[j] <= depth[index]]
        exit_[index] = later[0] if later else len(depth)
    return TreeTokens(np.arange(len(depth)), exit_)


def bush(prompt: int, chains: int, length: int) -> TreeTokens:
    size = prompt + chains * length
    firsts = prompt + length * (1 + np.arange(chains))
    return TreeTokens(np.arange(size), np.concatenate([np.full(prompt, size), np.repeat(firsts, length)]))


def masked(query: Tensor, key: Tensor, value: Tensor, queries: TreeTokens, keys: TreeTokens, scaling: float) -> Tensor:
    """One dense mask, keys repeated for each query head."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    mask = torch.tensor(
        [[bool(keys.enter[j] <= i < keys.exit[j]) for j in range(len(keys))] for i in queries.enter], dtype=torch.bool
    )
    scores = scaling * query @ key.transpose(-1, -2)
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), -1) @ value


def some(count: int, heads: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, heads, count, 4, generator=generator, dtype=torch.float64).requires_grad_()


TREES = st.lists(st.integers(0, 30), min_size=1, max_size=120).map(tree_of)


@settings(max_examples=60, deadline=None)
@given(TREES, st.data(), st.sampled_from([(4, 4), (4, 2), (6, 2)]), st.sampled_from([3, 8, 64]))
def test_blocks_give_what_one_mask_gives(
    tree: TreeTokens, data: st.DataObject, heads: tuple[int, int], size: int
) -> None:
    """Outputs and gradients, for all queries or some, whatever the cut."""
    some_rows = data.draw(st.lists(st.integers(0, len(tree) - 1), min_size=1, unique=True))
    rows = np.array(sorted(some_rows)) if data.draw(st.booleans()) else np.arange(len(tree))
    queries = tree.at(rows)
    inputs = [some(len(rows), heads[0], 1), some(len(tree), heads[1], 2), some(len(tree), heads[1], 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "BLOCK_SIZES", (size,))
        patch.setattr(tree_attention, "BLOCK_COST", 0)
        patch.setattr(tree_attention, "DENSE_TOKENS", 0)
        blocks = blocks_of(queries, tree, heads[0] // heads[1], LIKE)
    ours = blocks.attend(inputs[0], inputs[1], inputs[2], 0.4)
    plain = masked(inputs[0], inputs[1], inputs[2], queries, tree, 0.4)
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)
    direction = some(len(rows), heads[0], 4).detach()
    for one, other in zip(
        torch.autograd.grad(ours, inputs, direction), torch.autograd.grad(plain, inputs, direction), strict=True
    ):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


@given(TREES)
def test_every_query_is_in_one_block(tree: TreeTokens) -> None:
    starts = block_starts(tree, tree)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert starts[-1] < len(tree)


def test_blocks_follow_the_chains() -> None:
    """A prompt of 40 and eight chains of 63: the prompt and the first in two blocks, the others in one each."""
    tree = bush(40, 8, 63)
    assert block_starts(tree, tree).tolist() == [0, 51, *(40 + 63 * chain for chain in range(1, 8))]
    blocks = blocks_of(tree, tree, 2, LIKE)
    assert blocks.bias.shape == (9, 1, 2 * 63, 103)


def test_a_long_chain_is_cut_evenly_and_a_small_tree_not_at_all() -> None:
    starts = block_starts(*[bush(100, 8, 299)] * 2)
    lengths = np.diff([*starts.tolist(), 2492])
    assert lengths.max() - lengths[lengths < 100].min() <= 40
    assert len(block_starts(*[bush(10, 3, 10)] * 2)) == 1
    assert blocks_of(bush(10, 3, 10), bush(10, 3, 10), 1, LIKE).query is None


def test_memory_grows_with_depth_and_not_with_the_square() -> None:
    small, large = (blocks_of(bush(40, chains, 100), bush(40, chains, 100), 1, LIKE).bias.numel() for chains in (8, 80))
    assert large < 11 * small


def test_tokens_forwarded_before_are_seen_through_their_keys() -> None:
    """A prompt first, then its two chains apart: together what all at once give, gradients included."""
    tree = bush(5, 2, 40)
    query, key, value = some(85, 4, 1), some(85, 2, 2), some(85, 2, 3)
    whole = TreePlan(TreeShape(tree, np.arange(85), [], 2)).attend(0, query, key, value, 0.3)
    top = np.arange(5)
    kept: dict[int, tuple[Tensor, Tensor]] = {}

    def part(places: IntArray, plan: TreePlan) -> Tensor:
        at = torch.from_numpy(places)
        return plan.attend(0, query[:, :, at], key[:, :, at], value[:, :, at], 0.3)

    pieces = [part(top, TreePlan(TreeShape(tree.at(top), top, [], 2), kept=kept))]
    for places in (np.arange(5, 45), np.arange(45, 85)):
        shape = TreeShape(tree.at(places), places, [tree.at(top)], 2)
        pieces.append(part(places, TreePlan(shape, [kept])))
    together = torch.cat(pieces, dim=2)
    assert torch.allclose(together, whole, rtol=0, atol=1e-12)
    inputs, direction = [query, key, value], some(85, 4, 9).detach()
    for one, other in zip(
        torch.autograd.grad(together, inputs, direction), torch.autograd.grad(whole, inputs, direction), strict=True
    ):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_no_query_needs_no_attention() -> None:
    tree = bush(5, 2, 40)
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    plan = TreePlan(TreeShape(tree, np.zeros(0, dtype=np.int64), [], 2), kept=kept)
    key = some(85, 2, 2)
    assert plan.attend(3, some(0, 4, 1), key, key, 0.3).shape == (1, 4, 0, 4)
    assert kept[3][0] is key


@pytest.mark.parametrize("tree", [bush(4, 3, 5), bush(40, 6, 90)], ids=["one block", "many"])
def test_a_fused_kernel_may_lay_out_its_output_in_its_own_way(
    tree: TreeTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key, value = some(len(tree), 4, 0), some(len(tree), 2, 1), some(len(tree), 2, 2)
    expected = blocks_of(tree, tree, 2, query).attend(query, key, value, 0.3)

    def transposed(*inputs: Any, **settings: Any) -> Tensor:
        return scaled_dot_product_attention(*inputs, **settings).transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr(tree_attention, "scaled_dot_product_attention", transposed)
    found = blocks_of(tree, tree, 2, query).attend(query, key, value, 0.3)
    assert torch.equal(found, expected)


def test_few_pairs_are_not_worth_compiling_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compiled:
        def __init__(self, *_: object) -> None: ...

    monkeypatch.setattr(tree_attention, "flex_works", lambda *_: True)
    monkeypatch.setattr(tree_attention, "FlexBlocks", Compiled)
    monkeypatch.setattr(tree_attention, "FEWEST_PAIRS", 100 * 100)
    for tree, is_compiled in ((bush(19, 8, 10), False), (bush(20, 8, 10), True)):  # 99 and 100 tokens
        shape = TreeShape(tree, np.arange(len(tree)), [], 2)
        assert isinstance(shape.blocks(some(len(tree), 4, 0)), Compiled) == is_compiled
