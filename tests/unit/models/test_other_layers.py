"""Types beyond the family whose layers are run one by one all the same: against one whole forward pass at a time."""

from typing import Any

import pytest
import torch

from creditree.batch import pack
from creditree.credit.group_relative import GroupRelative
from creditree.engines.whole import engine_for
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.models.transformer import Transformer
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.everything import Everything
from tests.naive import naive_loss
from tests.rollouts import credited, largest_gap, sampled_forests
from tests.tiny_models import char_tokenizer, other_model

METHOD = Method("grpo", "", Group(4), GroupRelative(), Everything(), PolicyGradient(kl=0.3))
KINDS: dict[str, dict[str, Any]] = {
    "smollm3": {"use_sliding_window": False, "sliding_window": None},  # every other layer without positions
    "qwen3_moe": {},
    "phi3": {"sliding_window": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_and_learning_are_the_plain_ones(kind: str) -> None:
    model = Model(kind, Transformer(other_model(kind, torch.float32, **KINDS[kind])), char_tokenizer())
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.1 * torch.randn(matrix.shape, generator=generator))
    forests = sampled_forests(model, METHOD.explore)
    assert type(engine_for(model)).__name__ == "InProcessEngine"
    advantages, weights = credited(METHOD, forests)
    batch = pack(forests, advantages, weights, keep_zero_advantage=True)
    loss = naive_loss(adapter, METHOD.objective, forests, advantages, weights)
    loss.backward()
    expected = [matrix.grad.numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]
    for tokens in (1024, 12):
        learner = Learner(adapter, METHOD.objective, OptimiserSpec(micro_batch_tokens=tokens))
        assert learner.gradient(batch, Key.of(1)) == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
        found = [matrix.grad.numpy() for matrix in adapter.matrices if matrix.grad is not None]
        assert largest_gap(found, expected) < 1e-4
    tempered = pack(forests, advantages, weights, keep_zero_advantage=True, tempered=True)
    assert learner.logprobs(batch, 0.5) == pytest.approx(tempered.sampler_logprob, abs=1e-4)
