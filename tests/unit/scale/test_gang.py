"""Workers of Ray that hold one model together make the updates of one process, also where one of them is killed."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.whole import WholeEngine
from creditree.errors import DataError, ModelError
from creditree.rng import Key
from creditree.scale.cluster import Need
from creditree.scale.crew import Order
from creditree.scale.gang import Gang
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from tests.crews import with_crew
from tests.ray_processes import joined, worker_pids
from tests.scaled import SETTINGS, matrices, parts_of, said_by, small, trained

pytestmark = pytest.mark.thorough


def worker(name: str) -> CrewWorker:
    return CrewWorker.training(parts_of(small(name), whole=True), SETTINGS)


def by_gang(name: str, gang: Gang, *, kills: bool = False) -> tuple[list[NDArray[Any]], list[Any]]:
    """Return what a run has trained, and what its steps said; before the second a worker may be killed."""
    loop = Loop(with_crew(parts_of(small(name), whole=True), gang), SETTINGS)
    said = []
    for step in range(SETTINGS.all_steps):
        if step == 1 and kills:
            os.kill(worker_pids()[0], signal.SIGKILL)
        said.append(said_by(loop.step()))
    return matrices(loop), said


@pytest.mark.parametrize("name", ["grpo", "t-spmo", "attnrl"])
def test_a_gang_makes_the_updates_of_one_process(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    alone, said = trained(small(name), None, whole=True)
    told: list[str] = []
    with joined():
        gang = Gang(partial(worker, name), 2, Need(), told.append)
        gang.start({})
        first, also = by_gang(name, gang)
        again, _ = by_gang(name, gang, kills=name == "attnrl")
        gang.close()
    assert also == said
    for own, other, repeated in zip(first, matrices(alone), again, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-10)
        assert own.tobytes() == repeated.tobytes()  # to the bit, whoever was fast or died
    assert len(told) == (name == "attnrl")
    assert all("all 2 begin anew, since they hold the model together" in sentence for sentence in told)
    assert capfd.readouterr() == ("", "")


def test_what_one_cannot_do_is_said_and_the_others_go_on() -> None:
    told: list[str] = []
    parts = parts_of(small("grpo"), whole=True)
    with joined():
        gang = Gang(partial(worker, "grpo"), 2, Need(), told.append)
        gang.start({})
        engine = with_crew(parts, gang).engine
        too_long = SampleRequest(np.arange(3), (Key.of(0),), 999)
        requests = [SampleRequest(np.array([5, 6, 7 + n]), (Key.of(n),), 6) for n in range(40)]
        orders = [Order("sample", (own, Sampling())) for own in (requests, [too_long], requests)]
        with pytest.raises(DataError, match="exceed the context"):
            gang.run(orders, None)
        ours, _ = engine.sample(requests, Sampling())
        alone, _ = parts.engine.sample(requests, Sampling())
        one, _ = engine.sample(requests[:1], Sampling())  # the other one attends
        gang.close()
    tokens = [[sample.token_ids.tolist() for own in drawn for sample in own] for drawn in (ours, alone, one)]
    assert tokens == [tokens[1], tokens[1], tokens[1][:1]]
    assert told == []


def short_of_memory(path: Path) -> CrewWorker:
    """Return a worker that runs out of memory in the middle of a pass, where it finds a file before others do."""
    made = worker("grpo")
    assert isinstance(made.engine, WholeEngine)
    network = made.engine.model.whole
    assert network is not None

    def fails(module: torch.nn.Module, inputs: Any) -> None:
        with suppress(FileNotFoundError):
            path.unlink()
            raise MemoryError

    network.layer_modules[2].register_forward_pre_hook(fails)
    return made


def test_memory_that_runs_out_in_a_pass_ends_what_was_asked_for_and_nothing_hangs(tmp_path: Path) -> None:
    told: list[str] = []
    requests = [SampleRequest(np.array([5, 6, 7 + n]), (Key.of(n),), 6) for n in range(4)]
    orders = [Order("sample", ([request], Sampling())) for request in requests]
    path = tmp_path / "full"
    with joined():
        gang = Gang(partial(short_of_memory, path), 2, Need(), told.append)
        gang.start({})
        path.touch()
        with pytest.raises(ModelError, match="memory ran out in a pass of a model that is divided among workers"):
            gang.run(orders, None)
        drawn = gang.run(orders, None)  # all have begun anew
        gang.close()
    assert len(drawn) == 4
    assert not told
