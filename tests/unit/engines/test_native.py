"""Native decoding against torch: same tokens for the same uniforms, the same store; torch where it cannot be used."""

import ctypes
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native import decoder as native_module
from creditree.engines.native.compiler import compiler_path
from creditree.engines.native.decoder import NativeDecoder, _at
from creditree.engines.native.library import library
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.family import PROJECTIONS
from creditree.models.load import Model
from creditree.rng import Key
from creditree.tree import token_array
from tests.each_once import each_once
from tests.tiny_models import FAMILIES, tiny

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler here: torch decodes")
BUDGET = 20


def requests(group: int = 5, problems: int = 3, budget: int = BUDGET) -> list[SampleRequest]:
    return [
        SampleRequest(
            token_array([7 + p, 9, 12, 40 - p][: 2 + p]), tuple(Key.of(p).at(i) for i in range(group)), budget
        )
        for p in range(problems)
    ]


def adapted(family: str = "qwen2", dtype: torch.dtype = torch.float64, layers: tuple[int, ...] = (1, 3)) -> Model:
    """A model with a LoRA on all projections of some layers, its matrices far from zero."""
    model = tiny(family, dtype)
    adapter = Adapter(model, LoraSpec(rank=3, layers=layers, targets=PROJECTIONS), Key.of(1))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.copy_(0.2 * torch.randn(matrix.shape, generator=generator))
    return model


def both(
    model: Model, asked: list[SampleRequest], sampling: Sampling, **options: Any
) -> tuple[list[Sample], list[Sample]]:
    """The samples of native code and of torch."""
    engines = [InProcessEngine(model, native=native, **options) for native in (True, False)]
    assert isinstance(engines[0]._decoder(), NativeDecoder)
    assert not isinstance(engines[1]._decoder(), NativeDecoder)
    results = [engine.sample(asked, sampling) for engine in engines]
    if model.transformer.dtype != torch.bfloat16:  # else the tokens differ, and so do shared prefixes
        assert results[0][1] == results[1][1]
    return tuple([sample for group in found for sample in group] for found, _ in results)  # type: ignore[return-value]


SAMPLINGS = (
    Sampling(1.0), Sampling(0.4, entropies=True), Sampling(0.0), Sampling(1.3, 0.6), Sampling(1.0, entropies=True),
)  # fmt: skip


@needs_compiler
@pytest.mark.parametrize(
    ("family", "sampling"),
    each_once(FAMILIES, SAMPLINGS),
    ids=str,
)
def test_native_equals_torch_with_adapters_on_all_projections(family: str, sampling: Sampling) -> None:
    native, plain = both(adapted(family), requests(), sampling)
    for ours, theirs in zip(native, plain, strict=True):
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        assert ours.finish_reason == theirs.finish_reason
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-10)
        assert ours.sampler_logprobs == pytest.approx(theirs.sampler_logprobs, abs=1e-10)
        if sampling.entropies:
            assert ours.entropies == pytest.approx(theirs.entropies, abs=1e-10)


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.3)], ids=str)
def test_native_in_the_precisions_of_training(dtype: torch.dtype, tolerance: float) -> None:
    """bfloat16 sums in another order than torch, so only the first token of a completion has to have the same odds."""
    native, plain = both(adapted(dtype=dtype), requests(group=20), Sampling(1.0))
    for ours, theirs in zip(native, plain, strict=True):
        if dtype == torch.float32:
            assert ours.token_ids.tolist() == theirs.token_ids.tolist()
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=tolerance)
        elif ours.token_ids[0] == theirs.token_ids[0]:
            assert ours.logprobs[0] == pytest.approx(theirs.logprobs[0], abs=tolerance)
    same = [ours.token_ids[0] == theirs.token_ids[0] for ours, theirs in zip(native, plain, strict=True)]
    assert np.mean(same) > 0.9


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_shares_the_batch_does_not_change_a_bit(dtype: torch.dtype) -> None:
    model = adapted(dtype=dtype)
    together, _ = InProcessEngine(model).sample(requests(group=9), Sampling(0.9))
    for request, group in zip(requests(group=9), together, strict=True):
        for key, sample in zip(request.keys, group, strict=True):
            one = SampleRequest(request.context_ids, (key,), request.max_new_tokens)
            ((alone,),), _ = InProcessEngine(model).sample([one], Sampling(0.9))
            assert alone.token_ids.tolist() == sample.token_ids.tolist()
            assert alone.logprobs.tolist() == sample.logprobs.tolist()


