"""Processes that hold one model together, without Ray."""

from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from creditree.scale.sharded import ModelGroup, Seat, meeting_point
from tests.e2e.command import FORKS

HOST, LATE_S = "127.0.0.1", 300.0


def gathered(works: Sequence[Callable[[ModelGroup], Any]], device: str = "cpu") -> list[Any]:
    """Run each work in a process of its own, all in one group; return what they return. Raises what one raises."""
    point = meeting_point(HOST)
    context: Any = FORKS if device == "cpu" else get_context("spawn")  # CUDA does not outlive a fork
    pipes = [context.Pipe(duplex=False) for _ in works]
    processes = [
        context.Process(target=_be, args=(Seat(number, len(works), HOST, point.port, 0, device), work, sent))
        for number, (work, (_, sent)) in enumerate(zip(works, pipes, strict=True))
    ]
    for process in processes:
        process.start()
    try:
        ends = [end.recv() if end.poll(LATE_S) else TimeoutError("it hangs") for end, _ in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return ends


def _be(seat: Seat, work: Callable[[ModelGroup], Any], sent: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    try:
        sent.send(work(ModelGroup(seat)))
    except BaseException as error:
        sent.send(error)
        raise
