"""Sampling by a model's own forward pass against decoding each completion alone, and against transformers' generate."""

from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.whole import WholeEngine, engine_for
from creditree.errors import ConfigError, DataError, NonFiniteError
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.rng import Key
from creditree.signals import InfluenceSpec, Signals
from creditree.steps import Separators, split_steps
from creditree.tree import token_array
from tests.each_once import first_of
from tests.naive import dense_scores, naive_sample
from tests.tiny_models import OTHERS, other, tiny

BUDGET = 10
SEPARATORS = Separators((frozenset(range(3, 22)), frozenset({1})))


def requests(influence: InfluenceSpec | None = None, group: int = 5) -> list[SampleRequest]:
    """Prompts of different lengths, the longest beyond the window that sliding layers attend to; one is a fork's."""
    prompts = ([5, 9], [6, 9, 12], [7, 9, 12, 7, 30, 8, 11, 40, 13], [7, 9, 12, 7, 30, 8, 11])
    return [
        SampleRequest(
            token_array(prompt),
            tuple(Key.of(0).at(p, i) for i in range(group)),
            BUDGET - p,
            prompt_tokens=4 if p == 3 else None,
            signals=Signals(influence=influence),
        )
        for p, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize("kind", first_of(OTHERS, 4))
def test_same_tokens_as_the_naive_decoder_for_the_same_uniforms(kind: str) -> None:
    model, asked, sampling = other(kind), requests(group=2), Sampling(0.6)
    found, ledger = engine_for(model).sample(asked, sampling)
    prefixes = set()
    for request, samples in zip(asked, found, strict=True):
        for key, sample in zip(request.keys, samples, strict=True):
            context = request.context_ids.tolist()
            tokens, logprobs = naive_sample(model, context, key, request.max_new_tokens, sampling)
            assert sample.token_ids.tolist() == tokens
            assert sample.logprobs == pytest.approx(logprobs, abs=2e-5)  # some norms and softmaxes are float32 inside
            assert sample.finish_reason == ("stop" if tokens[-1] in model.eos_ids else "length")
            prefixes |= {(*context, *tokens[:t]) for t in range(len(tokens))}
    assert ledger.decoded == len(prefixes)
    assert ledger.prefilled == sum(len(request.context_ids) for request in asked)


@pytest.mark.parametrize("kind", OTHERS)
def test_greedy_tokens_are_those_of_generate(kind: str) -> None:
    model = other(kind, torch.float32)
    found, _ = engine_for(model).sample(requests(group=1), Sampling(0.0))
    inner: Any = model.network.model
    for request, samples in zip(requests(group=1), found, strict=True):
        ids = torch.tensor(request.context_ids)[None]
        whole = inner.generate(ids, do_sample=False, max_new_tokens=request.max_new_tokens, pad_token_id=0)
        assert samples[0].token_ids.tolist() == whole[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("kind", first_of(["gpt2", "gemma2", "mistral"], 2))
def test_what_shares_the_batch_does_not_matter(kind: str) -> None:
    model, asked = other(kind), requests()
    assert model.whole is not None
    together, _ = engine_for(model).sample(asked, Sampling(0.7, 0.9, entropies=True))
    for max_rows, prefill in ((1, 8192), (512, 12)):
        apart, _ = WholeEngine(model, model.whole, max_rows, prefill).sample(asked, Sampling(0.7, 0.9, entropies=True))
        for ours, theirs in zip(together, apart, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.token_ids.tolist() == b.token_ids.tolist()
                assert a.sampler_logprobs == pytest.approx(b.sampler_logprobs, abs=2e-5)
                assert a.entropies == pytest.approx(b.entropies, abs=2e-5)


@pytest.mark.parametrize("kind", ["mistral", "gpt2", "gemma3_text"])
def test_influence_is_the_dense_definition_from_either_source(kind: str) -> None:
    model, positive = other(kind), 0
    spec = InfluenceSpec(SEPARATORS, 1, source="decoding")
    asked = requests(spec)
    for request, samples in zip(asked, engine_for(model).sample(asked, Sampling(1.0))[0], strict=True):
        for sample in samples:
            whole = np.concatenate([request.context_ids, sample.token_ids])
            steps = split_steps(whole[request.prompt_length :], SEPARATORS)
            expected = dense_scores(attention(model, whole), request.prompt_length, steps, spec)
            of_token = np.repeat(expected[1:], [b - a for a, b in steps])[-len(sample.token_ids) :]
            assert sample.influence == pytest.approx(of_token, abs=1e-6)
            positive += bool((of_token > 0).any())
    assert positive > 5


def attention(model: Model, ids: np.ndarray) -> torch.Tensor:
    """Return A [layers, heads, T, T] of one sequence, as transformers gives it."""
    inner: Any = model.network.model
    before = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    with torch.no_grad():
        out = inner(torch.tensor(ids)[None], use_cache=False, output_attentions=True)
    inner.set_attn_implementation(before)
    return torch.stack([one[0] for one in out.attentions])


def test_a_model_without_attention_weights_is_refused_in_a_sentence() -> None:
    model = other("gpt2")
    assert model.whole is not None
    model.whole._takes = frozenset({"input_ids", "attention_mask"})
    model.whole._forward = lambda *inputs, **more: type("Out", (), {"attentions": None})()  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="GPT2LMHeadModel gives no attention weights of its layers"):
        list(model.whole.attentions([np.arange(4)]))


def test_what_does_not_fit_and_what_is_not_finite_is_refused() -> None:
    model = other("gpt2")
    engine = engine_for(model)
    with pytest.raises(DataError, match="exceed the context of 128 tokens"):
        engine.sample([SampleRequest(token_array([5]), (Key.of(0),), 128)], Sampling(1.0))
    with pytest.raises(DataError, match="holds token 64, but model"):
        engine.sample([SampleRequest(token_array([64]), (Key.of(0),), 1)], Sampling(1.0))
    with torch.no_grad():
        model.network.model.get_parameter("transformer.ln_f.weight")[3] = torch.nan
    with pytest.raises(NonFiniteError, match="computes logits that are NaN or infinite"):
        engine.sample(requests(), Sampling(1.0))
    assert engine.sample([], Sampling(1.0)) == ([], Ledger())


def test_the_way_is_the_models() -> None:
    assert isinstance(engine_for(tiny()), InProcessEngine)
    assert isinstance(engine_for(other("opt")), WholeEngine)
