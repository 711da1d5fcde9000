"""The predicted peak of memory, phase by phase and part by part."""

from dataclasses import dataclass, replace
from functools import lru_cache

from creditree.models.footprint import weight_bytes
from creditree.plan.full_update import full_update_size
from creditree.plan.influence import pass_bytes, sum_bytes
from creditree.plan.sampling import native_bytes, static_bytes, table_bytes, torch_bytes
from creditree.plan.skeleton import PlannedStretch, bush_at_most, bush_expected, forked_stack, latest_fork, stack_of
from creditree.plan.store import (
    EMPTY,
    EngineCall,
    StoreRoom,
    evaluation_calls,
    forgotten,
    room_of,
    slot_bytes,
    training_calls,
)
from creditree.plan.update import UpdateSize, update_size
from creditree.plan.workload import Workload

PARTS = {
    "weights": "weights of the base model",
    "policy": "the weights that learn, all of the model's",
    "best": "a copy of the weights that validated best",
    "adapter": "adapter: A and B",
    "optimiser": "gradients, and Adam's two moments",
    "store": "keys, values and states of all prefixes",
    "static": "keys, values and states of rows being decoded",
    "sampling": "logits, and buffers of decoding",
    "influence": "attention summed for the influence of steps",
    "activations": "kept for the backward pass",
    "head": "logits of the loss, in chunks",
    "attention": "masks and blocks of attention",
    "temporaries": "alive for a moment",
    "copies": "weights and moments, copied for a checkpoint",
    "records": "tokens and log-probabilities that were sampled",
}
"""What memory is held for."""
WEIGHTS = ("weights", "policy")
"""What is there whatever the settings."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Bytes at the peak of one phase of a run, by part; parts that are not there are left out.

    `in_torch`: most that torch's allocator holds; native code and numpy have the rest.
    """

    name: str
    parts: dict[str, int]
    in_torch: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Prediction:
    """The phases of a run: evaluation (where there is one), sampling, and the update while the store is still held.

    Between these the pass for influence, where one is asked for; and where all weights learn, a checkpoint.
    """

    phases: tuple[Phase, ...]

    @property
    def peak(self) -> Phase:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return self.peak.total

    @property
    def limits(self) -> str:
        """The largest part of the peak besides the weights."""
        return max((item for item in self.peak.parts.items() if item[0] not in WEIGHTS), key=lambda item: item[1])[0]


@lru_cache(maxsize=4096)
def predict(work: Workload, *, expected: bool = False) -> Prediction:
    """Return the memory that a run needs at most.

    At most: all completions have full length and part at their first token, replays and forks keep nothing (or, in an
    update, what makes it largest), and there are as many problems as the schedule allows. `expected`: replays and forks
    keep half a completion, of branching pairs only the first tokens learn, and problems are as many as configured.
    """
    sampled = training_calls(work, work.kept_expected if expected else 0, expected=expected)
    evaluated = evaluation_calls(work)
    phases = []
    evaluation_room = EMPTY
    if evaluated:
        evaluation_room = room_of(work, evaluated)
        phases.append(_sampling("evaluation", work, evaluated, evaluation_room, static_bytes(work, evaluated)))
    room = room_of(work, sampled, forgotten(evaluation_room))
    static = static_bytes(work, [*evaluated, *sampled])
    stored = _stored(work, room, static)
    phases.append(_sampling("sampling", work, sampled, room, static))
    phases += _influence(work, sampled, stored, expected=expected)
    size = max((_update(work, stack, expected) for stack in _stacks(work, expected)), key=lambda size: size.total)
    update = {
        "activations": size.activations,
        "head": size.head,
        "attention": size.attention,
        "temporaries": size.temporaries,
        "records": table_bytes(work, sampled),
    }
    update = held_bytes(work) | stored | update
    if work.all_weights:
        update["optimiser"] += size.gradients - work.adapter_item * work.trained
    phases.append(Phase("update", update, sum(update.values()) - update["records"]))
    if work.all_weights:
        phases.append(_checkpoint(work, stored))
    return Prediction(tuple(phases))


