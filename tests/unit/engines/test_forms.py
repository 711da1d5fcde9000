"""A step in several forms: the fastest is recorded, and one that is no use is not."""

import warnings
from collections.abc import Callable, Sequence

import pytest
import torch

from creditree.engines.engine import Sampling
from creditree.engines.static.record import Form, Recorder
from tests.strict_graphs import StrictGraphs
from tests.tiny_models import tiny
from tests.unit.engines.test_static import decoder_of, requests, static_engine

CPU = torch.device("cpu")


Run = Callable[[], None]


def made(log: list[str]) -> tuple[Run, Form]:
    """Return a plain step and another form that write down that they ran."""
    return lambda: log.append("plain"), Form("triton-pdl", lambda: lambda: log.append("triton-pdl"))


@pytest.mark.parametrize(
    ("paces", "taken"), [((2.0, 1.0), "triton-pdl"), ((1.0, 0.99), "plain"), ((1.0, 2.0), "plain")]
)
def test_the_faster_kernels_are_measured_once_and_then_taken(paces: Sequence[float], taken: str) -> None:
    recorder = Recorder(CPU, graphs=StrictGraphs(paces=paces))
    log: list[str] = []
    plain, other = made(log)
    first = recorder.record(plain, [], [other])
    assert recorder.paces == {"plain": paces[0], "triton-pdl": paces[1]}
    second = recorder.record(plain, [], [other])  # no pace is left to be asked for
    for replay in (first, second):
        log.clear()
        replay()
        assert log == [taken]
    assert recorder.kernels == taken
    assert recorder.captured == 3
    assert recorder.failure is None
    assert recorder.refused == {}


@pytest.mark.parametrize(
    ("paces", "taken"),
    [
        ((1.0, 0.8, 0.7), "triton-pdl"),
        ((1.0, 0.7, 0.8), "triton"),
        ((1.0, 1.1, 1.2), "plain"),
    ],
)
def test_of_several_forms_the_fastest_is_taken_for_each_size(paces: Sequence[float], taken: str) -> None:
    recorder = Recorder(CPU, graphs=StrictGraphs(paces=[*paces, 1.0, 2.0, 2.0]))
    log: list[str] = []
    plain, other = made(log)
    forms = [Form("triton", lambda: lambda: log.append("triton")), other]
    replay = recorder.record(plain, [], forms, 8)
    log.clear()
    replay()
    assert log == [recorder.kernels] == [taken]
    recorder.record(plain, [], forms, 400)
    assert recorder.kernels == "plain"
    recorder.record(plain, [], forms, 8)
    assert recorder.kernels == taken


def test_a_form_that_computes_something_else_is_never_taken() -> None:
    def check(step: Run) -> None:
        raise RuntimeError("its hidden states are not the plain step's")

    recorder = Recorder(CPU, graphs=StrictGraphs(paces=(1.0, 0.9)))
    log: list[str] = []
    plain, other = made(log)
    wrong = Form("triton", lambda: lambda: log.append("triton"), check)
    recorder.record(plain, [], [wrong, other])
    assert "triton" not in log
    assert recorder.kernels == "triton-pdl"
    assert recorder.refused == {"triton": "its hidden states are not the plain step's"}


def test_where_kernels_cannot_be_compiled_the_plain_ones_are_recorded_and_it_is_known_why() -> None:
    class NoCompilerError(Exception):
        """A class that nobody expects."""

    def broken() -> None:
        raise NoCompilerError("no C++ compiler\nand a page of its output")

    recorder = Recorder(CPU, graphs=StrictGraphs())
    log: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replay = recorder.record(made(log)[0], [], [Form("triton-pdl", lambda: broken)])
    log.clear()
    replay()
    assert log == ["plain"]
    assert (recorder.captured, recorder.eager, recorder.kernels) == (1, 0, "plain")
    assert recorder.refused == {"triton-pdl": "no C++ compiler"}
    assert recorder.failure is None


def test_small_models_are_not_compiled_for_and_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[list[str]] = []

    class Asked(Recorder):
        """Writes down which forms were offered, and takes the plain step."""

        def record(self, step: Run, state: Sequence[torch.Tensor], forms: Sequence[Form] = (), size: int = 0) -> Run:
            offered.append([form.kernels for form in forms])
            return step

    for bytes_ in (1 << 27, 1):
        monkeypatch.setattr("creditree.engines.static.steps.FEWEST_BYTES", bytes_)
        engine = static_engine(tiny())
        decoder_of(engine).recorder = Asked(CPU)
        engine.sample(requests(1, 2), Sampling(0.7))
    assert offered == [[], ["triton", "triton-pdl", "triton-early"]]
