"""Fused kernels: the same numbers as the plain ones, and the faster of both is recorded."""

import warnings
from collections.abc import Callable, Sequence

import pytest
import torch

from creditree.engines.engine import Sampling
from creditree.engines.static.decoder import Pace
from creditree.engines.static.record import Recorder
from creditree.models.adapter import Adapter, LoraSpec
from creditree.rng import Key
from tests.strict_graphs import StrictGraphs
from tests.tiny_models import tiny
from tests.unit.engines.test_static import assert_same, decoder_of, requests, static_engine, torch_engine

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3"])
def test_compiled_kernels_give_the_tokens_and_numbers_of_plain_ones(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(family)
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.1 * torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1)).to(matrix.dtype))
    for shares in (False, True):
        monkeypatch.setattr(Pace, "shares", shares)
        engine = static_engine(model, keep_layer=adapter.first_layer)
        decoder_of(engine).recorder = Recorder(CPU, "fused")
        found, _ = engine.sample(requests(2, 4), Sampling(0.7, entropies=True))
        expected, _ = torch_engine(model).sample(requests(2, 4), Sampling(0.7, entropies=True))
        assert_same(found, expected)


def made(log: list[str]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a plain and a fused step that write down that they ran."""
    return lambda: log.append("plain"), lambda: log.append("fused")


@pytest.mark.parametrize(("paces", "taken"), [((2.0, 1.0), "fused"), ((1.0, 0.99), "plain"), ((1.0, 2.0), "plain")])
def test_the_faster_kernels_are_measured_once_and_then_taken(paces: Sequence[float], taken: str) -> None:
    recorder = Recorder(CPU, graphs=StrictGraphs(paces=paces))
    log: list[str] = []
    plain, fused = made(log)
    first = recorder.record(plain, [], fused)
    assert recorder.paces == {"plain": paces[0], "fused": paces[1]}
    second = recorder.record(plain, [], fused)  # no pace is left to be asked for
    for replay in (first, second):
        log.clear()
        replay()
        assert log == [taken]
    assert recorder.kernels == taken
    assert recorder.captured == 3
    assert recorder.failure is recorder.not_fused is None


def test_where_kernels_cannot_be_compiled_the_plain_ones_are_recorded_and_it_is_known_why() -> None:
    class NoCompilerError(Exception):
        """A class that nobody expects."""

    def fused() -> None:
        raise NoCompilerError("no C++ compiler\nand a page of its output")

    recorder = Recorder(CPU, graphs=StrictGraphs())
    log: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replay = recorder.record(made(log)[0], [], fused)
    log.clear()
    replay()
    assert log == ["plain"]
    assert (recorder.captured, recorder.eager, recorder.kernels) == (1, 0, "plain")
    assert recorder.not_fused == "no C++ compiler"
    assert recorder.failure is None


def test_small_models_are_not_compiled_for_and_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[bool] = []

    class Asked(Recorder):
        """Writes down whether a fused step was offered, and takes the plain one."""

        def record(
            self, step: Callable[[], None], state: Sequence[torch.Tensor], fused: Callable[[], None] | None = None
        ) -> Callable[[], None]:
            offered.append(fused is not None)
            return step

    for bytes_ in (1 << 27, 1):
        monkeypatch.setattr("creditree.engines.static.steps.FEWEST_BYTES", bytes_)
        engine = static_engine(tiny())
        decoder_of(engine).recorder = Asked(CPU)
        engine.sample(requests(1, 2), Sampling(0.7))
    assert offered == [False, True]