@needs_compiler
def test_forks_reuse_what_native_code_stored_and_the_trunk_is_what_layers_below_give() -> None:
    model = adapted(layers=(2, 3))
    engine = InProcessEngine(model, keep_layer=2)
    asked = requests(1, problems=1)[0]
    ((first,),), _ = engine.sample([asked], Sampling(0.8))
    whole = np.concatenate([asked.context_ids, first.token_ids])
    assert first.handles is not None
    fork = SampleRequest(token_array(whole[:7]), (Key.of(5), Key.of(6)), 6, handles=first.handles[:7])
    (forked,), ledger = engine.sample([fork], Sampling(0.8))
    assert ledger.prefilled == 0
    (fresh,), _ = InProcessEngine(model, native=False).sample([fork], Sampling(0.8))
    assert [s.token_ids.tolist() for s in forked] == [s.token_ids.tolist() for s in fresh]
    known = whole[:-1]
    trunk = engine.trunk(first.handles[:-1])
    transformer = model.transformer
    with torch.no_grad():
        states = transformer.model(torch.tensor(known[None]), output_hidden_states=True, use_cache=False).hidden_states
    assert trunk is not None
    assert torch.allclose(trunk, states[2][0], atol=1e-10)
    assert engine.trunk(first.handles) is None  # nobody forwarded the last token
    engine.forget()
    engine.sample([asked], Sampling(0.8))  # as many tokens in the same slots, under other numbers
    assert engine.trunk(first.handles[:-1]) is None


@needs_compiler
def test_a_bias_of_the_head_counts() -> None:
    model = tiny()
    bias = torch.full((model.transformer.vocab_size,), -1e9, dtype=torch.float64)
    bias[17] = 0.0
    model.transformer.model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    native, _ = both(model, requests(1), Sampling(1.0))
    assert {int(token) for sample in native for token in sample.token_ids} == {17}


@needs_compiler
def test_the_store_grows_in_the_middle_of_a_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.store.SMALLEST", 8)
    monkeypatch.setattr(native_module, "ROOM_STEPS", 1)
    native, plain = both(adapted(), requests(12), Sampling(1.0))
    assert [s.token_ids.tolist() for s in native] == [s.token_ids.tolist() for s in plain]


def test_an_array_lives_as_long_as_the_address_that_was_given_of_it() -> None:
    """What other threads did meanwhile was read in its place, which ended the process once in many runs."""
    array = np.arange(3)
    held = weakref.ref(array)
    address = _at(array)
    del array
    assert held() is not None
    assert ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))[2] == 2


@needs_compiler
def test_several_threads_give_the_same_bits() -> None:
    model = adapted(dtype=torch.float32)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            samples, _ = InProcessEngine(model).sample(requests(40), Sampling(0.9))
            found.append([(s.token_ids.tolist(), s.logprobs.tolist()) for group in samples for s in group])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


class Interrupted:
    """The compiled library, with Ctrl-C pressed during the third call of its decoding loop."""

    def __init__(self, code: Any) -> None:
        self._code = code
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._code, name)

    def creditree_run(self, *arguments: Any) -> int:
        left = int(self._code.creditree_run(*arguments))
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return left


@needs_compiler
def test_ctrl_c_is_heard_in_the_middle_of_a_rollout_and_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no patience, native code returns after each token; the engine can be used again after an interruption."""
    monkeypatch.setattr(native_module, "_PATIENCE_S", 0.0)
    model = tiny()
    code = Interrupted(library("float64"))
    engine = InProcessEngine(model)
    with monkeypatch.context() as patched:
        patched.setattr(native_module, "library", lambda dtype: code)
        with pytest.raises(KeyboardInterrupt):
            engine.sample(requests(), Sampling(1.0))
    assert code.calls == 3
    engine.forget()
    again, _ = engine.sample(requests(), Sampling(1.0))
    fresh, _ = InProcessEngine(model).sample(requests(), Sampling(1.0))
    assert [s.token_ids.tolist() for g in again for s in g] == [s.token_ids.tolist() for g in fresh for s in g]


@needs_compiler
def test_a_layer_with_a_hook_or_something_unknown_in_it_is_left_to_torch() -> None:
    model = tiny()
    layer = model.transformer.decoder_layers[1]
    handle = layer.mlp.register_forward_hook(lambda *_: None)
    assert not isinstance(InProcessEngine(model)._decoder(), NativeDecoder)
    handle.remove()
    assert isinstance(InProcessEngine(model)._decoder(), NativeDecoder)
    layer.mlp.act_fn = torch.nn.GELU()
    assert not isinstance(InProcessEngine(model)._decoder(), NativeDecoder)


@needs_compiler
def test_native_code_that_does_not_agree_with_the_model_is_not_used() -> None:
    """A layer that scales its output looks like the family's, and is not: only the check can tell."""
    model = tiny()
    module = model.transformer.decoder_layers[0]
    plain = module.forward
    module.forward = lambda *args, **kwargs: 1.5 * plain(*args, **kwargs)
    engine = InProcessEngine(model)
    assert not isinstance(engine._decoder(), NativeDecoder)
    module.forward = plain
    assert isinstance(InProcessEngine(model)._decoder(), NativeDecoder)
