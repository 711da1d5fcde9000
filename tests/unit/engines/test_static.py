"""Static decoding, on a CPU: steps are called where CUDA would replay their graphs, everything else is the same."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.draw import draw, draw_each
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native.decoder import NativeDecoder
from creditree.engines.static.decoder import StaticDecoder
from creditree.engines.static.graphs import Step, rehearse
from creditree.engines.static.grid import Grid, Traffic, arrange, length_bucket, row_bucket, stage_bucket
from creditree.engines.static.record import Form, Recorder
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.watch import CHECK_EVERY, Watch
from creditree.models import quantise
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.models.transformer import Transformer
from creditree.rng import Key
from creditree.tree import IntArray, token_array
from tests.each_once import each_once
from tests.naive import naive_sample
from tests.tiny_models import FAMILIES, char_tokenizer, random_model, tiny

BUDGET = 14


class Counted(Recorder):
    """Counts what it records, and how often each is replayed."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.replays: list[int] = []
        self.steps: list[Step] = []

    def record(self, step: Step, state: Sequence[torch.Tensor], forms: Sequence[Form] = (), size: int = 0) -> Step:
        index = len(self.replays)
        self.replays.append(0)
        self.steps.append(step)

        def replay() -> None:
            self.replays[index] += 1
            step()

        return replay


class Rehearsing(Recorder):
    """Warms a step up, as before a capture, and then runs it as it is."""

    def record(self, step: Step, state: Sequence[torch.Tensor], forms: Sequence[Form] = (), size: int = 0) -> Step:
        rehearse(step, state)
        rehearse(step, state)
        return step


def static_engine(model: Model, keep_layer: int | None = None, max_rows: int = 512) -> InProcessEngine:
    engine = InProcessEngine(model, max_rows, keep_layer=keep_layer, native=False, static=True)
    assert isinstance(engine._decoder(), StaticDecoder)
    return engine


def decoder_of(engine: InProcessEngine) -> StaticDecoder:
    decoder = engine._decoder()
    assert isinstance(decoder, StaticDecoder)
    return decoder


def torch_engine(model: Model, keep_layer: int | None = None) -> InProcessEngine:
    return InProcessEngine(model, keep_layer=keep_layer, native=False, static=False)


def requests(problems: int = 3, group: int = 6, budget: int = BUDGET) -> list[SampleRequest]:
    return [
        SampleRequest(
            token_array([5 + p, 9, 12, 7, 30][: 2 + p]),
            tuple(Key.of(0).at(p, i) for i in range(group - p)),
            budget - p,
        )
        for p in range(problems)
    ]


def assert_same(found: list[list[Sample]], expected: list[list[Sample]], tolerance: float = 1e-10) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.token_ids.tolist() == other.token_ids.tolist()
            assert one.finish_reason == other.finish_reason
            assert one.logprobs == pytest.approx(other.logprobs, abs=tolerance)
            assert one.sampler_logprobs == pytest.approx(other.sampler_logprobs, abs=tolerance)
            assert (one.entropies is None) == (other.entropies is None)
            if one.entropies is not None:
                assert one.entropies == pytest.approx(other.entropies, abs=tolerance)


Stored = tuple[InProcessEngine, Sequence[Sample]]
"""An engine, and what it sampled of one request."""


def same_trunk(request: SampleRequest, ours: Stored, theirs: Stored) -> list[IntArray]:
    """Assert that two engines kept the same activations, where their handles say; return the stored sequences."""
    sequences = []
    for one, other in zip(ours[1], theirs[1], strict=True):
        sequences.append(np.concatenate([request.context_ids, one.token_ids[:-1]]))
        trunks = []
        for (engine, _), sample in ((ours, one), (theirs, other)):
            assert sample.handles is not None
            assert sample.handles[-1] == 0  # nobody forwarded the last token
            stored = engine.store.known(sample.handles[:-1], sequences[-1])
            assert stored == engine.store.find(sequences[-1])
            trunks.append(engine.trunk(sample.handles[:-1]))
        assert trunks[0] is not None
        assert trunks[1] is not None
        torch.testing.assert_close(*trunks, rtol=0, atol=1e-10)
    return sequences


