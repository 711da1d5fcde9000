"""Workers in processes of Ray: the update of one process, also where one of them is killed."""

import gc
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import psutil
import pytest

from creditree.scale.cluster import Need, NodeRoom, connected
from creditree.scale.ray_crew import RayCrew
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from tests.crews import with_crew
from tests.scaled import SETTINGS, matrices, parts_of, small, trained

METHOD = small("grpo")


def worker() -> CrewWorker:
    return CrewWorker.training(parts_of(METHOD), SETTINGS)


@pytest.fixture(scope="module")
def crew() -> Iterator[tuple[RayCrew, list[str]]]:
    stack = ExitStack()
    stack.enter_context(connected(NodeRoom("this machine", 4)))
    said: list[str] = []
    crew = RayCrew(worker, 2, Need(), said.append)
    crew.start({})
    yield crew, said
    crew.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for what it has started
        stack.close()
        gc.collect()


def worker_pids() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if any("Actor" in part for part in child.cmdline()[:1])]


def test_ray_workers_make_the_updates_of_one_process_also_where_one_is_killed(
    crew: tuple[RayCrew, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    alone, said = trained(METHOD, None)
    loop = Loop(with_crew(parts_of(METHOD), crew[0]), SETTINGS)
    also = []
    for step in range(SETTINGS.all_steps):
        if step == 1:
            os.kill(worker_pids()[0], signal.SIGKILL)
        result = loop.step()
        also.append([b.token_ids.tolist() for f in result.explored for tree in f for b in tree.branches])
    assert also == [step[0] for step in said]
    for own, other in zip(matrices(loop), matrices(alone), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-10)
    assert crew[1] == ["worker 1 died; another takes its place, and its work is done again"] or len(crew[1]) == 1
    assert loop.state.seconds.cpu["sample"] > 0  # the workers' too
    assert capfd.readouterr() == ("", "")
