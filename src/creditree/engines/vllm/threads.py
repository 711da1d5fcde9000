"""Questions that are asked side by side, while the main thread listens: to their answers, and to signals."""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import TypeVar, cast

T = TypeVar("T")
LISTEN_S = 0.25
"""Seconds between two looks at what has come; a signal is heard at once."""


def side_by_side(jobs: Sequence[Callable[[], T]], threads: int) -> Iterator[tuple[int, T] | None]:
    """Yield the index and result of each job as it ends, and None where nothing ended for a while.

    `threads` jobs run at once. What a job raises is raised here, and no further one begins. Threads are daemons: none
    keeps the process from ending while a server does not answer.
    """
    waiting: Queue[int] = Queue()
    ended: Queue[tuple[int, T | None, BaseException | None]] = Queue()
    over = threading.Event()
    for index in range(len(jobs)):
        waiting.put(index)

    def work() -> None:
        while not over.is_set():
            try:
                index = waiting.get_nowait()
            except Empty:
                return
            try:
                ended.put((index, jobs[index](), None))
            except BaseException as error:  # it belongs to whoever waits
                ended.put((index, None, error))

    for _ in range(min(threads, len(jobs))):
        threading.Thread(target=work, daemon=True, name="creditree-server").start()
    try:
        left = len(jobs)
        while left:
            try:
                index, result, error = ended.get(timeout=LISTEN_S)
            except Empty:
                yield None
                continue
            if error is not None:
                raise error
            left -= 1
            yield index, cast(T, result)  # a job that raised nothing has one
    finally:
        over.set()
