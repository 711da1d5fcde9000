"""Sampling from pretrained models: what transformers says of the same weights and the same tokens."""

from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native.library import library
from creditree.models.load import Model, load_model
from creditree.rng import Key
from creditree.signals import InfluenceSpec, Signals
from creditree.steps import split_steps
from creditree.tree import IntArray, token_array
from tests.naive import dense_influence
from tests.real.conftest import weights

QUESTIONS = (
    "A farmer has 12 hens and buys 7 more. He sells 5. How many hens has he?",
    "Write the numbers from 1 to 9.",
    "What is the capital of France?",
    "Tom reads 14 pages a day. How many pages does he read in 3 days?",
    "Say hello in Spanish.",
)
NEW = 32
needs_compiler = pytest.mark.skipif(library("float32") is None, reason="no C++ compiler here: torch decodes")
DECODERS = [pytest.param(True, marks=needs_compiler, id="native"), pytest.param(False, id="torch")]


def prompt(model: Model, question: str) -> IntArray:
    """Return the ids of a question in the model's own chat template."""
    messages = [{"role": "user", "content": question}]
    tokenizer: Any = model.tokenizer
    return token_array(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


@pytest.mark.parametrize("native", DECODERS)
def test_greedy_tokens_are_those_of_generate(real: Model, native: bool) -> None:
    prompts = [prompt(real, question) for question in QUESTIONS]
    engine = InProcessEngine(real, native=native)
    requests = [SampleRequest(ids, (Key.of(0),), NEW) for ids in prompts]
    found, _ = engine.sample(requests, Sampling(0.0))
    for ids, samples in zip(prompts, found, strict=True):
        inner: Any = real.transformer.model
        with torch.no_grad():
            whole = inner.generate(torch.tensor(ids)[None], do_sample=False, max_new_tokens=NEW)
        assert samples[0].token_ids.tolist() == whole[0, len(ids) :].tolist()


@pytest.mark.parametrize("native", DECODERS)
def test_log_probabilities_of_sampled_tokens_are_those_of_a_plain_pass(smollm2: Model, native: bool) -> None:
    temperature = 0.7
    requests = [
        SampleRequest(prompt(smollm2, question), tuple(Key.of(7).at(index, n) for n in range(3)), NEW)
        for index, question in enumerate(QUESTIONS)
    ]
    found, _ = InProcessEngine(smollm2, native=native).sample(requests, Sampling(temperature))
    for request, samples in zip(requests, found, strict=True):
        assert len({sample.token_ids.tobytes() for sample in samples}) > 1
        for sample in samples:
            whole = torch.tensor(np.concatenate([request.context_ids, sample.token_ids]))[None]
            with torch.no_grad():
                logits = smollm2.transformer.model(whole, use_cache=False).logits[0, len(request.context_ids) - 1 : -1]
            drawn = torch.arange(len(sample.token_ids)), torch.tensor(sample.token_ids)
            for ours, scale in ((sample.logprobs, 1.0), (sample.sampler_logprobs, temperature)):
                plain = torch.log_softmax(logits.double() / scale, -1)[drawn].numpy()
                assert np.abs(ours - plain).max() < 2e-3  # float32, 30 layers; typically 1e-4


@needs_compiler
def test_bfloat16_is_decoded_natively_too() -> None:
    engine = InProcessEngine(load_model(weights("smollm2"), "bfloat16"))
    assert type(engine._decoder(64)).__name__ == "NativeDecoder"


@pytest.mark.parametrize("native", DECODERS)
@pytest.mark.parametrize("source", ["pass", "decoding"])
def test_influence_is_the_dense_definition(smollm2: Model, native: bool, source: Any) -> None:
    spec = InfluenceSpec(smollm2.separators(["\n", ".", ","]), 1, source=source)
    ids = prompt(smollm2, QUESTIONS[3])
    request = SampleRequest(ids, tuple(Key.of(3).at(n) for n in range(2)), NEW, signals=Signals(influence=spec))
    found, _ = InProcessEngine(smollm2, native=native).sample([request], Sampling(1.0))
    for sample in found[0]:
        whole = np.concatenate([ids, sample.token_ids])
        steps = split_steps(whole[len(ids) :], spec.separators)
        assert len(steps) > 1
        expected = dense_influence(smollm2, whole, len(ids), steps, spec)
        assert sample.influence is not None
        of_token = np.repeat(expected[1:], [b - a for a, b in steps])[-len(sample.token_ids) :]
        assert sample.influence == pytest.approx(of_token, abs=1e-4)
