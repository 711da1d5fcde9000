"""Workers that are processes of Ray make the updates of one process, also where one of them is killed."""

import os
import signal

import numpy as np
import pytest

from creditree.scale.cluster import Need
from creditree.scale.ray_crew import RayCrew
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from tests.crews import with_crew
from tests.ray_processes import joined, worker_pids
from tests.scaled import SETTINGS, matrices, parts_of, small, trained

METHOD = small("attnrl")


def worker() -> CrewWorker:
    return CrewWorker.training(parts_of(METHOD), SETTINGS)


@pytest.mark.thorough
def test_ray_workers_make_the_updates_of_one_process_also_where_one_is_killed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    alone, said = trained(METHOD, None)
    told: list[str] = []
    with joined():
        crew = RayCrew(worker, 2, Need(), told.append)
        crew.start({})
        loop = Loop(with_crew(parts_of(METHOD), crew), SETTINGS)
        also = []
        for step in range(SETTINGS.all_steps):
            if step == 1:
                os.kill(worker_pids()[0], signal.SIGKILL)
            result = loop.step()
            also.append([b.token_ids.tolist() for f in result.explored for tree in f for b in tree.branches])
        crew.close()
    assert also == [step[0] for step in said]
    for own, other in zip(matrices(loop), matrices(alone), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-10)
    assert len(told) == 1
    assert "died; another takes its place" in told[0]
    assert loop.state.seconds.cpu["sample"] > 0  # the workers' too
    assert capfd.readouterr() == ("", "")
