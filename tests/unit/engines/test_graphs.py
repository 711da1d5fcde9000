"""Recorded steps, with a device that keeps the rules of CUDA's graphs and of the memory that they share."""

import warnings

import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.graphs import Graph, Step
from creditree.engines.static.record import Recorder
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.rng import Key
from creditree.tree import token_array
from tests.strict_graphs import StrictGraphs
from tests.tiny_models import tiny
from tests.unit.engines.test_static import assert_same, decoder_of, requests, static_engine, torch_engine

CPU = torch.device("cpu")


def engine_with(graphs: StrictGraphs, model: Model) -> tuple[InProcessEngine, Recorder]:
    """Return an engine that records on a strict device."""
    engine = static_engine(model)
    recorder = Recorder(CPU, graphs=graphs)
    decoder_of(engine).recorder = recorder
    return engine, recorder


def test_the_fake_device_refuses_a_pool_after_its_last_graph() -> None:
    graphs = StrictGraphs()
    pool = graphs.new_pool()
    graph = graphs.capture(lambda: None, pool)
    graphs.capture(lambda: None, pool)
    del graph
    with pytest.raises(RuntimeError, match="use_count"):
        graphs.capture(lambda: None, pool)


def test_graphs_are_captured_again_after_all_of_them_were_dropped() -> None:
    model = tiny()
    engine, recorder = engine_with(StrictGraphs(), model)
    for turn in range(3):
        weight = model.transformer.decoder_layers[1].mlp.down_proj.weight
        weight.data = weight.data.clone()  # a weight that has moved: every recorded step is dropped
        model.transformer.link()
        engine.forget()
        found, ledger = engine.sample(requests(), Sampling(0.7))
        assert ledger.eager == 0
        assert recorder.captured == turn + 1
    assert recorder.failure is None
    expected, _ = torch_engine(model).sample(requests(), Sampling(0.7))
    assert_same(found, expected)


def test_other_prompts_and_updates_of_the_adapter_need_few_captures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.static.grid._SHORTEST", 4)  # so that short prompts differ in their buckets
    model = tiny()
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    engine, recorder = engine_with(StrictGraphs(), model)
    captures = []
    for length in (9, 5, 2, 8, 14, 9, 13, 3):  # buckets of 12, 8, 4, 8, 16, 12, 16, 4
        with torch.no_grad():
            for matrix in adapter.matrices:
                matrix.add_(0.1)
        engine.forget()
        keys = tuple(Key.of(1).at(length, member) for member in range(6))
        asked = [SampleRequest(token_array(range(3, 3 + length)), keys, 10)]
        found, _ = engine.sample(asked, Sampling(0.7))
        expected, _ = torch_engine(model).sample(asked, Sampling(0.7))
        assert_same(found, expected)
        captures.append(recorder.captured)
    assert captures == [1, 1, 1, 1, 2, 2, 2, 2]  # only the first that fits no grid that is there


def test_a_failed_capture_is_said_and_counted_and_the_next_one_has_a_pool_of_its_own() -> None:
    model = tiny()
    graphs = StrictGraphs(broken=1)
    engine, recorder = engine_with(graphs, model)
    with pytest.warns(RuntimeWarning, match="kernel by kernel.*not permitted when stream is capturing") as said:
        found, ledger = engine.sample(requests(), Sampling(0.7))
    assert len(said) == 1
    assert "more of it" not in str(said[0].message)
    longest = max(len(sample.token_ids) for samples in found for sample in samples)
    assert ledger.eager >= longest - 1
    expected, _ = torch_engine(model).sample(requests(), Sampling(0.7))
    assert_same(found, expected)
    _, ledger = engine.sample(requests(), Sampling(0.8))
    assert (recorder.captured, ledger.eager) == (1, 0)
    assert recorder.failure is not None


def test_captures_are_given_up_after_a_few_failures() -> None:
    graphs = StrictGraphs(broken=99)
    recorder = Recorder(CPU, graphs=graphs)
    done: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        steps = [recorder.record(lambda: done.append(1), []) for _ in range(5)]
    assert graphs.tried == 3
    warm_ups = len(done)
    assert warm_ups == graphs.warmed_up == 3
    for step in steps:
        step()
    assert len(done) == warm_ups + 5
    assert recorder.eager == 5


def test_running_out_of_memory_is_no_failure_of_a_capture() -> None:
    class Full(StrictGraphs):
        def capture(self, step: Step, pool: object) -> Graph:
            raise torch.OutOfMemoryError("CUDA out of memory")

    recorder = Recorder(CPU, graphs=Full())
    with pytest.raises(torch.OutOfMemoryError):
        recorder.record(lambda: None, [])
    assert recorder.failure is None
