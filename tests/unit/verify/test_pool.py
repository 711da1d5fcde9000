"""Workers are killed at their deadline, replaced when they crash, and never outlive the program."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from creditree.errors import ConfigError
from creditree.limits import Limits
from creditree.verify.pool import WorkerPool
from creditree.verify.process import Worker

SLOW = {"answer": "\\int_0^1 \\sin(\\sin(\\sin(x^{2x}))) dx", "truths": ["1+x"], "math_verify": True}
RIGHT = {"answer": "\\sqrt{12}", "truths": ["2\\sqrt{3}"], "math_verify": True}
SAME = {"answer": "5", "truths": ["5"], "math_verify": True}
WRONG = {"answer": "\\sqrt{13}", "truths": ["2\\sqrt{3}"], "math_verify": True}


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(Limits(deadline_s=60.0, num_workers=1))
    yield pool
    pool.close()


def is_alive(process: int) -> bool:
    if not Path("/proc").exists():
        return bool(psutil.pid_exists(process))
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:  # it is gone, or goes while it is read
        return False


def ended(process: int, within_s: float = 60.0) -> bool:
    limit = time.monotonic() + within_s
    while is_alive(process):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def hurried(pool: WorkerPool, deadline_s: float = 0.1) -> Iterator[int]:
    """Stop the one worker of a pool and have the pool be impatient with it; yield its process."""
    pool.run([RIGHT])
    (worker,) = pool._all
    os.kill(worker.process.pid, signal.SIGSTOP)
    patient, pool.limits = pool.limits, Limits(deadline_s=deadline_s, num_workers=1)
    yield worker.process.pid
    pool.limits = patient


def test_verdicts_come_in_the_order_of_the_jobs(pool: WorkerPool) -> None:
    assert [verdict.reward for verdict in pool.run([RIGHT, WRONG, RIGHT])] == [1.0, 0.0, 1.0]
    assert pool.run([]) == []


def test_a_pool_starts_nothing_before_it_is_needed_and_can_be_used_after_close() -> None:
    pool = WorkerPool(Limits(deadline_s=60.0, num_workers=1))
    assert not pool._all
    assert pool.run([RIGHT])[0].reward == 1.0
    (worker,) = pool._all
    pool.close()
    assert ended(worker.process.pid)
    assert pool.run([RIGHT])[0].reward == 1.0
    pool.close()


def test_a_worker_of_a_large_program_is_not_replaced_after_each_job() -> None:
    held = b"1" * (600 << 20)
    pool = WorkerPool(Limits(deadline_s=60.0, num_workers=1))
    assert [pool.run([job])[0].reward for job in (RIGHT, WRONG)] == [1.0, 0.0]
    (worker,) = pool._all
    assert pool.run([RIGHT])[0].reward == 1.0
    assert pool._all == {worker}
    pool.close()
    assert len(held) > pool.limits.memory_bytes / 2


def test_what_takes_too_long_is_a_timeout_with_reward_0_and_the_next_is_judged() -> None:
    pool = WorkerPool(Limits(deadline_s=0.3, num_workers=1))
    late = pool.run([SLOW])[0]
    assert (late.reward, late.status) == (0.0, "timeout")
    assert any(pool.run([SAME])[0].reward == 1.0 for _ in range(100))  # where the machine is busy, not the first time
    pool.close()


def test_a_worker_that_does_not_hear_its_alarm_is_killed_and_replaced(pool: WorkerPool) -> None:
    with hurried(pool) as process:
        stuck = pool.run([RIGHT])[0]
    assert (stuck.reward, stuck.status) == (0.0, "timeout")
    assert ended(process)
    assert pool.run([RIGHT])[0].reward == 1.0


def test_a_job_that_a_worker_does_not_read_ends_at_the_deadline_too(pool: WorkerPool) -> None:
    with hurried(pool):
        (stuck,) = pool.run([{**RIGHT, "truths": ["x" * 500] * 4000}])  # more than a pipe holds
    assert (stuck.reward, stuck.status) == (0.0, "timeout")


def test_an_answer_that_ends_its_worker_is_a_crash_with_reward_0_and_the_worker_is_replaced(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.run([RIGHT])
    (worker,) = pool._all
    os.kill(worker.process.pid, signal.SIGSTOP)
    hear = Worker.hear

    def killed_meanwhile(asked: Worker, seconds: float) -> bytes | None:
        monkeypatch.undo()
        os.kill(worker.process.pid, signal.SIGKILL)
        return hear(asked, seconds)

    monkeypatch.setattr(Worker, "hear", killed_meanwhile)
    dead, next_ = pool.run([RIGHT, RIGHT])
    assert (dead.reward, dead.status) == (0.0, "crash")
    assert "SIGKILL" in dead.detail
    assert next_.reward == 1.0


def test_a_worker_that_ended_between_two_answers_is_not_the_next_answers_fault(pool: WorkerPool) -> None:
    pool.run([RIGHT])
    (worker,) = pool._all
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    assert pool.run([RIGHT])[0].reward == 1.0


def test_without_a_worker_there_is_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = WorkerPool(Limits(num_workers=1))
    (verdict,) = pool.run([RIGHT])
    assert (verdict.reward, verdict.status) == (None, "crash")
    assert "no grading process could be started" in verdict.detail
    assert not pool._all


def test_a_pool_that_is_forgotten_ends_its_workers() -> None:
    pool = WorkerPool(Limits(deadline_s=60.0, num_workers=1))
    pool.run([RIGHT])
    (worker,) = pool._all
    process = worker.process.pid
    del pool, worker
    assert ended(process)


HOLDER = """
import sys, time
from creditree.limits import Limits
from creditree.verify.pool import WorkerPool
pool = WorkerPool(Limits(deadline_s={deadline}, num_workers=1))
pool.run([{right!r}])
print(next(iter(pool._all)).process.pid, flush=True)
{then}
"""


@pytest.mark.parametrize(
    ("then", "number"),
    [("pool.run([{slow!r}] * 100)", signal.SIGINT), ("time.sleep(100)", signal.SIGKILL), ("pass", None)],
)
def test_no_worker_outlives_the_program(then: str, number: signal.Signals | None) -> None:
    code = HOLDER.format(deadline=60, right=RIGHT, then=then.format(slow=SLOW))
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert program.stdout is not None
    with program.stdout as lines:
        worker = int(lines.readline())
    if number is not None:
        assert is_alive(worker)
        time.sleep(0.3)
        program.send_signal(number)
    program.wait(60)
    assert ended(worker)


def test_a_worker_refuses_to_start_programs_and_to_write() -> None:
    code = (
        "import sys, os\nfrom creditree.verify import worker\nsys.addaudithook(worker._refuse)\n"
        "create = os.O_CREAT | os.O_WRONLY\n"
        "for what in (lambda: os.system('true'), lambda: open('x', 'w'), lambda: os.open('x', create)):\n"
        "    try:\n        what()\n        print('done')\n    except PermissionError:\n        print('refused')\n"
        "print(open(os.devnull).read() == '')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "refused", "refused", "True"]


def test_memory_is_bounded(pool: WorkerPool) -> None:
    pool.run([RIGHT])
    (worker,) = pool._all
    limits = Path(f"/proc/{worker.process.pid}/limits")
    if limits.exists():  # Linux has it
        assert str(1 << 30) in limits.read_text()
    with pytest.raises(ConfigError, match="256 MiB"):
        Limits(memory_bytes=1 << 20)
