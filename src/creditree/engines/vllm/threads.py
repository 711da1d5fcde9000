"""Questions that are asked side by side, while the main thread listens: to their answers, and to signals."""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import Generic, TypeVar, cast

T = TypeVar("T")
LISTEN_S = 0.25
"""Seconds between two looks at what has come; a signal is heard at once."""


class SideBySide(Generic[T]):
    """Jobs that run from now on, `threads` at once; whoever goes through it gets their results.

    Yields the index and result of each job as it ends, and None where nothing ended for a while. What a job raises is
    raised there, and no further one begins. Threads are daemons: none keeps the process from ending while a server does
    not answer.
    """

    def __init__(self, jobs: Sequence[Callable[[], T]], threads: int) -> None:
        self._jobs = jobs
        self._waiting: Queue[int] = Queue()
        self._ended: Queue[tuple[int, T | None, BaseException | None]] = Queue()
        self._over = threading.Event()
        for index in range(len(jobs)):
            self._waiting.put(index)
        for _ in range(min(threads, len(jobs))):
            threading.Thread(target=self._work, daemon=True, name="creditree-server").start()

    def __iter__(self) -> Iterator[tuple[int, T] | None]:
        """Go through the results, once."""
        try:
            left = len(self._jobs)
            while left:
                try:
                    index, result, error = self._ended.get(timeout=LISTEN_S)
                except Empty:
                    yield None
                    continue
                if error is not None:
                    raise error
                left -= 1
                yield index, cast(T, result)  # a job that raised nothing has one
        finally:
            self.end()

    def end(self) -> None:
        """Begin no further job."""
        self._over.set()

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                index = self._waiting.get_nowait()
            except Empty:
                return
            try:
                self._ended.put((index, self._jobs[index](), None))
            except BaseException as error:  # it belongs to whoever waits
                self._ended.put((index, None, error))
