"""The formula of an update's work against what torch counts while the update runs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from creditree.batch import Batch
from creditree.learner.cost import Adapted, UpdateWork, full_update_flops, update_flops, work_of
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.tree import IntArray
from tests.each_once import each_once
from tests.tiny_models import FAMILIES, tiny

QV = ("q_proj", "v_proj")
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Stored:
    """A trunk store that has everything."""

    def trunk(self, handles: IntArray) -> Tensor:
        """Return zeros."""
        return torch.zeros(len(handles), 32)


def bush(chains: int, length: int, prompt: int = 20) -> Batch:
    """A prompt and chains that all part after it; every token but the first of the prompt predicts."""
    size = prompt + chains * length
    firsts = prompt + length * (1 + np.arange(chains))
    row = np.arange(prompt - 1, size)
    return Batch(
        token_ids=np.arange(size) % 50 + 3,
        position=np.concatenate([np.arange(prompt), *([np.arange(prompt, prompt + length)] * chains)]),
        enter=np.arange(size),
        exit=np.concatenate([np.full(prompt, size), np.repeat(firsts, length)]),
        handles=np.zeros(size, dtype=np.int64),
        row=row,
        token=row % 50 + 3,
        advantage=np.ones(len(row)),
        weight=np.ones(len(row)),
        sampler_logprob=np.zeros(len(row)),
        old_logprob=np.zeros(len(row)),
        fresh=np.ones(len(row), dtype=np.bool_),
        sequence=np.zeros(len(row), dtype=np.int64),
    )


def counted(learner: Learner, batch: Batch) -> int:
    """Count every product of a gradient; torch by itself leaves out those in place, and attention on a CPU."""
    aten = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **more: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def back(grad: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **more: Any) -> int:
        return int(sdpa_backward_flop_count(grad, query, key, value))

    def added(out: Any, a: Any, b: Any, *rest: Any, out_shape: Any = None, **more: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])

    also = {
        aten.addmm_: added,
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: back,
    }
    with FlopCounterMode(display=False, custom_mapping=also) as counter:
        learner.gradient(batch, Key.of(0))
    return int(counter.get_total_flops())


def shape_of(family: str) -> Shape:
    return Shape(4, 32, 4, 2, 16 if family == "qwen3" else 8, 48, 64, 128)


@pytest.mark.parametrize(
    ("family", "kl", "stored", "tokens"), each_once(FAMILIES, [0.0, 0.1], [False, True], [1024, 64])
)
def test_the_formula_is_what_torch_counts(family: str, kl: float, stored: bool, tokens: int) -> None:
    adapter = Adapter(tiny(family, torch.float32), LoraSpec(rank=3, layers=0.5), Key.of(0))
    learner = Learner(
        adapter, PolicyGradient(kl=kl), OptimiserSpec(micro_batch_tokens=tokens), Stored() if stored else None
    )
    batch = bush(8, 24)
    work = work_of(batch, tokens)
    expected = update_flops(shape_of(family), Adapted((2, 3), QV, 3), work, reference=kl > 0, stored_trunk=stored)
    assert counted(learner, batch) == expected.total


@pytest.mark.parametrize(("family", "kl", "tokens"), each_once(FAMILIES, [0.0, 0.1], [1024, 64]))
def test_the_formula_of_all_weights_is_what_torch_counts(family: str, kl: float, tokens: int) -> None:
    learner = Learner(
        AllWeights(tiny(family, torch.float32)), PolicyGradient(kl=kl), OptimiserSpec(micro_batch_tokens=tokens)
    )
    batch = bush(8, 24)
    expected = full_update_flops(shape_of(family), work_of(batch, tokens), reference=kl > 0)
    assert counted(learner, batch) == expected.total


def test_all_weights_by_hand() -> None:
    # llama: q, k, v, o 32 x 32, 32 x 16 twice, 32 x 32; MLP 3 x 32 x 48: 7,680 numbers in each of 4 layers
    found = full_update_flops(shape_of("llama"), UpdateWork(10, 3, 100, 30), reference=False)
    assert found.layers == 3 * 4 * 2 * 10 * 7_680
    # forward 4 x 32 a pair, and 5 / 2 of that back
    assert found.attention == 4 * 100 * 128 * 7 // 2
    assert found.head == 3 * 2 * 3 * 64 * 32
    assert (
        full_update_flops(shape_of("llama"), UpdateWork(10, 3, 100, 30), reference=True).layers == 4 * found.layers // 3
    )


@pytest.mark.parametrize(
    ("layers", "targets"),
    each_once([(3,), (0, 2), (1, 2, 3)], [QV, ALL, ("k_proj",), ("o_proj",), ("up_proj",), ("down_proj",)]),
)
def test_the_formula_knows_where_no_gradient_is_wanted(layers: tuple[int, ...], targets: tuple[str, ...]) -> None:
    adapter = Adapter(tiny("llama", torch.float32), LoraSpec(rank=2, layers=layers, targets=targets), Key.of(0))
    learner, batch = Learner(adapter, PolicyGradient(), OptimiserSpec()), bush(3, 5)
    expected = update_flops(shape_of("llama"), Adapted(layers, targets, 2), work_of(batch, 1024), reference=False)
    assert counted(learner, batch) == expected.total


def test_a_token_is_forwarded_once_however_small_the_micro_batches() -> None:
    batch = bush(8, 24)
    assert [work_of(batch, tokens).tokens for tokens in (1, 24, 100, 1000)] == [batch.num_tokens] * 4


def test_qwen2_1_5b() -> None:
    """The goals of docs/BENCHMARKS.md: prompt 100, T = 300, no KL, the trunk from sampling (TRL: 28.9 and 180)."""
    shape, adapted = PUBLIC_SHAPES["Qwen/Qwen2-1.5B"], Adapted(tuple(range(19, 28)), QV, 8)
    limits = {8: 6.5e12, 50: 40e12}
    for group, limit in limits.items():
        batch = bush(group, 299, 100)
        work = work_of(batch, 1024)
        flops = update_flops(shape, adapted, work, reference=False, stored_trunk=True)
        # FlopCounterMode, with which TRL's were counted, leaves attention on a CPU out.
        assert flops.total - flops.attention <= limit
        assert flops.attention < 0.05 * flops.total
    spare = update_flops(shape, adapted, UpdateWork(177, 49, 177**2, 49 * 177), reference=False)
    assert spare.total <= 2.8e12
