"""Killable processes that compare formulas: what hangs in one is ended at its deadline, what crashes is replaced."""

import json
import os
import signal
import weakref
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock, Thread

from creditree.limits import Limits
from creditree.problem import Verdict
from creditree.verify.process import Worker

GRACE_S = 0.5
"""How long after its deadline a worker that does not interrupt itself is killed."""
START_S = 120.0
"""How long a worker may take to import sympy, on a machine that is busy."""
MOST_FAILED_STARTS = 2

Job = Mapping[str, object]


class WorkerPool:
    """Up to `limits.num_workers` workers, started when they are first needed.

    They end with `close`, when the pool is no longer used, and when the program ends, also by Ctrl-C; where it is
    killed, a worker ends with its present job at the latest. Not for use from several threads at once.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = Limits() if limits is None else limits
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
                if worker in self._all:  # else it was ended with the pool
                    self._idle.append(worker)

    def _asked(self, worker: Worker, job: Job) -> tuple[Verdict, bool]:
        """Return the verdict on a job and whether the worker can go on."""
        deadline = self.limits.deadline_s
        late = Verdict(0.0, "timeout", f"the comparison took longer than {deadline:g} s.")
        try:
            line = worker.ask(json.dumps(job).encode("ascii"), deadline + GRACE_S)
        except TimeoutError:
            return late, False
        if line is None:
            ended = Verdict(0.0, "crash", f"the comparison {worker.ending}.")
            return (late if worker.process.returncode == -signal.SIGPROF else ended), False
        reply = json.loads(line)
        verdict = Verdict(1.0 if reply["correct"] else 0.0, reply["status"], reply["detail"])
        return verdict, not reply["retiring"]

    def _taken(self) -> Worker | None:
        """Return an idle worker or a new one; None after several that did not start, or while closing."""
        while not self._closing:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            if idle is None:
                if self._failed_starts >= MOST_FAILED_STARTS:
                    return None
                fresh = self._fresh()
                if fresh is not None:
                    return fresh
                self._failed_starts += 1
            elif not idle.has_ended:
                return idle
            else:
                self._drop(idle)
        return None

    def _fresh(self) -> Worker | None:
        """Return a new worker that has imported what it needs, or None where it cannot be started."""
        with self._lock:
            if self._closing:
                return None
            try:
                worker = _started(self.limits)
            except OSError:
                return None
            self._all.add(worker)
        try:
            if worker.hear(START_S) is not None:
                return worker
        except TimeoutError:
            pass
        self._drop(worker)
        return None

    def _drop(self, worker: Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


def _started(limits: Limits) -> Worker:
    return Worker(
        "creditree.verify.worker",
        str(limits.deadline_s),
        str(limits.memory_bytes),
        variables={"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
    )


def _end_all(workers: set[Worker], owner: int) -> None:
    """End workers, unless this is a forked copy of the process that started them."""
    if os.getpid() == owner:
        for worker in list(workers):
            worker.end()
        workers.clear()
