"""Passes in step: processes are threads here, what they agree on is a barrier, and a model is a number that learns."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditree.errors import DataError, ModelError
from creditree.scale.lockstep import Lockstep, OutOfStepError

LATE_S = 20.0
"""Seconds after which a thread that waits for others is hanging."""


class Agreed:
    """The smallest number that any of some threads says."""

    def __init__(self, size: int) -> None:
        self._said: list[int] = []
        self._least = 0
        self._all = Barrier(size, self._decide)

    def _decide(self) -> None:
        self._least, self._said = min(self._said), []

    def least(self, number: int) -> int:
        """Say a number, and wait for the others'."""
        self._said.append(number)
        self._all.wait(LATE_S)
        return self._least

    def gone(self) -> None:
        """Be gone: whoever waits hears of it."""
        self._all.abort()


class Backward(torch.autograd.Function):
    """The identity, which writes down when its gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, done: list[str], number: Tensor) -> Tensor:
        ctx.done = done
        return number.view_as(number)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        ctx.done.append("backward")
        return None, grad


@dataclass(eq=False)
class Rank:
    """A process: the passes that it has made, of both kinds, and which were its own."""

    agreed: Agreed
    done: list[str] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    number: torch.nn.Parameter = field(default_factory=lambda: torch.nn.Parameter(torch.ones(3)))

    def __post_init__(self) -> None:
        self.lockstep = Lockstep(self.agreed.least, self.logits, [self.number])

    def logits(self) -> Tensor:
        """Make a pass, of this rank's own or for others."""
        self.done.append("learn" if torch.is_grad_enabled() else "forward")
        logits: Tensor = Backward.apply(self.done, self.number * 2.0)  # type: ignore[no-untyped-call]
        return logits

    def learn(self, index: int) -> Tensor:
        """Make a pass of its own with gradient; return the loss."""
        self.own.append(index)
        out = self.lockstep.forward(lambda: SimpleNamespace(logits=self.logits()))
        loss: Tensor = out.logits.sum() * index
        return loss

    def work(self, wishes: Sequence[bool]) -> None:
        """Make passes of its own, with gradient where that is wished, and attend until all have made theirs."""
        for index, learns in enumerate(wishes):
            with torch.set_grad_enabled(learns):
                loss = self.learn(index)
            if learns:
                loss.backward()
        self.lockstep.attend()


def together(*works: Callable[[Rank], object]) -> tuple[list[Rank], list[object]]:
    """Let ranks work at the same time; return them, and what they returned or raised."""
    agreed = Agreed(len(works))
    ranks = [Rank(agreed) for _ in works]
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work, rank) for work, rank in zip(works, ranks, strict=True)]
        ends = [future.exception() or future.result() for future in futures]
    return ranks, ends


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=7), min_size=1, max_size=4))
def test_all_make_the_same_passes_and_each_its_own_in_order(wished: list[list[bool]]) -> None:
    ranks, ends = together(*[lambda rank, wishes=wishes: rank.work(wishes) for wishes in wished])
    assert ends == [None] * len(wished)
    for rank, wishes in zip(ranks, wished, strict=True):
        assert rank.done == ranks[0].done
        assert rank.own == list(range(len(wishes)))
        learned = sum(index for index, learns in enumerate(wishes) if learns)
        # d/dn of index * sum(2 n); passes for others add nothing
        assert (torch.zeros(3) if rank.number.grad is None else rank.number.grad).tolist() == [2.0 * learned] * 3
    done = ranks[0].done
    assert [done[at + 1] for at, what in enumerate(done) if what == "learn"] == ["backward"] * done.count("learn")


def test_as_few_passes_are_made_as_the_busiest_has() -> None:
    ranks, _ = together(lambda rank: rank.work([False, True] * 3), lambda rank: rank.work([False, True]))
    assert ranks[0].done == ["forward", "learn", "backward"] * 3


def test_a_loss_that_is_given_up_holds_nobody_and_leaves_no_gradient() -> None:
    def gives_up(rank: Rank) -> None:
        with rank.lockstep.working():
            rank.learn(5)
            raise DataError("it is not to be learned from.")

    def both(rank: Rank) -> object:
        try:
            gives_up(rank)
        except DataError as error:
            said = error
        assert rank.done == ["learn", "backward"]  # so that new weights may be loaded
        rank.lockstep.attend()
        return said

    ranks, ends = together(both, lambda rank: rank.work([True, True]))
    assert isinstance(ends[0], DataError)
    assert ranks[0].done == ranks[1].done == ["learn", "backward"] * 2
    assert ranks[0].number.grad is None
    assert not any(rank.lockstep.is_broken for rank in ranks)


def test_who_runs_out_of_memory_in_a_pass_says_so_and_others_are_out_of_step() -> None:
    def full(rank: Rank) -> None:
        def fails() -> Any:
            rank.agreed.gone()
            raise MemoryError

        with rank.lockstep.working():
            rank.lockstep.forward(fails)

    ranks, ends = together(full, lambda rank: rank.work([True, True]))
    assert isinstance(ends[0], ModelError)
    assert "memory ran out in a pass of a model that is divided among workers" in str(ends[0])
    assert isinstance(ends[1], OutOfStepError)
    assert [rank.lockstep.is_broken for rank in ranks] == [True, True]


def test_a_backward_pass_that_fails_is_not_tried_again() -> None:
    def fails(rank: Rank) -> None:
        loss = rank.learn(1)
        rank.agreed.gone()
        rank.number.register_hook(failing)
        with rank.lockstep.working():
            loss.backward()

    def failing(grad: Tensor) -> Tensor:
        raise RuntimeError("connection closed by peer")

    ranks, ends = together(fails)
    assert isinstance(ends[0], OutOfStepError)
    assert "connection closed by peer" in str(ends[0])
    with pytest.raises(ModelError, match="memory ran out"):  # for which alone a pass is repeated
        ranks[0].learn(2)


def test_passes_for_others_draw_no_random_numbers() -> None:
    said = [0, 0, 2]
    torch.manual_seed(3)
    Lockstep(lambda wish: said.pop(0), lambda: torch.rand(2)).attend()
    drawn = float(torch.rand(1))
    torch.manual_seed(3)
    assert drawn == float(torch.rand(1))
