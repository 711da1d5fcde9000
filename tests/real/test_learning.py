"""Updates of a pretrained model: loss and gradient by whole forward passes, and the adapter in plain peft."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from creditree.config.method import MethodConfig
from creditree.engines.engine import Sampling
from creditree.engines.whole import engine_for
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.ledger import Seconds
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.directory import locate
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from creditree.tasks.word_problems import WordProblems
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts
from tests.naive import naive_loss
from tests.rollouts import DigitParity, largest_gap, train_step

PROBLEMS = [Problem("a", "Tom has 3 bags of 4 pens. How many pens has he?", ("12",)), Problem("b", "Count:", ("7",))]
BUDGET = 12


def adapter_of(model: Model) -> Adapter:
    """Return an adapter of the last three layers, away from zero."""
    adapter = Adapter(model, LoraSpec(rank=4, layers=0.1), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.03 * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
    return adapter


@pytest.mark.parametrize("name", ["t-spmo", "grpo"])
def test_loss_and_gradient_are_the_plain_ones(own: Model, name: str) -> None:
    method = MethodConfig.model_validate(
        {"name": name, "group": 4, **({"l2": 0.0} if name == "t-spmo" else {})}
    ).build()
    adapter = adapter_of(own)
    learner = Learner(adapter, method.objective, OptimiserSpec(max_grad_norm=1e9))
    parts = Parts(own, learner, engine_for(own), WordProblems(), DigitParity(), method)
    before = adapter.state()
    rollout = Rollout(own, parts.engine, parts.verifier, PromptTemplate(), Sampling(1.0), BUDGET)
    result = train_step(parts, rollout, PROBLEMS, Key.of(4), 1e-4, Seconds())
    assert result.stats.updated
    found = [matrix.grad.numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]
    adapter.load_state(before)
    for matrix in adapter.matrices:
        matrix.grad = None
    loss = naive_loss(adapter, method.objective, result.forests, result.advantages, result.weights)
    loss.backward()
    plain = [matrix.grad.numpy() for matrix in adapter.matrices if matrix.grad is not None]
    assert result.stats.loss == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert len(found) == len(plain) == len(adapter.matrices)
    assert largest_gap(found, plain) < 1e-3  # float32; typically 1e-5
    assert min(float(np.abs(gradient).max()) for gradient in plain) > 0


def test_the_adapter_gives_the_same_logits_in_plain_peft(own: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    adapter = adapter_of(own)
    adapter.save(tmp_path / "adapter")
    ids = torch.tensor([[1, 504, 2, 30, 41, 900]])
    with torch.no_grad():
        ours = own.network.model(input_ids=ids, use_cache=False).logits
        with adapter.off():
            base = own.network.model(input_ids=ids, use_cache=False).logits
    plain: Any = AutoModelForCausalLM.from_pretrained(locate(own.name), dtype=torch.float32)
    loaded = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    with torch.no_grad():
        theirs = loaded(input_ids=ids, use_cache=False).logits
    assert (ours - base).abs().max() > 0.1
    assert (ours - theirs).abs().max() < 1e-3
