"""The in-process engine against decoding each completion alone, by whole forward passes."""

import numpy as np
import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError, DataError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.rng import Key
from creditree.tree import token_array
from tests.each_once import each_once
from tests.naive import naive_sample
from tests.tiny_models import FAMILIES, tiny

BUDGET = 14


def requests(problems: int = 3, group: int = 6) -> list[SampleRequest]:
    """Requests with prompts of different lengths."""
    return [
        SampleRequest(
            token_array([5 + p, 9, 12, 7, 30][: 2 + p]), tuple(Key.of(0).at(p, i) for i in range(group)), BUDGET - p
        )
        for p in range(problems)
    ]


def prefixes(asked: list[SampleRequest], found: list[list[Sample]]) -> set[tuple[int, ...]]:
    """All prefixes, prompt included, that had a next token drawn."""
    return {
        (*r.context_ids.tolist(), *s.token_ids[:t].tolist())
        for r, samples in zip(asked, found, strict=True)
        for s in samples
        for t in range(len(s.token_ids))
    }


@pytest.mark.parametrize(
    ("sampling", "family"),
    each_once([Sampling(1.0), Sampling(0.3), Sampling(0.0), Sampling(0.8, 0.7)], FAMILIES),
    ids=str,
)
def test_same_tokens_as_the_naive_decoder_for_the_same_uniforms(family: str, sampling: Sampling) -> None:
    model = tiny(family)
    asked = requests()
    found, ledger = InProcessEngine(model).sample(asked, sampling)
    for request, samples in zip(asked, found, strict=True):
        for key, sample in zip(request.keys, samples, strict=True):
            tokens, logprobs = naive_sample(model, request.context_ids.tolist(), key, request.max_new_tokens, sampling)
            assert sample.token_ids.tolist() == tokens
            assert sample.logprobs == pytest.approx(logprobs, abs=1e-10)
            stopped = tokens[-1] in model.eos_ids
            assert sample.finish_reason == ("stop" if stopped else "length")
    assert ledger.decoded == len(prefixes(asked, found))


def test_sampler_logprobs_are_those_of_the_tempered_nucleus_and_entropies_untempered() -> None:
    model = tiny()
    asked = requests(1)
    found, _ = InProcessEngine(model).sample(asked, Sampling(0.5, 0.9, entropies=True))
    for sample in found[0]:
        ids = [*asked[0].context_ids.tolist(), *sample.token_ids.tolist()]
        with torch.no_grad():
            logits = model.transformer.model(torch.tensor([ids]), use_cache=False).logits[0]
        for t, token in enumerate(sample.token_ids):
            row = logits[len(asked[0].context_ids) - 1 + t]
            tempered = torch.softmax(row / 0.5, -1)
            ordered = tempered.sort(descending=True)
            size = int((ordered.values.cumsum(0) < 0.9).sum()) + 1
            kept = ordered.indices[:size]
            assert int(token) in kept.tolist()
            expected = torch.log(tempered[int(token)] / tempered[kept].sum())
            assert sample.sampler_logprobs[t] == pytest.approx(float(expected), abs=1e-10)
            p = torch.softmax(row, -1)
            assert sample.entropies is not None
            assert sample.entropies[t] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-10)


def test_what_shares_the_batch_does_not_matter() -> None:
    model = tiny()
    asked = requests()
    together, _ = InProcessEngine(model).sample(asked, Sampling(0.7))
    for request, samples in zip(asked, together, strict=True):
        for key, sample in zip(request.keys, samples, strict=True):
            one = SampleRequest(request.context_ids, (key,), request.max_new_tokens)
            (alone,), _ = InProcessEngine(model).sample([one], Sampling(0.7))
            assert alone[0].token_ids.tolist() == sample.token_ids.tolist()
    few_rows, _ = InProcessEngine(model, max_rows=4, prefill_tokens=5).sample(asked, Sampling(0.7))
    assert [[s.token_ids.tolist() for s in g] for g in few_rows] == [
        [s.token_ids.tolist() for s in g] for g in together
    ]


def test_a_fork_needs_no_prefill_and_no_second_decoding() -> None:
    model = tiny()
    engine = InProcessEngine(model)
    asked = requests(1)
    (first,), before = engine.sample(asked, Sampling(0.7))
    longest = max(first, key=lambda s: len(s.token_ids))
    cut = len(longest.token_ids) // 2
    context = np.concatenate([asked[0].context_ids, longest.token_ids[:cut]])
    keys = tuple(Key.of(9).at(i) for i in range(5))
    fork = SampleRequest(context, keys, BUDGET - cut)
    (again,), cost = engine.sample([fork], Sampling(0.7))
    assert cost.prefilled == 0
    assert before.decoded + cost.decoded == len(prefixes([*asked, fork], [first, again]))
    (fresh,), _ = InProcessEngine(model).sample([fork], Sampling(0.7))
    assert [s.token_ids.tolist() for s in again] == [s.token_ids.tolist() for s in fresh]
    for a, b in zip(again, fresh, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-10)


def test_forget_drops_what_was_computed_with_old_weights() -> None:
    model = tiny()
    adapter = Adapter(model, LoraSpec(rank=2, layers=1.0), Key.of(0))
    engine = InProcessEngine(model)
    asked = requests(1)
    (old,), _ = engine.sample(asked, Sampling(1.0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1), dtype=matrix.dtype))
    engine.forget()
    (new,), _ = engine.sample(asked, Sampling(1.0))
    (fresh,), _ = InProcessEngine(model).sample(asked, Sampling(1.0))
    assert [s.logprobs.tolist() for s in new] == [s.logprobs.tolist() for s in fresh]
    assert [s.logprobs.tolist() for s in new] != [s.logprobs.tolist() for s in old]


def test_group_frequencies_follow_the_distribution() -> None:
    """4,000 draws of one token: every frequency within 4.5 standard errors of its probability."""
    model = tiny()
    context = token_array([5, 9, 12])
    request = SampleRequest(context, tuple(Key.of(3).at(i) for i in range(4000)), 1)
    (samples,), ledger = InProcessEngine(model, max_rows=4000).sample([request], Sampling(0.9))
    with torch.no_grad():
        logits = model.transformer.model(torch.tensor(context.copy())[None], use_cache=False).logits[0, -1]
    p = torch.softmax(logits / 0.9, -1).numpy()
    counts = np.bincount([int(s.token_ids[0]) for s in samples], minlength=len(p))
    assert np.all(np.abs(counts / 4000 - p) <= 4.5 * np.sqrt(p * (1 - p) / 4000) + 1e-9)
    assert ledger.decoded == 1


def test_a_context_that_does_not_fit_is_refused() -> None:
    model = tiny()
    request = SampleRequest(token_array(np.full(120, 5)), (Key.of(0),), 20)
    with pytest.raises(DataError, match="120 tokens and 20 new ones exceed the context of 128"):
        InProcessEngine(model).sample([request], Sampling())


@pytest.mark.parametrize(("temperature", "top_p"), [(-0.1, 1.0), (1.0, 0.0), (1.0, 1.5)])
def test_impossible_sampling_is_refused(temperature: float, top_p: float) -> None:
    with pytest.raises(ConfigError):
        Sampling(temperature, top_p)


def test_bfloat16_base_samples_finite_logprobs() -> None:
    found, _ = InProcessEngine(tiny(dtype=torch.bfloat16)).sample(requests(), Sampling(0.7))
    assert all(np.isfinite(s.logprobs).all() and np.isfinite(s.sampler_logprobs).all() for g in found for s in g)
