"""A user's reward function in a process of its own: what it does there can neither end nor hang a run."""

import json
import logging
import os
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from threading import RLock
from time import monotonic

import psutil

from creditree.errors import ConfigError
from creditree.problem import Status, Verdict
from creditree.text import printable
from creditree.user_code import HERE, described
from creditree.verify.forked import ForkedWorker
from creditree.verify.frames import packed
from creditree.verify.process import Worker
from creditree.verify.reward_function import offered, rules_of, verdicts
from creditree.verify.verifier import Answer, Rules, Verifier

DEADLINE_S = 60.0
"""Wall seconds that a call, and the import before the first, may take."""
MOST_IN_VAIN = 3
"""Calls in a row without any reply, after which the function is not called again; one where it never replied."""
NOTICE_S = 10.0
"""A call that takes longer, and twice as long as any before, is told of while it is waited for."""
START_S = 120.0
"""How long a process of ours may take to start, on a machine that is busy."""
LOOK_S = 0.25
MEMORY_SHARE = 0.9
"""Of the memory that is free when the process starts: what it may hold where no limit is set."""
LEAST_MEMORY = 1 << 28
MOST_PROCESSES = 256
"""Processes that a function may have at once: more than a pool of workers, fewer than a fork bomb."""
MOST_PRINTED = 64 * 1024
PATIENCE_S = 2.0
"""How long a process may take to end by itself, and write what it holds, when it is no longer needed."""

_log = logging.getLogger(__name__)


