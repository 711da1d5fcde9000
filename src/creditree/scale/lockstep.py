"""The same passes in the same order by processes that hold one model together, each with work of its own.

Every pass of a divided model gathers its layers from all processes, so that all must make one of the same kind at the
same time. Before each forward pass all say what they want, and the least of it is made (`Wish`); who wanted something
else makes a pass over one token meanwhile, as does who has nothing to do. It is `synced_gpus` of transformers' generate
for passes with gradient too. A backward pass needs no such word: it is what comes after a forward pass with gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Variable

from creditree.errors import CreditreeError, ModelError, is_out_of_memory
from creditree.models.reading import reason_of


class Wish(IntEnum):
    """What a process wants to do next. The least comes first: an adapter is off only between passes without gradient,
    so that whoever wants one with gradient, or none, can make either.
    """

    FORWARD = 0
    LEARN = 1
    DONE = 2


class OutOfStepError(Exception):
    """A pass was not finished, by this process or another one: nothing more can be done together."""


class Lockstep:
    """Makes the passes of one process in step with the others.

    `least`: the smallest number that any process says, a collective;  `token`: logits of one token, by the model's own
    forward pass;  `matrices`: what learns;  `after`: called after each pass without gradient.
    """

    def __init__(
        self,
        least: Callable[[int], int],
        token: Callable[[], Tensor],
        matrices: Sequence[torch.nn.Parameter] = (),
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._least, self._token, self._matrices, self._after = least, token, matrices, after
        self._is_inside = False
        self._owed: Tensor | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a pass was begun and not finished, so that processes are at different places."""
        return self._is_inside

    def forward(self, made: Callable[[], Any]) -> Any:
        """Return what a forward pass of the whole model gives (`logits` and more), when it is its turn.

        Raises OutOfStepError where another process is gone, ModelError where memory runs out in the pass.
        """
        wish = Wish.LEARN if self._learns() else Wish.FORWARD
        self._wait_for(wish)
        with self._inside():
            out = made()
            if wish is Wish.LEARN:
                out.logits = self._owes(out.logits)
            else:
                self._after()
        return out

    def attend(self) -> None:
        """Take part in what others do, until all have nothing to do."""
        self._wait_for(Wish.DONE)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run a block of work: afterwards nothing is due, so that what learns may be changed.

        Raises OutOfStepError where a backward pass was not finished in it, for want of another process.
        """
        try:
            yield
        except Exception as error:
            if self._is_inside and not isinstance(error, (CreditreeError, OutOfStepError)):
                raise _no_memory() if is_out_of_memory(error) else OutOfStepError(reason_of(error)) from error
            raise
        finally:
            if not self._is_inside:
                with self._inside():
                    self._pay()

    def _learns(self) -> bool:
        return torch.is_grad_enabled() and any(matrix.requires_grad for matrix in self._matrices)

    def _wait_for(self, wish: Wish) -> None:
        """Return when all make what this process wants; make passes over one token until then."""
        while True:
            if self._is_inside:  # a failed pass is tried again with less at once only where memory ran out
                raise _no_memory()
            with self._inside():
                self._pay()
                kind = self._least(wish)
                if kind == wish:
                    return
                self._stand_in(Wish(kind))

    def _stand_in(self, kind: Wish) -> None:
        """Make a pass over one token. It changes no gradient and draws no random numbers that anybody else draws."""
        learns = kind is Wish.LEARN
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices), torch.set_grad_enabled(learns):
            logits = self._token()
        if learns:
            self._owes(logits)
        else:
            self._after()

    def _owes(self, logits: Tensor) -> Tensor:
        """Take note that a backward pass follows; return the logits, through which it is noticed when it begins."""
        self._owed = logits.flatten()[:1].clone()  # its graph, and none of its numbers
        marked: Tensor = _Noticed.apply(self, logits)  # type: ignore[no-untyped-call]
        return marked

    def _pay(self) -> None:
        """Make the backward pass that is due: of a pass over one token, or of one whose loss was given up."""
        if self._owed is not None:
            owed, self._owed = self._owed, None
            torch.autograd.grad(owed, list(self._matrices), torch.zeros_like(owed), allow_unused=True)

    def begins(self) -> None:
        """Take note that the backward pass begins, from within autograd."""
        self._is_inside, self._owed = True, None
        Variable._execution_engine.queue_callback(self._ends)

    def _ends(self) -> None:
        self._is_inside = False

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Run a block of which nothing may be left out: what ends it early ends what can be done together."""
        self._is_inside = True
        try:
            yield
        except CreditreeError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise _no_memory() from error
            raise OutOfStepError(reason_of(error)) from error
        self._is_inside = False


class _Noticed(torch.autograd.Function):
    """The identity, whose gradient is asked for before that of any layer."""

    @staticmethod
    def forward(ctx: Any, lockstep: Lockstep, logits: Tensor) -> Tensor:
        ctx.lockstep = lockstep
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        ctx.lockstep.begins()
        return None, grad


def _no_memory() -> ModelError:
    return ModelError(
        "memory ran out in a pass of a model that is divided among workers, who cannot repeat it in smaller parts; "
        "lower train.micro_batch_tokens, train.max_rows or sampling.max_new_tokens, and continue with `resume`."
    )
