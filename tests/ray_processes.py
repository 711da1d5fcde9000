"""A Ray instance of a test, and its processes."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from creditree.scale.cluster import NodeRoom, connected


@contextmanager
def joined() -> Iterator[None]:
    """Start Ray with four processors for the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for what it has started
        with connected(NodeRoom("this machine", 4)):
            yield
        gc.collect()


def worker_pids() -> list[int]:
    """Return the processes that run actors."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if any("Actor" in part for part in child.cmdline()[:1])]