@pytest.mark.parametrize(
    ("sampling", "family"),
    each_once([Sampling(1.0), Sampling(0.3), Sampling(0.0), Sampling(0.8, 0.7)], FAMILIES),
    ids=str,
)
def test_same_tokens_as_the_naive_decoder_for_the_same_uniforms(family: str, sampling: Sampling) -> None:
    model = tiny(family)
    asked = requests()
    found, ledger = static_engine(model).sample(asked, sampling)
    for request, samples in zip(asked, found, strict=True):
        for key, sample in zip(request.keys, samples, strict=True):
            tokens, logprobs = naive_sample(model, request.context_ids.tolist(), key, request.max_new_tokens, sampling)
            assert sample.token_ids.tolist() == tokens
            assert sample.logprobs == pytest.approx(logprobs, abs=1e-10)
            assert sample.finish_reason == ("stop" if tokens[-1] in model.eos_ids else "length")
    # every completion's forwarded tokens, equal ones counted apart, and the contexts
    assert ledger.decoded == len(asked) + sum(len(s.token_ids) - 1 for samples in found for s in samples)


@pytest.mark.parametrize("sampling", [Sampling(0.5, 0.9, entropies=True), Sampling(1.0, entropies=True)], ids=str)
def test_numbers_of_tokens_are_those_of_the_torch_decoder(sampling: Sampling) -> None:
    model = tiny("qwen3")
    asked = requests()
    found, _ = static_engine(model).sample(asked, sampling)
    expected, _ = torch_engine(model).sample(asked, sampling)
    assert_same(found, expected)


def test_completions_longer_than_a_cache_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.static.grid._SHORTEST_STAGE", 32)
    model = tiny(seed=3)
    model.tokenizer.eos_token = "<unk>"
    network: Any = model.transformer.model
    network.config.eos_token_id = network.generation_config.eos_token_id = None
    asked = requests(2, 4, budget=100)
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder.recorder = counted = Counted()
    found, _ = engine.sample(asked, Sampling(1.0))
    expected, _ = torch_engine(model).sample(asked, Sampling(1.0))
    assert_same(found, expected)
    longest = max(len(s.token_ids) for samples in found for s in samples)
    assert longest > 64
    assert len(counted.replays) == 3  # columns 0 to 31, up to 63, and up to 99
    assert counted.replays[:2] == [32, 32]


def test_forks_after_it_need_no_prefill_and_give_what_a_fresh_engine_gives() -> None:
    model = tiny()
    engine = static_engine(model)
    asked = requests(2)
    found, _ = engine.sample(asked, Sampling(0.7))
    forks = []
    for place, request in enumerate(asked):
        longest = max(found[place], key=lambda s: len(s.token_ids))
        cut = len(longest.token_ids) // 2
        context = np.concatenate([request.context_ids, longest.token_ids[:cut]])
        keys = tuple(Key.of(9).at(place, i) for i in range(3))
        forks.append(SampleRequest(context, keys, BUDGET - cut))
    again, cost = engine.sample(forks, Sampling(0.7))
    assert cost.prefilled == 0
    fresh, _ = torch_engine(model).sample(forks, Sampling(0.7))
    assert_same(again, fresh)
    repeated, cost = engine.sample(asked, Sampling(0.7))  # finds its own prefixes stored
    assert_same(repeated, found)
    assert cost.prefilled == 0


def test_the_store_holds_what_the_torch_decoder_puts_there() -> None:
    model = tiny()
    ours, theirs = static_engine(model, keep_layer=2), torch_engine(model, keep_layer=2)
    asked = requests()
    found, _ = ours.sample(asked, Sampling(0.5))
    plain, _ = theirs.sample(asked, Sampling(0.5))
    assert ours.store.used == theirs.store.used
    for request, samples, others in zip(asked, found, plain, strict=True):
        sequences = same_trunk(request, (ours, samples), (theirs, others))
        for sequence in sequences:
            slots = [np.array(engine.store.find(sequence)) for engine in (ours, theirs)]
            assert len(slots[0]) == len(slots[1]) == len(sequence)
            for layer in range(model.transformer.num_layers):
                kv = [e.store.kv[layer][torch.from_numpy(s)] for e, s in zip((ours, theirs), slots, strict=True)]
                torch.testing.assert_close(*kv, rtol=0, atol=1e-10)
            last = len(request.context_ids) - 1
            hidden = [e.store.hidden(s[last:]) for e, s in zip((ours, theirs), slots, strict=True)]
            torch.testing.assert_close(*hidden, rtol=0, atol=1e-10)


