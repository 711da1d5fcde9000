"""Gemma 3, whose sliding windows only its own forward pass knows: what transformers says of the same tokens."""

from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.whole import engine_for
from creditree.models.load import Model
from creditree.rng import Key
from creditree.signals import InfluenceSpec, Signals
from creditree.steps import split_steps
from creditree.tree import IntArray, token_array
from tests.naive import dense_scores
from tests.real.test_sampling import QUESTIONS

NEW = 16


def prompts(model: Model) -> list[IntArray]:
    """Return the ids of the questions; the file holds no chat template."""
    assert not model.texts.has_chat_template
    return [token_array(model.texts.encode([(f"Question: {question}\nAnswer:", True)])) for question in QUESTIONS]


def test_it_says_why_it_is_run_by_its_own_forward_pass(gemma3: Model) -> None:
    assert gemma3.whole is not None
    assert "layers of type sliding_attention" in gemma3.texts.notes[-1]
    assert gemma3.whole.pads


def test_greedy_tokens_are_those_of_generate(gemma3: Model) -> None:
    requests = [SampleRequest(ids, (Key.of(0),), NEW) for ids in prompts(gemma3)]
    found, _ = engine_for(gemma3).sample(requests, Sampling(0.0))
    inner: Any = gemma3.network.model
    for request, samples in zip(requests, found, strict=True):
        ids = torch.tensor(request.context_ids)[None]
        whole = inner.generate(ids, do_sample=False, max_new_tokens=NEW)
        assert samples[0].token_ids.tolist() == whole[0, ids.shape[1] :].tolist()
    assert "Paris" in gemma3.text(found[2][0].token_ids)


def test_log_probabilities_and_influence_are_those_of_a_plain_pass(gemma3: Model) -> None:
    spec, temperature = InfluenceSpec(gemma3.separators(["\n", ".", ",", " "]), 1), 0.7
    requests = [
        SampleRequest(ids, tuple(Key.of(7).at(index, n) for n in range(2)), NEW, signals=Signals(influence=spec))
        for index, ids in enumerate(prompts(gemma3)[:2])
    ]
    found, _ = engine_for(gemma3).sample(requests, Sampling(temperature))
    inner: Any = gemma3.network.model
    inner.set_attn_implementation("eager")
    for request, samples in zip(requests, found, strict=True):
        assert len({sample.token_ids.tobytes() for sample in samples}) > 1
        for sample in samples:
            whole = np.concatenate([request.context_ids, sample.token_ids])
            with torch.no_grad():
                out = inner(torch.tensor(whole)[None], use_cache=False, output_attentions=True)
            logits = out.logits[0, len(request.context_ids) - 1 : -1]
            drawn = torch.arange(len(sample.token_ids)), torch.tensor(np.array(sample.token_ids))
            for ours, scale in ((sample.logprobs, 1.0), (sample.sampler_logprobs, temperature)):
                plain = torch.log_softmax(logits.double() / scale, -1)[drawn].numpy()
                assert np.abs(ours - plain).max() < 2e-3  # float32; typically 1e-4
            steps = split_steps(sample.token_ids, spec.separators)
            attention = torch.stack([one[0] for one in out.attentions])
            expected = dense_scores(attention, len(request.context_ids), steps, spec)
            of_token = np.repeat(expected[1:], [b - a for a, b in steps])[-len(sample.token_ids) :]
            assert sample.influence == pytest.approx(of_token, abs=1e-4)
    inner.set_attn_implementation("sdpa")
