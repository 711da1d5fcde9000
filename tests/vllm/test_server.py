"""Sampling and training with a real vLLM server."""

from pathlib import Path

import numpy as np
import pytest
import torch

from creditree.config.load import parse_config
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.server import ServerSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.models.scores import token_scores
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into
from creditree.tree import token_array
from tests.vllm.conftest import Started

RUN = """
model: {{name: "{model}", dtype: bfloat16}}
task: {{name: word_problems, num_held_out: 40}}
method: {method}
sampling: {{temperature: 1.0, max_new_tokens: 64}}
engine: {{name: vllm, url: "{url}"}}
train: {{steps: 2, problems_per_step: 4, learning_rate: 2e-3}}
evaluation: {{problems: 8, temperatures: [0]}}
"""


def test_what_is_sampled_follows_the_adapter(vllm: Started) -> None:
    model = load_model(str(vllm.model), "bfloat16")
    adapter = Adapter(model, LoraSpec(rank=8, layers=1.0), Key.of(0))
    prompts = [token_array(model.tokenizer.encode(text)) for text in ("Ann has 3 apples.", "Tom buys 12 pens.")]
    engine = VllmEngine(model, adapter, ServerSpec(vllm.url), prompts)
    try:
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for matrix in adapter.matrices:
                    matrix.add_(0.1 * torch.randn(matrix.shape, generator=generator))
            asked = [SampleRequest(ids, tuple(Key.of(seed).at(n) for n in range(4)), 24) for ids in prompts]
            found, _ = engine.sample(asked, Sampling(1.0))
            gaps = [
                np.abs(token_scores(model, np.concatenate([ids, one.token_ids]), len(one.token_ids)) - one.logprobs)
                for ids, own in zip(prompts, found, strict=True)
                for one in own
            ]
            assert float(np.concatenate(gaps).mean()) < 0.05
    finally:
        engine.close()


def test_more_prompts_than_the_server_reads_at_once(vllm: Started) -> None:
    """A prompt that is read in parts, drawn from with a seed, has ended vLLM's CPU build."""
    model = load_model(str(vllm.model), "bfloat16")
    prompts = list(np.random.default_rng(0).integers(5, 300, (200, 100)))
    engine = VllmEngine(model, None, ServerSpec(vllm.url), prompts[:2])
    try:
        asked = [SampleRequest(ids, (Key.of(place),), 4) for place, ids in enumerate(prompts)]
        found, ledger = engine.sample(asked, Sampling(1.0))
        assert [len(drawn) for drawn in found] == [1] * len(prompts)
        assert ledger.prefilled == 200 * 100
    finally:
        engine.close()


@pytest.mark.parametrize("method", ["{name: grpo, group: 8}", "{name: t-spmo, group: 8}"])
def test_a_run(method: str, vllm: Started, tmp_path: Path) -> None:
    text = RUN.format(model=vllm.model, url=vllm.url, method=method)
    train_into(parse_config(text, "run.yaml"), tmp_path / "run", Watcher())
    steps = RunDirectory.read(tmp_path / "run").metrics()
    assert [step["step"] for step in steps] == [1, 2]
    for step in steps:
        mismatch = step["sampler_mismatch_mean"]
        assert mismatch is None or float(str(mismatch)) < 0.05
