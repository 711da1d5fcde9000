"""What fits into a memory limit: settings that only change memory, and the largest group and length."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from creditree.models.load import Dtype
from creditree.plan.prediction import Prediction, predict
from creditree.plan.store import largest_piece
from creditree.plan.workload import Workload

GB = 10**9
CARDS = (4, 6, 8, 12, 16, 24, 40, 80)
"""Memory of common cards, GB."""
PRECISIONS: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "nf4")
MICRO_BATCHES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 32, 16)
"""Values of micro_batch_tokens to choose from. A run of tokens that nothing interrupts is never cut."""
ON_GPU = (16384, 8192, 4096, 2048, *MICRO_BATCHES)
"""The same on a GPU: with fewer tokens, launching the kernels of a pass takes longer than running them. Ours."""
ROWS = (512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
"""Values of max_rows to choose from: throughput grows up to a few hundred rows, and with fewer than 8 it is poor."""
ANY = 1024
"""Groups are not tried beyond this: pieces of a group are decoded one after the other, in the same memory."""


@dataclass(frozen=True, slots=True)
class Free:
    """Which settings may be chosen; the others stay as the workload has them."""

    micro_batch_tokens: bool = True
    max_rows: bool = True
    stored_tokens: bool = True


ALL = Free()


def usual_micro_batch(*, on_host: bool) -> int:
    """Return what `auto` is where memory does not matter."""
    return (MICRO_BATCHES if on_host else ON_GPU)[0]


def choose(work: Workload, limit: int, free: Free = ALL) -> Workload | None:
    """Return the workload that fits into `limit` bytes with the most rows, or None.

    Of two with as many rows the one that forgets no prefix within a step is taken, and then the largest micro-batch.
    """
    for candidate in _candidates(work, free):
        if predict(replace(candidate, micro_batch_tokens=_micro(work, free)[-1])).total <= limit:
            tried = (replace(candidate, micro_batch_tokens=tokens) for tokens in _micro(work, free))
            return next(workload for workload in tried if predict(workload).total <= limit)
    return None


def least(work: Workload, free: Free = ALL) -> Prediction:
    """Return the prediction for the settings that need least memory."""
    last = replace(work, micro_batch_tokens=_micro(work, free)[-1], max_rows=_rows(work, free)[-1])
    return predict(replace(last, stored_tokens=1 + largest_piece(last)) if free.stored_tokens else last)


def _micro(work: Workload, free: Free) -> tuple[int, ...]:
    if not free.micro_batch_tokens:
        return (work.micro_batch_tokens,)
    return MICRO_BATCHES if work.on_host else ON_GPU


def _rows(work: Workload, free: Free) -> tuple[int, ...]:
    return ROWS if free.max_rows else (work.max_rows,)


def _candidates(work: Workload, free: Free) -> Iterator[Workload]:
    """Yield workloads by rows, and of each number of rows first the one that keeps all prefixes of a step."""
    for rows in _rows(work, free):
        candidate = replace(work, max_rows=rows)
        if not free.stored_tokens:
            yield candidate
            continue
        yield replace(candidate, stored_tokens=None)
        yield replace(candidate, stored_tokens=1 + largest_piece(candidate))


def largest_group(work: Workload, limit: int, free: Free = ALL) -> int | None:
    """Return the largest group that fits, or None where not even 2 do."""
    return _largest(lambda count: replace(work, group=count), 2, ANY, limit, free)


def largest_length(work: Workload, limit: int, free: Free = ALL) -> int | None:
    """Return the largest max_new_tokens that fits, the model's context included, or None where not even 1 does."""
    most = work.shape.max_positions - work.prompt_tokens
    return _largest(lambda count: replace(work, max_new_tokens=count), 1, most, limit, free)


def _largest(make: Callable[[int], Workload], smallest: int, most: int, limit: int, free: Free) -> int | None:
    def fits(count: int) -> bool:
        return least(make(count), free).total <= limit

    if most < smallest or not fits(smallest):
        return None
    if fits(most):
        return most
    low, high = smallest, min(most, 2 * smallest)
    while high < most and fits(high):
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Card:
    """Whether a run fits a card of `memory` bytes in one precision, and the largest group and length that do."""

    memory: int
    dtype: Dtype
    least: int
    fits: bool
    largest_group: int | None
    largest_length: int | None


def precisions_of(work: Workload) -> tuple[Dtype, ...]:
    """Return the precisions that a run may have: all weights are trained in float32 only."""
    return ("float32",) if work.all_weights else PRECISIONS


def cards(work: Workload, free: Free = ALL) -> list[Card]:
    """Return the table of common cards and precisions: frozen weights are decoded in static shapes, as on CUDA."""
    listed = []
    for dtype in precisions_of(work):
        candidate = replace(work, dtype=dtype, native=False, static=not work.all_weights, on_host=False)
        needed = least(candidate, free).total
        for size in CARDS:
            limit = size * GB
            fits = needed <= limit
            listed.append(
                Card(
                    limit,
                    dtype,
                    needed,
                    fits,
                    largest_group(candidate, limit, free),
                    largest_length(candidate, limit, free),
                )
            )
    return listed
