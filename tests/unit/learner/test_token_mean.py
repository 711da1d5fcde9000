"""Shared spans trained once against a row for each completion: the same loss and gradient, in the mean over tokens."""

import numpy as np
import pytest
import torch

from creditree.batch import pack
from creditree.fields import TokenField
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.objective.clipped import Clipped
from creditree.rng import Key
from creditree.select.everything import Everything
from creditree.tree import FloatArray, Forest, RolloutTree
from tests.forests import branch, root
from tests.tiny_models import tiny

KEY = Key.of(1)
OBJECTIVE = Clipped(clip_low=0.05, clip_high=0.1, dual_clip=1.5, kl=0.2)


def forests() -> list[Forest]:
    """Two problems with forks at several depths; a completion without a reward, and one that no credit looks at."""
    first = root().grown(
        branch([10, 11, 12, 13, 14, 1], 1.0),
        branch([20, 21, 1], 0.0, 0, 2),
        branch([22, 1], 1.0, 0, 2),
        branch([23, 24, 25, 1], 0.0, 0, 4),
        branch([26, 1], 1.0, 3, 6),
        branch([30, 31, 32, 33, 1], 1.0),
        branch([27, 1], None, 0, 1),
    )
    second = root(prompt=(7, 8)).grown(branch([40, 41, 42, 1], 0.0), branch([43, 1], 1.0, 0, 3))
    return [(first,), (second,)]


def advantages(forest: Forest, rng: np.random.Generator) -> tuple[TokenField, ...]:
    """Return any numbers, some of them 0; none for the first problem's sixth completion and what has no reward."""
    return tuple(
        tuple(
            None if held.reward is None or index == 5 else rng.normal(size=len(held.token_ids)) * (rng.random() < 0.8)
            for index, held in enumerate(tree.branches)
        )
        for tree in forest
    )


def row(tree: RolloutTree, leaf: int, fields: list[FloatArray]) -> FloatArray:
    return np.concatenate([fields[index][:stop] for index, stop in tree.path(leaf)])


def row_per_leaf(adapter: Adapter, given: list[tuple[TokenField, ...]]) -> torch.Tensor:
    """Return the loss by one forward pass a completion: the sum over all rows' tokens, over their number."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for (tree,), (field,) in zip(forests(), given, strict=True):
        values = [np.zeros(len(b.token_ids)) if f is None else f for b, f in zip(tree.branches, field, strict=True)]
        old = [b.logprobs for b in tree.branches]
        for leaf in tree.leaves:
            if tree.branches[leaf].reward is None or field[leaf] is None:
                continue
            tokens = tree.completion(leaf)
            ids = torch.tensor(np.concatenate([tree.prompt_ids, tokens]))[None]
            rows = slice(len(tree.prompt_ids) - 1, -1)
            targets = torch.tensor(tokens)[:, None]
            policy = torch.log_softmax(adapter.peft(input_ids=ids, use_cache=False).logits[0, rows], -1)
            with torch.no_grad(), adapter.off():
                base = torch.log_softmax(adapter.peft(input_ids=ids, use_cache=False).logits[0, rows], -1)
            known = torch.tensor(row(tree, leaf, values)), torch.tensor(row(tree, leaf, old))
            total = (
                total + OBJECTIVE.terms(policy.gather(1, targets)[:, 0], base.gather(1, targets)[:, 0], *known).sum()
            )
            count += len(tokens)
    # 6 + (2 + 3) + (2 + 2) + (4 + 4) + (4 + 2 + 2) and 4 + (3 + 2) tokens
    assert count == 6 + 5 + 4 + 8 + 8 + 4 + 5
    return total / count


@pytest.mark.parametrize("micro_batch_tokens", [1024, 5])
def test_it_equals_one_row_for_each_completion(micro_batch_tokens: int) -> None:
    adapter = Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
    rng = np.random.default_rng(4)
    given = [advantages(forest, rng) for forest in forests()]
    select = Everything(loss_mean="tokens")
    weights = [select.weigh(forest, field, KEY) for forest, field in zip(forests(), given, strict=True)]
    batch = pack(forests(), given, weights, keep_zero_advantage=True, normaliser=select.normaliser(forests(), given))
    assert batch.num_terms == sum(len(b.token_ids) for (t,) in forests() for b in t.branches) - 5 - 2
    learner = Learner(adapter, OBJECTIVE, OptimiserSpec(micro_batch_tokens=micro_batch_tokens))
    loss = learner.gradient(batch, KEY)
    found = [matrix.grad.clone() for matrix in adapter.matrices if matrix.grad is not None]
    learner.optimiser.zero_grad()
    expected = row_per_leaf(adapter, given)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-10)
    for ours, matrix in zip(found, adapter.matrices, strict=True):
        assert matrix.grad is not None
        assert (ours - matrix.grad).abs().max() < 1e-10 * max(1.0, float(matrix.grad.abs().max()))
    stats = learner.step(batch, KEY)
    assert 0 < stats.clipped < stats.in_loss == batch.num_terms
    assert stats.clip_fraction == stats.clipped / batch.num_terms


def test_weight_decay_shrinks_what_adam_moves() -> None:
    """W (1 - 0.1 * 0.5), then Adam's step, which does not depend on the decay."""
    moved = []
    for decay in (0.0, 0.5):
        adapter = Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0))
        before = [matrix.detach().clone() for matrix in adapter.matrices]
        given = [advantages(forest, np.random.default_rng(4)) for forest in forests()]
        weights = [Everything().weigh(forest, field, KEY) for forest, field in zip(forests(), given, strict=True)]
        batch = pack(forests(), given, weights, keep_zero_advantage=True)
        Learner(adapter, Clipped(), OptimiserSpec(0.1, weight_decay=decay)).step(batch, KEY)
        kept = 1.0 - 0.1 * decay
        moved.append([matrix.detach() - kept * old for matrix, old in zip(adapter.matrices, before, strict=True)])
    assert all(torch.allclose(plain, decayed, atol=1e-12) for plain, decayed in zip(*moved, strict=True))