class _InVainError(Exception):
    """A call without a reply: its status, and the reason in words."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


class IsolatedReward(Verifier):
    """The reward function at `location`, called in a worker process that lives as long as this verifier.

    It is called as `RewardFunction` calls one. Where it gives no reply within `deadline_s`, holds more than
    `memory_bytes`, has more than `MOST_PROCESSES` processes, or ends its process in whatever way, the completions of
    that call have verdicts ``timeout`` or ``crash`` without a reward, and the next call starts a new process. After
    three such calls in a row, or where its first is one, it is not called again. What it prints is shown among the
    errors, the first 64 KiB of it. Raises ConfigError for little memory.
    """

    def __init__(self, location: str, deadline_s: float = DEADLINE_S, memory_bytes: int | None = None) -> None:
        if memory_bytes is not None and memory_bytes < LEAST_MEMORY:
            raise ConfigError(f"The memory of the reward '{location}' is below 256 MiB; set 512MB or more.")
        self.location = location
        self.deadline_s = deadline_s
        self.memory_bytes = memory_bytes
        self.name = location.rpartition(":")[2]
        self._held: list[Worker] = []
        self._lock = RLock()
        self._in_vain = 0
        self._has_replied = False
        self._given_up = ""
        self._longest_s = NOTICE_S / 2
        self._printer = _Printer(location)
        self._most_bytes = 0.0
        self._finalizer = weakref.finalize(self, _end, self._held, os.getpid())

    def start(self) -> None:
        """Import the function now. Raises ConfigError, with the reason, where that fails or takes too long."""
        with self._lock:
            self._worker()

    def rules(self) -> Rules:
        """Return its rules."""
        rules = rules_of(self.location) | {"deadline_s": self.deadline_s}
        return rules if self.memory_bytes is None else rules | {"memory_bytes": self.memory_bytes}

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        if not answers:
            return ()
        with self._lock:
            outcomes, status = self._outcomes(answers)
        return verdicts(self.name, answers, outcomes, status)

    def close(self) -> None:
        """End the process; judging again starts a new one."""
        with self._lock:
            _end(self._held, os.getpid(), PATIENCE_S)

    def _outcomes(self, answers: Sequence[Answer]) -> tuple[list[float | str], Status]:
        """Return for each answer its reward or the reason why it has none, and the status of those without one."""
        if self._given_up:
            return [self._given_up] * len(answers), "crash"
        try:
            payload = packed([offered(answers), len(answers)])
        except Exception as error:
            return [f"its columns cannot be sent to the function's process: {described(error)}"] * len(answers), "crash"
        status: Status = "crash"
        try:
            outcomes = _checked(self._heard(self._worker(), payload, "waiting for"), len(answers))
            self._in_vain, self._has_replied = 0, True
            return outcomes, status
        except _InVainError as error:
            reason, status = f"the function {error}", error.status
        except ConfigError as error:
            reason = str(error).rstrip(".")
        except BaseException:  # such as Ctrl-C: the reply that is on its way must not be taken for that to the next
            _end(self._held, os.getpid())
            raise
        _end(self._held, os.getpid())
        self._in_vain += 1
        if self._in_vain >= MOST_IN_VAIN or not self._has_replied:
            self._given_up = f"the function is not called any more; its last call ended so: {reason}"
        return [reason] * len(answers), status

    def _worker(self) -> Worker:
        """Return the process, with the function imported. Raises ConfigError where that fails."""
        if self._held and not self._held[0].has_ended:
            return self._held[0]
        _end(self._held, os.getpid())
        self._most_bytes = self.memory_bytes or MEMORY_SHARE * psutil.virtual_memory().available
        try:
            worker = self._started()
        except OSError as error:
            raise ConfigError(
                f"No process can be started for the reward '{self.location}': {error.strerror}."
            ) from None
        self._held.append(worker)
        try:
            self._import(worker)
        except BaseException:
            _end(self._held, os.getpid())
            raise
        return worker

    def _started(self) -> Worker:
        """Return a new process: a copy of this one for a function that only this one has. Raises OSError."""
        if self.location.startswith(HERE):
            from creditree.verify.reward_worker import main  # which finds functions, and so imports this module

            return ForkedWorker(main, self._printer)
        return Worker("creditree.verify.reward_worker", printed=self._printer)

    def _import(self, worker: Worker) -> None:
        """Have a new process import the function. Raises ConfigError where that fails."""
        try:
            if worker.hear(START_S) is None:
                raise _InVainError("crash", worker.ending)
            said = self._heard(worker, packed([self.location, sys.path]), "importing")
        except TimeoutError:
            raise ConfigError(f"The process of the reward '{self.location}' does not start.") from None
        except _InVainError as error:
            raise ConfigError(f"The reward '{self.location}' cannot be imported: it {error}.") from None
        match said:
            case {"name": str(name)}:
                self.name = name
            case {"error": str(sentence)}:
                raise ConfigError(sentence)
            case _:
                raise ConfigError(f"The reward '{self.location}' cannot be imported: it wrote over its own reply.")

    def _heard(self, worker: Worker, payload: bytes, what: str) -> object:
        """Return the reply to a frame, as JSON. Raises _InVainError where there is none."""
        started, told = monotonic(), False
        worker.send(payload)
        while True:
            waited = monotonic() - started
            if waited >= self.deadline_s:
                raise _InVainError("timeout", f"took longer than {self.deadline_s:g} s (the option deadline)")
            try:
                line = worker.hear(min(LOOK_S, self.deadline_s - waited))
                break
            except TimeoutError:
                self._look(worker)
            if not told and waited > max(NOTICE_S, 2 * self._longest_s):
                told = True
                _log.warning(
                    "%s the reward function %s, %.0f s so far; its deadline is %g s",
                    what, self.location, waited, self.deadline_s,
                )  # fmt: skip
        self._longest_s = max(self._longest_s, monotonic() - started)
        if line is None:
            raise _InVainError("crash", worker.ending)
        try:
            return json.loads(line)
        except ValueError:
            raise _InVainError("crash", "wrote over its own reply") from None

    def _look(self, worker: Worker) -> None:
        """Raise _InVainError where the process holds too much, or ended while a copy of it keeps the pipe."""
        if worker.has_ended:
            raise _InVainError("crash", worker.ending)
        if _processes_of(worker.process.pid) > MOST_PROCESSES:
            raise _InVainError("crash", f"started more than {MOST_PROCESSES} processes")
        with suppress(psutil.Error):
            resident = psutil.Process(worker.process.pid).memory_info().rss
            if resident - worker.shared_bytes > self._most_bytes:
                raise _InVainError(
                    "crash", f"held more than {self._most_bytes / 1e9:.1f} GB of memory (the option memory)"
                )


class _Printer:
    """Shows what a function prints among the errors, as long as it is not too much."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._left = MOST_PRINTED

    def __call__(self, line: str) -> None:
        if self._left <= 0:
            return
        self._left -= len(line) + 1
        with suppress(OSError, ValueError):
            print(printable(line), file=sys.stderr)
            if self._left <= 0:
                print(f"(what else {self._location} prints is not shown)", file=sys.stderr)


def _checked(said: object, expected: int) -> list[float | str]:
    """Return the rewards and reasons of a reply. Raises _InVainError for anything else."""
    if not isinstance(said, list) or len(said) != expected:
        raise _InVainError("crash", "wrote over its own reply")
    for outcome in said:
        if not isinstance(outcome, str) and not (isinstance(outcome, float) and isfinite(outcome)):
            raise _InVainError("crash", "wrote over its own reply")
    return said


def _processes_of(group: int) -> int:
    """Return how many processes a process group has; 0 where the system has no /proc."""
    count = 0
    with suppress(OSError):
        for name in os.listdir("/proc"):
            with suppress(OSError, ValueError):
                count += os.getpgid(int(name)) == group
    return count


def _end(workers: list[Worker], owner: int, patience_s: float = 0.0) -> None:
    """End the process, unless this is a forked copy of the one that started it."""
    if os.getpid() == owner:
        while workers:
            workers.pop().end(patience_s)