def test_few_rows_at_a_time_change_nothing() -> None:
    model = tiny()
    asked = requests()
    together, _ = static_engine(model).sample(asked, Sampling(0.7))
    few, _ = static_engine(model, max_rows=4).sample(asked, Sampling(0.7))
    assert_same(few, together)


def test_a_budget_of_one_token_and_unequal_budgets() -> None:
    model = tiny()
    keys = tuple(Key.of(4).at(i) for i in range(3))
    asked = [SampleRequest(token_array([5, 9]), keys, 1), SampleRequest(token_array([5, 9]), keys, 20)]
    found, _ = static_engine(model).sample(asked, Sampling(1.0))
    expected, _ = torch_engine(model).sample(asked, Sampling(1.0))
    assert_same(found, expected)
    only, _ = static_engine(model).sample(asked[:1], Sampling(1.0))
    assert_same(only, expected[:1])


def test_decoding_ends_soon_after_the_last_row() -> None:
    """With every token an end, the first check finds all rows finished, and the second one reads that."""
    model = tiny()
    prompt = token_array([5, 9])
    model.tokenizer.eos_token_id = naive_sample(model, prompt.tolist(), Key.of(0), 1, Sampling(0.0))[0][0]
    model = Model(model.name, model.transformer, model.tokenizer)
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder.recorder = counted = Counted()
    (samples,), _ = engine.sample([SampleRequest(prompt, (Key.of(0),), 100)], Sampling(0.0))
    assert [len(s.token_ids) for s in samples] == [1]
    assert samples[0].finish_reason == "stop"
    assert sum(counted.replays) == 2 * CHECK_EVERY


def test_adapters_are_applied_read_in_place_and_switched_off() -> None:
    model = tiny("llama")
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5, targets=("q_proj", "v_proj", "down_proj")), Key.of(0))
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder.recorder = counted = Counted()
    asked = requests()
    plain, _ = engine.sample(asked, Sampling(1.0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1), dtype=matrix.dtype))
    engine.forget()
    adapted, _ = engine.sample(asked, Sampling(1.0))
    assert len(counted.replays) == 1
    expected, _ = torch_engine(model).sample(asked, Sampling(1.0))
    assert_same(adapted, expected)
    with adapter.off():
        engine.forget()
        base, _ = engine.sample(asked, Sampling(1.0))
    assert len(counted.replays) == 2
    assert_same(base, plain)
    engine.forget()
    engine.sample(asked, Sampling(1.0))
    assert len(counted.replays) == 2


def test_steps_are_recorded_once_for_a_shape_and_dropped_when_weights_move() -> None:
    model = tiny()
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder.recorder = counted = Counted()
    for _ in range(3):
        engine.forget()
        engine.sample(requests(), Sampling(0.7))
    assert len(counted.replays) == 1
    engine.sample(requests(), Sampling(0.8))
    assert len(counted.replays) == 2
    engine.sample(requests(1, 1), Sampling(0.7))  # another grid, in the memory of the first
    engine.forget()
    found, _ = engine.sample(requests(), Sampling(0.7))
    assert len(counted.replays) == 3
    weight = model.transformer.decoder_layers[1].mlp.down_proj.weight
    weight.data = weight.data * 2
    model.transformer.link()
    engine.forget()
    moved, _ = engine.sample(requests(), Sampling(0.7))
    assert len(counted.replays) == 4
    expected, _ = torch_engine(model).sample(requests(), Sampling(0.7))
    assert_same(moved, expected)
    assert [s.logprobs.tolist() for s in moved[0]] != [s.logprobs.tolist() for s in found[0]]


