"""Memory that runs out in sampling: the same completions, fewer at a time; one that is too much is refused."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from creditree.engines.completions import Completions
from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.memory import AtOnce
from creditree.engines.native.compiler import compiler_path
from creditree.engines.native.decoder import _check
from creditree.engines.whole import engine_for
from creditree.errors import ModelError
from creditree.models.load import Model
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import other, tiny

ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "driver": RuntimeError("CUDA error: out of memory"),
    "library": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "python": MemoryError(),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:123] DefaultCPUAllocator: can't allocate memory: you tried"),
}
ENGINES: dict[str, Callable[[], tuple[Model, Engine]]] = {
    "native": lambda: _with(tiny(dtype=torch.float32), InProcessEngine),
    "torch": lambda: _with(tiny(dtype=torch.float32), lambda model: InProcessEngine(model, native=False)),
    "static": lambda: _with(tiny(dtype=torch.float32), lambda model: InProcessEngine(model, native=False, static=True)),
    "whole": lambda: _with(other("gpt2"), engine_for),
}


def _with(model: Model, engine: Callable[[Model], Engine]) -> tuple[Model, Engine]:
    return model, engine(model)


def asked(budget: int = 6) -> list[SampleRequest]:
    prompts = ([5, 9], [7, 9, 12], [7, 9, 12, 4])
    return [
        SampleRequest(token_array(prompt), tuple(Key.of(0).at(p, i) for i in range(4)), budget)
        for p, prompt in enumerate(prompts)
    ]


def little(room: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let memory run out where more than `room` completions are decoded together; return how many there were."""
    decoded: list[int] = []
    beat = Completions.beat

    def limited(completions: Completions) -> None:
        decoded.append(len(completions))
        if len(completions) > room:
            raise error
        beat(completions)

    monkeypatch.setattr(Completions, "beat", limited)
    return decoded


def words(found: list[list[Sample]]) -> list[list[list[int]]]:
    return [[sample.token_ids.tolist() for sample in samples] for samples in found]


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_completions_come_from_smaller_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "native" and compiler_path() is None:
        pytest.skip("no C++ compiler here: torch decodes")
    _, engine = ENGINES[name]()
    expected, _ = engine.sample(asked(), Sampling(1.0))
    engine.forget()
    decoded = little(4, ERRORS["cpu"], monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"out of memory in sampling: (6|3) completions are decoded together"):
        found, ledger = engine.sample(asked(), Sampling(1.0))
    assert words(found) == words(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for one, other_one in zip(ours, theirs, strict=True):
            assert np.allclose(one.sampler_logprobs, other_one.sampler_logprobs, atol=1e-5)
    assert (engine.max_rows, decoded[0]) == (3, 12)
    assert ledger.completions == 0  # who asked counts them, once
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = engine.sample(asked(), Sampling(1.0))  # it keeps to what fits
    assert words(again) == words(expected)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_way_to_say_it_is_known(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = ENGINES["torch"]()
    little(6, ERRORS[kind], monkeypatch)
    with pytest.warns(RuntimeWarning, match="6 completions are decoded together from now on, not 12"):
        engine.sample(asked(), Sampling(1.0))


@pytest.mark.parametrize("name", ["torch", "whole"])
def test_one_completion_that_is_too_much_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = ENGINES[name]()
    little(0, MemoryError(), monkeypatch)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(ModelError, match=r"out of memory in sampling one completion; lower sampling.max_new_tokens"),
    ):
        engine.sample(asked(), Sampling(1.0))
    assert not isinstance(engine, InProcessEngine) or engine.store.capacity == 0


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = ENGINES["torch"]()
    little(0, RuntimeError("shapes do not fit"), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        engine.sample(asked(), Sampling(1.0))


def test_what_is_stored_is_bounded_too() -> None:
    """Memory ran out with 100 tokens stored: 50 are kept from then on, then 25 of the 60 that were stored at last."""
    at_once, stored, fails = AtOnce(64, 8192), iter([100, 60]), [True, True]

    def sampled() -> str:
        if fails:
            fails.pop()
            raise MemoryError
        return "samples"

    with pytest.warns(RuntimeWarning):
        assert at_once.fitting(40, sampled, lambda: next(stored)) == "samples"
    assert (at_once.rows, at_once.prefill_tokens, at_once.stored_tokens) == (10, 2048, 25)


def test_native_code_that_lacks_memory_says_so() -> None:
    with pytest.raises(MemoryError):
        _check(-3)


def test_a_store_that_gave_its_memory_back_is_used_again() -> None:
    _, engine = ENGINES["torch"]()
    assert isinstance(engine, InProcessEngine)
    first, _ = engine.sample(asked(), Sampling(1.0))
    handles: Any = first[0][0].handles
    engine.store.release()
    assert (engine.store.capacity, engine.store.used) == (0, 1)
    whole = np.concatenate([[5, 9], first[0][0].token_ids])
    assert engine.store.known(handles, whole) == []
    assert words(engine.sample(asked(), Sampling(1.0))[0]) == words(first)
