"""FlexAttention's mask of preorder intervals, made and run on a CPU; on CUDA it is compiled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask, flex_attention

from creditree.models.flex import BLOCK, FlexBlocks, block_mask_of, flex_works, mask_of
from creditree.models.tree_attention import TreePlan, TreeShape, TreeTokens, blocks_of

CPU = torch.device("cpu")
TREES = st.tuples(st.integers(1, 200), st.integers(1, 5), st.integers(1, 200))


def bush(prompt: int, chains: int, length: int) -> TreeTokens:
    size = prompt + chains * length
    firsts = prompt + length * (1 + np.arange(chains))
    return TreeTokens(np.arange(size), np.concatenate([np.full(prompt, size), np.repeat(firsts, length)]))


def dense(queries: TreeTokens, keys: TreeTokens) -> Tensor:
    at = queries.enter[:, None]
    return torch.from_numpy((keys.enter <= at) & (at < keys.exit))


@settings(max_examples=30, deadline=None)
@given(TREES, st.integers(0, 99))
def test_the_mask_is_that_of_the_tree(sizes: tuple[int, int, int], seed: int) -> None:
    """Also for some of the queries, and for keys in another order."""
    tree, rng = bush(*sizes), np.random.default_rng(seed)
    queries = tree.at(np.flatnonzero(rng.random(len(tree)) < 0.7) if seed % 2 else np.arange(len(tree)))
    keys = tree.at(rng.permutation(len(tree)) if seed % 3 == 0 else np.arange(len(tree)))
    if len(queries) == 0:
        return
    expected = dense(queries, keys)
    made = create_mask(
        mask_of(*(torch.from_numpy(a) for a in (queries.enter, keys.enter, keys.exit))),
        None, None, len(queries), len(keys), "cpu",
    )  # fmt: skip
    assert torch.equal(made[0, 0], expected)
    blocks = block_mask_of(queries.enter, keys.enter, keys.exit, CPU).to_dense()[0, 0].bool()
    rows, columns = torch.nonzero(expected, as_tuple=True)
    assert bool(blocks[rows // BLOCK, columns // BLOCK].all())


def test_branches_do_not_compute_one_another() -> None:
    """128 tokens of prompt and eight chains of 128: each chain's block needs the prompt's and its own."""
    tree = bush(128, 8, 128)
    blocks = block_mask_of(tree.enter, tree.enter, tree.exit, CPU).to_dense()[0, 0].bool()
    expected = torch.eye(9, dtype=torch.bool)
    expected[:, 0] = True
    assert torch.equal(blocks, expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
def test_its_output_is_that_of_the_blocks(heads: tuple[int, int]) -> None:
    tree = bush(40, 5, 63)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, count, len(tree), 16, generator=generator) for count in (heads[0], heads[1], heads[1])
    )
    with torch.no_grad():
        flex = FlexBlocks(tree.enter, tree.enter, tree.exit, CPU, flex_attention).attend(query, key, value, 0.3)
        plain = blocks_of(tree, tree, heads[0] // heads[1], query).attend(query, key, value, 0.3)
    assert torch.allclose(flex, plain, rtol=0, atol=1e-5)


def test_on_a_cpu_it_is_not_tried() -> None:
    assert not flex_works(CPU, torch.float32, 64)


def test_in_float64_it_is_not_tried() -> None:
    assert not flex_works(torch.device("cuda"), torch.float64, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_cuda_outputs_and_gradients_are_those_of_the_blocks(dtype: torch.dtype) -> None:
    device, tree = torch.device("cuda"), bush(200, 14, 299)
    assert flex_works(device, dtype, 64)
    inputs = [torch.randn(1, count, len(tree), 64, device=device, dtype=dtype) for count in (8, 2, 2)]
    query, key, value = (tensor.requires_grad_() for tensor in inputs)
    shape = TreeShape(tree, np.arange(len(tree)), [], 4)
    ours = TreePlan(shape).attend(0, query, key, value, 0.125)
    plain = blocks_of(tree, tree, 4, query).attend(query, key, value, 0.125)
    direction = torch.randn_like(plain)
    tolerance = 0.03 if dtype == torch.bfloat16 else 1e-3
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, direction)),
        (plain, *torch.autograd.grad(plain, inputs, direction)),
        strict=True,
    )
    for one, other in pairs:
        assert (one - other).float().norm() < tolerance * other.float().norm()
