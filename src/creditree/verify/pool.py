"""Killable processes that compare formulas: what hangs in one is ended at its deadline, what crashes is replaced.

A worker is a fresh interpreter on a pipe, not a fork: it imports neither the program that started it nor torch, and
works the same on systems that cannot fork.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import creditree
from creditree.errors import ConfigError
from creditree.problem import Verdict

GRACE_S = 0.5
"""How long after its deadline a worker that does not interrupt itself is killed."""
START_S = 120.0
"""How long a worker may take to import sympy, on a machine that is busy."""
MOST_FAILED_STARTS = 2
LEAST_MEMORY = 1 << 28

Job = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use: wall seconds for one answer, bytes of address space, and how many workers there are.

    Raises ConfigError for less memory than sympy needs.
    """

    deadline_s: float = 5.0
    memory_bytes: int = 1 << 30
    num_workers: int = 2

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY:
            raise ConfigError("the memory of a grading process is below 256 MiB, which sympy needs; set 512MB or more.")


class Worker:
    """One process, and a thread that reads what it says."""

    def __init__(self, limits: Limits) -> None:
        source = str(Path(creditree.__file__).resolve().parents[1])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "creditree.verify.worker", str(limits.deadline_s), str(limits.memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
            start_new_session=os.name == "posix",  # Ctrl-C in a terminal is for the parent, which then ends workers
        )
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        Thread(target=self._listen, name="creditree-grading", daemon=True).start()

    def is_ready(self) -> bool:
        """Wait until the worker has imported what it needs; return False where it ended instead."""
        return self._hear(START_S) is not None

    def ask(self, job: Job, deadline_s: float) -> Mapping[str, Any] | None:
        """Return the reply to a job, or None where the worker ended. Raises TimeoutError after the deadline."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job).encode("ascii") + b"\n")
            self.process.stdin.flush()
        except OSError:
            return None
        return self._hear(deadline_s)

    def end(self) -> None:
        """Kill the process and forget it."""
        self.process.kill()
        self.process.wait()
        with suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    @property
    def ended_by_alarm(self) -> bool:
        """Whether its own alarm ended it."""
        return hasattr(signal, "SIGPROF") and self.process.wait(5) == -signal.SIGPROF

    def _hear(self, seconds: float) -> Mapping[str, Any] | None:
        try:
            line = self._said.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        return None if line is None else json.loads(line)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._said.put(line)
        self._said.put(None)


class WorkerPool:
    """Up to `limits.num_workers` workers, started when they are first needed.

    They end with `close`, when the pool is no longer used, and when the program ends, also by Ctrl-C; where it is
    killed, a worker ends with its present job at the latest. Not for use from several threads at once.
    """

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._lock = Lock()
        self._closing = False
        self._failed_starts = 0
        self._finalizer = weakref.finalize(self, _end_all, self._all, os.getpid())

    def run(self, jobs: Sequence[Job]) -> list[Verdict]:
        """Return the verdict on each job, in order.

        An answer that reaches the deadline is a ``timeout``, one that ends its worker a ``crash``; both have reward 0.
        Where no worker can be started there is no reward.
        """
        verdicts: list[Verdict | None] = [None] * len(jobs)
        waiting = iter(range(len(jobs)))
        threads = [
            Thread(target=self._serve, args=(jobs, waiting, verdicts), daemon=True)
            for _ in range(min(self.limits.num_workers, len(jobs)))
        ]
        self._closing = False
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self.close()
            raise
        return [verdict or Verdict(None, "crash", "the grading process was stopped.") for verdict in verdicts]

    def close(self) -> None:
        """End all workers; the next `run` starts new ones."""
        self._closing = True
        with self._lock:
            _end_all(self._all, os.getpid())
            self._idle.clear()

    def _serve(self, jobs: Sequence[Job], waiting: Iterator[int], verdicts: list[Verdict | None]) -> None:
        worker: Worker | None = None
        while not self._closing:
            with self._lock:
                index = next(waiting, None)
            if index is None:
                break
            worker = worker or self._taken()
            if worker is None:
                verdicts[index] = Verdict(None, "crash", "no grading process could be started: is math-verify there?")
                continue
            verdicts[index], keep = self._asked(worker, jobs[index])
            if not keep:
                self._drop(worker)
                worker = None
        if worker is not None:
            with self._lock:
                self._idle.append(worker)

    def _asked(self, worker: Worker, job: Job) -> tuple[Verdict, bool]:
        """Return the verdict on a job and whether the worker can go on."""
        deadline = self.limits.deadline_s
        late = Verdict(0.0, "timeout", f"the comparison took longer than {deadline:g} s.")
        try:
            reply = worker.ask(job, deadline + GRACE_S)
        except TimeoutError:
            return late, False
        if reply is None:
            ended = Verdict(0.0, "crash", "the comparison ended its process.")
            return (late if worker.ended_by_alarm else ended), False
        verdict = Verdict(1.0 if reply["correct"] else 0.0, reply["status"], reply["detail"])
        return verdict, not reply["retiring"]

    def _taken(self) -> Worker | None:
        """Return an idle worker or a new one; None after several that did not start, or while closing."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._closing or self._failed_starts >= MOST_FAILED_STARTS:
                return None
            worker = Worker(self.limits)
            self._all.add(worker)
        try:
            ready = worker.is_ready()
        except TimeoutError:
            ready = False
        if ready:
            return worker
        self._drop(worker)
        self._failed_starts += 1
        return self._taken()

    def _drop(self, worker: Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


def _end_all(workers: set[Worker], owner: int) -> None:
    """End workers, unless this is a forked copy of the process that started them."""
    if os.getpid() == owner:
        for worker in list(workers):
            worker.end()
        workers.clear()