def held_bytes(work: Workload) -> dict[str, int]:
    """Return what every phase holds: the base model, and of each trained number a gradient and two moments.

    A and B of an adapter; or all weights a second time, where they learn, and the best so far where any are validated.
    """
    weights = weight_bytes(work.shape, work.dtype)
    size = work.adapter_item * work.trained
    if not work.all_weights:
        return {"weights": weights, "adapter": size, "optimiser": 3 * size}
    best = {"best": size} if work.validates and work.on_host else {}
    return {"weights": weights, "policy": size, "optimiser": 3 * size} | best


def _stacks(work: Workload, expected: bool) -> list[list[PlannedStretch]]:
    """Return the stacks of stretches of which the largest counts: of one optimiser step."""
    if expected:
        together = replace(work, problems=work.learned_together)
        forked = forked_stack(together, work.kept_expected)
        uneven = work.learns == "early" or work.branches is not None
        return [forked or stack_of(bush_expected(together), work.micro_batch_tokens, uneven=uneven)]
    together = replace(work.at_most, problems=work.at_most.learned_together)
    forked = forked_stack(together, latest_fork(together))
    return [stack_of(bush_at_most(together), work.micro_batch_tokens, uneven=True), *([forked] if forked else [])]


def _update(work: Workload, stack: list[PlannedStretch], expected: bool) -> UpdateSize:
    if not work.all_weights:
        return update_size(work, stack)
    demand = work if expected else work.at_most
    together = replace(demand, problems=demand.learned_together)
    bush = bush_expected(together) if expected else bush_at_most(together)
    return full_update_size(work, stack, alone=bush.tokens <= work.micro_batch_tokens)


def _sampling(name: str, work: Workload, calls: list[EngineCall], room: StoreRoom, static: int) -> Phase:
    """While room grows, one layer of the store and one array of states are held twice, and nothing else is going on.

    Where another process samples, nothing is held here but what it drew.
    """
    if work.remote:
        parts = held_bytes(work)
        return Phase(name, parts | {"records": table_bytes(work, calls)}, sum(parts.values()))
    moved = room.before * (2 * work.keys + work.shape.hidden_size) * work.item
    used = native_bytes(work, calls) if work.native else torch_bytes(work, calls)
    parts = held_bytes(work) | _stored(work, room, static)
    sums = sum_bytes(work, calls)
    if not work.native:
        sums += max(0, sums - used)  # torch builds them anew where rows split or end
    in_torch = sum(parts.values()) + (moved if work.native else max(used + sums, moved))
    parts |= {"sampling": max(used, moved)} | ({"influence": sums} if sums else {})
    return Phase(name, parts | {"records": table_bytes(work, calls)}, in_torch)


def _stored(work: Workload, room: StoreRoom, static: int) -> dict[str, int]:
    """Return what is held of prefixes between calls: nothing where another process samples."""
    if work.remote:
        return {}
    return {"store": room.capacity * slot_bytes(work)} | ({"static": static} if static else {})


def _influence(work: Workload, calls: list[EngineCall], stored: dict[str, int], *, expected: bool) -> tuple[Phase, ...]:
    """The pass over completions, while native code still has its buffers; there is none where nobody asks for it."""
    passed = pass_bytes(work, calls, expected=expected)
    if not passed:
        return ()
    parts = held_bytes(work) | stored | {"influence": passed}
    buffers = {"sampling": native_bytes(work, calls)} if work.native and not work.remote else {}
    return (Phase("influence", parts | buffers | {"records": table_bytes(work, calls)}, sum(parts.values())),)


def _checkpoint(work: Workload, stored: dict[str, int]) -> Phase:
    """A checkpoint copies the weights, and on a host the moments too, and all of it twice, as bytes and as a file.

    Weights of W bytes: W on a device;  on a host 3 * 3 W, and 2 W for the best, which are held anyway.
    """
    size = work.adapter_item * work.trained
    copies = (9 + 2 * work.validates) * size if work.on_host else size
    parts = held_bytes(work) | stored | {"copies": copies}
    return Phase("checkpoint", parts, sum(parts.values()) - copies + size)
