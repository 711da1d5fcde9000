"""Influence of sampled completions, from both sources, against the dense definition over the whole sequence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native.library import library
from creditree.errors import ConfigError
from creditree.ledger import Ledger
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.rng import Key
from creditree.signals import InfluenceSource, InfluenceSpec, Signals
from creditree.steps import Separators, split_steps
from creditree.tree import token_array
from tests.each_once import each_once
from tests.naive import dense_influence
from tests.tiny_models import FAMILIES, tiny

BUDGET = 24
SEPARATORS = Separators((frozenset(range(3, 22)), frozenset({1})))
"""So many separators that random completions hold several steps, and the end of a sequence where they hold none."""
needs_compiler = pytest.mark.skipif(library("float64") is None, reason="no C++ compiler here: torch decodes")
DECODERS = [pytest.param(True, marks=needs_compiler, id="native"), pytest.param(False, id="torch")]


def spec(source: InfluenceSource, delta: int = 2, separators: Separators = SEPARATORS) -> InfluenceSpec:
    return InfluenceSpec(separators, delta, source=source)


def requests(influence: InfluenceSpec | None, group: int = 6, problems: int = 3) -> list[SampleRequest]:
    return [
        SampleRequest(
            token_array([5 + p, 9, 12, 7, 30][: 2 + p]),
            tuple(Key.of(0).at(p, i) for i in range(group)),
            BUDGET - p,
            signals=Signals(influence=influence),
        )
        for p in range(problems)
    ]


def check(
    model: Model, asked: list[SampleRequest], found: list[list[Sample]], *, at_most: float = 1e-10, prompt: int = -1
) -> int:
    """Compare with the dense definition; return how many completions have a step of influence above 0."""
    positive = 0
    for request, samples in zip(asked, found, strict=True):
        wanted = request.signals.influence
        assert wanted is not None
        for sample in samples:
            whole = np.concatenate([request.context_ids, sample.token_ids])
            start = request.prompt_length if prompt < 0 else prompt
            steps = split_steps(whole[start:], wanted.separators)
            expected = dense_influence(model, whole, start, steps, wanted)
            of_token = np.repeat(expected[1:], [b - a for a, b in steps])[-len(sample.token_ids) :]
            assert sample.influence is not None
            assert sample.influence.shape == sample.token_ids.shape
            assert sample.influence == pytest.approx(of_token, abs=at_most)
            positive += bool((sample.influence > 0).any())
    return positive


@pytest.mark.parametrize(("family", "native"), each_once(FAMILIES, DECODERS))
def test_the_pass_equals_the_dense_definition(family: str, native: bool) -> None:
    model = tiny(family)
    asked = requests(spec("pass"))
    found, ledger = InProcessEngine(model, native=native).sample(asked, Sampling(1.0))
    assert check(model, asked, found) >= 6
    plain, cost = InProcessEngine(model, native=native).sample(requests(None), Sampling(1.0))
    assert same_tokens(found, plain)
    assert all(sample.influence is None for group in plain for sample in group)
    # what is forwarded: from the step `delta` on (the prompt is step 0), of completions that have such a step
    least = 0
    for sample in (sample for group in found for sample in group):
        steps = split_steps(sample.token_ids, SEPARATORS)
        least += 0 if len(steps) < 2 else len(sample.token_ids) - steps[1][0]
    most = sum(len(r.context_ids) + len(s.token_ids) for r, group in zip(asked, found, strict=True) for s in group)
    assert least <= ledger.influence_tokens < most
    assert replace(ledger, influence_tokens=0) == cost


@pytest.mark.parametrize("native", DECODERS)
def test_the_first_completion_of_a_prompt_has_its_map(native: bool) -> None:
    """Of those that the pass sees; its columns sum to the influence of the steps, the prompt's aside."""
    model, asked = tiny("qwen2"), requests(spec("pass"))
    found, _ = InProcessEngine(model, native=native).sample(asked, Sampling(1.0))
    assert all(sample.attention is None for group in found for sample in group[1:])
    maps = [group[0] for group in found if group[0].attention is not None]
    assert maps
    for sample in maps:
        assert sample.attention is not None
        assert sample.influence is not None
        assert sample.attention.ends.tolist() == [stop for _, stop in split_steps(sample.token_ids, SEPARATORS)]
        starts = [0, *sample.attention.ends[:-1]]
        assert sample.attention.weights.sum(axis=0)[1:] == pytest.approx(sample.influence[starts], abs=1e-12)
    again, _ = InProcessEngine(model, native=native).sample(requests(spec("decoding")), Sampling(1.0))
    passed = [group[0] for group in again if not any(token in SEPARATORS.levels[0] for token in group[0].token_ids)]
    assert all(group[0].attention is None or group[0] in passed for group in again)