def test_warming_up_changes_nothing() -> None:
    model = tiny()
    engine = static_engine(model, keep_layer=2)
    decoder_of(engine).recorder = Rehearsing(torch.device("cpu"))
    found, _ = engine.sample(requests(2, 4, budget=80), Sampling(0.7))
    expected, _ = torch_engine(model).sample(requests(2, 4, budget=80), Sampling(0.7))
    assert_same(found, expected)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_quantised_base(kind: quantise.Quantisation) -> None:
    pytest.importorskip("bitsandbytes")
    network = random_model("qwen2", torch.bfloat16)
    quantise.quantise(network, kind, "cpu")
    model = Model("random:qwen2", Transformer(network), char_tokenizer())
    found, _ = static_engine(model).sample(requests(1), Sampling(0.0))
    expected, _ = torch_engine(model).sample(requests(1), Sampling(0.0))
    assert found[0][0].logprobs[0] == pytest.approx(expected[0][0].logprobs[0], abs=1e-3)
    assert found[0][0].token_ids[0] == expected[0][0].token_ids[0]


def test_a_larger_grid_after_a_smaller_one() -> None:
    model = tiny()
    engine = static_engine(model)
    small, _ = engine.sample(requests(1, 2), Sampling(0.7))
    engine.sample(requests(3, 40), Sampling(0.7))
    engine.forget()
    again, _ = engine.sample(requests(1, 2), Sampling(0.7))
    assert_same(again, small)


def test_bfloat16_base_samples_what_the_torch_decoder_samples() -> None:
    model = tiny(dtype=torch.bfloat16)
    found, _ = static_engine(model).sample(requests(), Sampling(0.7))
    assert all(np.isfinite(s.logprobs).all() and np.isfinite(s.sampler_logprobs).all() for g in found for s in g)
    expected, _ = torch_engine(model).sample(requests(), Sampling(0.7))
    firsts = [[s.logprobs[0] for s in samples] for samples in (found[0], expected[0])]
    assert firsts[0] == pytest.approx(firsts[1], abs=1e-3)


def test_who_decodes() -> None:
    model = tiny(dtype=torch.float32)
    assert not isinstance(InProcessEngine(model, native=False)._decoder(), StaticDecoder)  # not on a CPU by itself
    preferred = InProcessEngine(model, static=True)._decoder()
    assert isinstance(preferred, NativeDecoder | StaticDecoder)
    model.transformer.decoder_layers[0].mlp.register_forward_hook(lambda *_: None)
    model.transformer.link()
    engine = InProcessEngine(model, native=False, static=True)
    with pytest.warns(RuntimeWarning, match=r"kernel by kernel.* 1 of its 4 layers are run as the modules they are"):
        assert not isinstance(engine._decoder(), StaticDecoder)
    with warnings.catch_warnings(action="error"):  # said once
        assert not isinstance(engine._decoder(), StaticDecoder)
    # what no graph launches is counted: a step for each token after the first
    samples, ledger = engine.sample([SampleRequest(token_array([3, 4, 5]), (Key.of(1),), 6)], Sampling(1.0))
    assert ledger.eager == len(samples[0][0].token_ids) - 1 > 0


@pytest.mark.parametrize(
    ("vocabulary", "sampling"),
    each_once([64, 61, 1536, 1187], [Sampling(1.0), Sampling(0.3), Sampling(0.0), Sampling(0.7, 0.6)]),
    ids=str,
)
def test_draws_in_blocks_are_those_of_the_plain_draw(vocabulary: int, sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 4 * torch.randn(500, vocabulary, generator=generator, dtype=torch.float64)
    logits[:, 5:9] = -torch.inf
    uniform = torch.rand(500, generator=generator, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1.0 - 2**-53])
    ours, theirs = draw_each(logits, uniform, sampling), draw(logits, torch.arange(500), uniform, sampling)
    assert ours.token.tolist() == theirs.token.tolist()
    torch.testing.assert_close(ours.logprob, theirs.logprob)
    torch.testing.assert_close(ours.sampler_logprob, theirs.sampler_logprob)
    half = draw_each(logits.to(torch.bfloat16), uniform, sampling)
    assert bool(((half.token < 5) | (half.token >= 9)).all())


