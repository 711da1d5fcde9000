"""Workers in processes of Ray: the update of one process, also where one of them is killed."""

import gc
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import psutil
import pytest

from creditree.engines.engine import SampleRequest, Sampling
from creditree.errors import DataError
from creditree.problem import Verdict
from creditree.rng import Key
from creditree.scale.cluster import Need, NodeRoom, connected
from creditree.scale.crew import Order
from creditree.scale.ray_crew import RayCrew
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from creditree.verify.verifier import Answer
from tests.crews import with_crew
from tests.scaled import SETTINGS, matrices, parts_of, small, trained
from tests.training import SUMS, Scripted

METHOD = small("grpo")
SLOW_S = 4.0


class Slow(Scripted):
    """Takes its time for one text, without working."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge by the script."""
        if answers[0].completion == "slow":
            time.sleep(SLOW_S)
        return super().judge(answers)


def worker() -> CrewWorker:
    return CrewWorker.training(replace(parts_of(METHOD), verifier=Slow()), SETTINGS)


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
    assert len(crew[1]) == 1
    assert "died; another takes its place" in crew[1][0]
    assert loop.state.seconds.cpu["sample"] > 0  # the workers' too
    assert capfd.readouterr() == ("", "")


def test_what_a_worker_cannot_do_is_said_here_and_the_next_order_is_done(crew: tuple[RayCrew, list[str]]) -> None:
    long = SampleRequest(np.arange(3, 6), (Key.of(0),), 999)
    short = replace(long, max_new_tokens=2)
    with pytest.raises(DataError, match="exceed the context"):
        crew[0].run([Order("sample", ([request], Sampling())) for request in (long, short, long)], None)
    ((samples,), _) = crew[0].run([Order("sample", ([short], Sampling()))], None)[0]
    assert len(samples[0].token_ids) <= 2


def test_what_is_slow_holds_one_worker_and_the_other_does_the_rest(crew: tuple[RayCrew, list[str]]) -> None:
    texts = ("slow", "a", "b", "c", "d", "e")
    orders = [Order("judge", ([Answer(SUMS.training(Key.of(0), 0), "", text)],)) for text in texts]
    heard: list[int] = []
    crew[0].run(orders, None, lambda number, reply: heard.append(number))
    assert sorted(heard) == list(range(len(texts)))
    assert heard[-1] == 0