def same_tokens(ours: list[list[Sample]], theirs: list[list[Sample]]) -> bool:
    """Whether tokens and log-probabilities agree to the bit."""
    return all(
        np.array_equal(a.token_ids, b.token_ids) and np.array_equal(a.logprobs, b.logprobs)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("family", "temperature", "native"), each_once(FAMILIES, [1.0, 0.25], DECODERS))
def test_decoding_sees_what_the_pass_sees(family: str, temperature: float, native: bool) -> None:
    model = tiny(family)
    Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    asked = requests(spec("decoding"), group=10)
    found, ledger = InProcessEngine(model, native=native).sample(asked, Sampling(temperature))
    passed, cost = InProcessEngine(model, native=native).sample(requests(spec("pass"), group=10), Sampling(temperature))
    assert same_tokens(found, passed)
    for one, other in zip(found, passed, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.influence == pytest.approx(b.influence, abs=1e-10)
    assert ledger.decoded == cost.decoded
    # one token a completion at most, which nothing else would have forwarded; and the pass where there is no separator
    samples = [(r.context_ids, s.token_ids) for r, group in zip(asked, found, strict=True) for s in group]
    unsplit = sum(len(c) + len(t) for c, t in samples if not np.isin(t, list(SEPARATORS.levels[0])).any())
    assert 0 < ledger.influence_tokens <= min(30 + unsplit, cost.influence_tokens - 1)
    assert check(model, asked, found) >= 10


@pytest.mark.parametrize("native", DECODERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoding_in_lower_precision(dtype: torch.dtype, native: bool) -> None:
    model = tiny("qwen2", dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 0.15  # of sums up to 2, where rounding differs layer by layer
    found: list[list[list[Sample]]] = []
    sources: tuple[InfluenceSource, ...] = ("pass", "decoding")
    for source in sources:
        engine = InProcessEngine(model, native=native)
        found.append(engine.sample(requests(spec(source)), Sampling(1.0))[0])
    assert same_tokens(*found)
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.influence == pytest.approx(b.influence, abs=tolerance)
    if dtype == torch.float32:
        assert check(model, requests(spec("pass")), found[0], at_most=1e-5)


@pytest.mark.parametrize(("delta", "source", "native"), each_once([0, 1, 4], ["pass", "decoding"], DECODERS))
def test_subsets_of_layers_and_heads(source: InfluenceSource, delta: int, native: bool) -> None:
    model = tiny("qwen2")
    chosen = InfluenceSpec(SEPARATORS, delta, (0, 2), (1, 3), source)
    asked = requests(chosen)
    found, _ = InProcessEngine(model, native=native).sample(asked, Sampling(1.0))
    assert check(model, asked, found) >= 1


@pytest.mark.parametrize("native", DECODERS)
@pytest.mark.parametrize("separators", [Separators((frozenset({999}), SEPARATORS.levels[0])), Separators()])
def test_completions_without_a_separator_are_left_to_the_pass(separators: Separators, native: bool) -> None:
    model = tiny("qwen2")
    asked = requests(spec("decoding", separators=separators))
    found, ledger = InProcessEngine(model, native=native).sample(asked, Sampling(1.0))
    assert check(model, asked, found) >= 6
    assert ledger.influence_tokens > 30


@pytest.mark.parametrize(("source", "max_rows", "native"), each_once(["pass", "decoding"], [4, 512], DECODERS))
def test_a_fork_counts_the_whole_completion(source: InfluenceSource, max_rows: int, native: bool) -> None:
    """What the fork inherits belongs to its steps; its attention, decoded before, comes from the pass."""
    model = tiny("qwen2")
    engine = InProcessEngine(model, max_rows, native=native)
    asked = requests(spec(source), problems=1)
    (first,), _ = engine.sample(asked, Sampling(0.7))
    longest = max(first, key=lambda s: len(s.token_ids))
    for cut in (1, len(longest.token_ids) // 2, len(longest.token_ids) - 1):
        context = np.concatenate([asked[0].context_ids, longest.token_ids[:cut]])
        keys = tuple(Key.of(9).at(i) for i in range(5))
        for prefixes_stored in (True, False):
            if not prefixes_stored:
                engine.forget()
            fork = SampleRequest(context, keys, BUDGET - cut, len(asked[0].context_ids), asked[0].signals)
            found, _ = engine.sample([fork], Sampling(0.7))
            check(model, [fork], found)


@pytest.mark.parametrize("native", DECODERS)
def test_requests_of_one_call_may_differ(native: bool) -> None:
    model = tiny("qwen2")
    plain, first, second, third, fourth, fifth = requests(None, problems=1) * 6
    context = plain.context_ids
    mixed = [
        plain,
        replace(first, signals=Signals(influence=spec("decoding"))),
        replace(second, signals=Signals(influence=spec("decoding", 1), entropies=True)),
        replace(third, signals=Signals(influence=spec("pass", 3))),
        replace(fourth, signals=Signals(entropies=True)),
        replace(fifth, prompt_tokens=1, signals=Signals(influence=spec("decoding"))),
    ]
    assert len(context) > 1
    found, _ = InProcessEngine(model, native=native).sample(mixed, Sampling(1.0))
    for wanted in (1, 2, 3, 5):
        check(model, [mixed[wanted]], [found[wanted]])
    assert [group[0].influence is None for group in found] == [True, False, False, False, True, False]
    assert [group[0].entropies is None for group in found] == [True, True, False, True, False, True]
    (alone,), _ = InProcessEngine(model, native=native).sample([plain], Sampling(1.0, entropies=True))
    assert same_tokens(found, [alone] * 6)
    for sample, expected in zip(found[4], alone, strict=True):
        assert sample.entropies == pytest.approx(expected.entropies, abs=1e-12)


def test_the_static_decoder_leaves_it_to_the_pass() -> None:
    model = tiny("qwen2")
    asked = requests(spec("decoding"))
    found, ledger = InProcessEngine(model, native=False, static=True).sample(asked, Sampling(1.0))
    assert check(model, asked, found) >= 6
    assert ledger.influence_tokens > 30


def test_short_passes_give_the_same() -> None:
    model = tiny("qwen2")
    many, _ = InProcessEngine(model).sample(requests(spec("pass")), Sampling(1.0))
    few, _ = InProcessEngine(model, prefill_tokens=40).sample(requests(spec("pass")), Sampling(1.0))
    for one, other in zip(many, few, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.influence == pytest.approx(b.influence, abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (InfluenceSpec(delta=-1), "influence.delta is -1"),
        (InfluenceSpec(layers=(0, 4)), r"influence.layers is \[0, 4\]: name one or more of 0 to 3"),
        (InfluenceSpec(heads=()), r"influence.heads is \[\]: name one or more of 0 to 3"),
    ],
)
def test_layers_and_heads_that_are_not_there_are_refused(wrong: InfluenceSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InProcessEngine(tiny()).sample(requests(wrong), Sampling())


def test_the_ledger_counts_it() -> None:
    assert Ledger(influence_tokens=2).as_dict()["influence_tokens"] == 2