def test_buckets() -> None:
    assert [length_bucket(n) for n in (1, 64, 65, 300, 512, 513, 1025)] == [64, 64, 128, 320, 512, 640, 1280]
    assert [row_bucket(n, 1) for n in (1, 8, 9, 50, 128, 129, 400, 513)] == [8, 8, 16, 56, 128, 144, 416, 576]
    assert [stage_bucket(column, 300) for column in (0, 127, 128, 255, 256, 299)] == [128, 128, 256, 256, 300, 300]
    assert row_bucket(400, 56) == 448
    assert row_bucket(1, 64) == 64


def test_a_context_is_copied_for_as_many_rows_as_moves_the_fewest_bytes() -> None:
    group = arrange(np.zeros(50, dtype=np.int64), 100, 300, Traffic(6_000_000, 28_672))
    assert group.grid == Grid(copies=1, each=56, context=128, length=320)
    assert group.row.tolist() == list(range(50))
    uneven = arrange(np.repeat(np.arange(9), [50, 1, 1, 1, 1, 1, 1, 1, 1]), 100, 300, Traffic(6_000_000, 28_672))
    assert uneven.grid.rows <= 72
    assert len(set(uneven.row.tolist())) == 58
    copies = uneven.row // uneven.grid.each
    assert uneven.context[copies].tolist() == np.repeat(np.arange(9), [50, 1, 1, 1, 1, 1, 1, 1, 1]).tolist()


def test_a_grid_that_is_held_is_taken_where_it_is_not_much_larger() -> None:
    traffic, contexts = Traffic(6_000_000, 28_672, weights=3_000_000_000), np.zeros(50, dtype=np.int64)
    held = arrange(contexts, 100, 300, traffic).grid
    assert held == Grid(copies=1, each=56, context=128, length=320)
    assert arrange(contexts[:45], 60, 250, traffic).grid == Grid(copies=1, each=48, context=64, length=256)
    # weights 3,000 MB; 56 rows of 6 + 160 * .0287 MB: 3,597 MB, beside 3,466 of the best grid
    assert arrange(contexts[:45], 60, 250, traffic, [held]).grid == held
    # of 400 rows, weights are the smaller part: 8,100 MB and more, beside 3,466
    large = Grid(copies=1, each=400, context=128, length=320)
    assert arrange(contexts[:45], 60, 250, traffic, [large]).grid == Grid(copies=1, each=48, context=64, length=256)
    for rows, context, length in ((50, 130, 300), (50, 100, 330), (57, 100, 300)):  # what does not fit
        assert arrange(np.zeros(rows, dtype=np.int64), context, length, traffic, [held]).grid != held


class Delayed:
    """An event of a device that is always behind: what was asked is there only when it is waited for."""

    log: list[str]

    def __init__(self) -> None:
        self.log = []

    def event(self) -> "DelayedEvent":
        return DelayedEvent(self)


class DelayedEvent:
    """Writes down when it is recorded and waited for."""

    def __init__(self, device: Delayed) -> None:
        self.device = device
        self.number = sum(entry.startswith("record") for entry in device.log)

    def record(self) -> None:
        self.device.log.append(f"record {self.number}")

    def synchronize(self) -> None:
        self.device.log.append(f"wait {self.number}")


def test_a_check_waits_for_the_one_before_it_only() -> None:
    device, left = Delayed(), torch.tensor([3])
    watch = Watch(left, device.event)
    answers = [watch.all_finished()]
    left.fill_(0)
    answers.append(watch.all_finished())  # reads what the first check asked: 3 were left
    left.fill_(7)
    answers.append(watch.all_finished())  # what the second asked, although a third answer is under way
    assert answers == [False, False, True]
    assert device.log == ["record 0", "record 1", "wait 0", "record 2", "wait 1"]


def test_recorded_steps_read_the_ends_from_memory_that_the_decoder_holds() -> None:
    """A CUDA graph keeps no tensor alive: all steps must share one that outlives them."""
    model = tiny()
    engine = static_engine(model)
    decoder = decoder_of(engine)
    decoder.recorder = counted = Counted()
    engine.sample(requests(2, 4, budget=40), Sampling(1.0))
    engine.sample(requests(2, 4, budget=40), Sampling(0.5))
    steps = [step for step in counted.steps if isinstance(step, DecodeStep)]
    assert len(steps) > 1
    assert all(step.ends is decoder.steps.ends for step in steps)
