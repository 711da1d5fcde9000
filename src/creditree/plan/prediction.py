"""The predicted peak of memory, phase by phase and part by part."""

from dataclasses import dataclass
from functools import lru_cache

from creditree.models.footprint import weight_bytes
from creditree.plan.sampling import native_bytes, static_bytes, table_bytes, torch_bytes
from creditree.plan.skeleton import bush_at_most, bush_expected, stack_of
from creditree.plan.store import EMPTY, Call, Room, evaluation_calls, forgotten, room_of, slot_bytes, training_calls
from creditree.plan.update import update_size
from creditree.plan.workload import Workload

PARTS = {
    "weights": "weights of the base model",
    "adapter": "adapter: A and B",
    "optimiser": "gradients, and Adam's two moments",
    "store": "keys, values and states of all prefixes",
    "static": "keys, values and states of rows being decoded",
    "sampling": "logits, and buffers of decoding",
    "activations": "kept for the backward pass",
    "head": "logits of the loss, in chunks",
    "attention": "masks and blocks of attention",
    "temporaries": "alive for a moment",
    "records": "tokens and log-probabilities that were sampled",
}
"""What memory is held for."""


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
    """The phases of a run: evaluation (where there is one), sampling, and the update while the store is still held."""

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
        return max((item for item in self.peak.parts.items() if item[0] != "weights"), key=lambda item: item[1])[0]


@lru_cache(maxsize=4096)
def predict(work: Workload, *, expected: bool = False) -> Prediction:
    """Return the memory that a run needs at most.

    At most: all completions have full length and part at their first token, replays keep nothing. `expected`: replays
    keep half a completion, and of branching pairs only the first tokens learn.
    """
    sampled, evaluated = training_calls(work, work.kept_expected if expected else 0), evaluation_calls(work)
    phases = []
    held = EMPTY
    if evaluated:
        held = room_of(work, evaluated)
        phases.append(_sampling("evaluation", work, evaluated, held, static_bytes(work, evaluated)))
    room = room_of(work, sampled, forgotten(held))
    static = static_bytes(work, [*evaluated, *sampled])
    phases.append(_sampling("sampling", work, sampled, room, static))
    bush = bush_expected(work) if expected else bush_at_most(work)
    uneven = not expected or work.learns == "early"
    stack = stack_of(bush, work.micro_batch_tokens, uneven=uneven)
    size = update_size(work, stack)
    update = {
        "store": room.capacity * slot_bytes(work),
        "activations": size.activations,
        "head": size.head,
        "attention": size.attention,
        "temporaries": size.temporaries,
        "records": table_bytes(work, sampled),
    }
    update = held_bytes(work) | update | ({"static": static} if static else {})
    phases.append(Phase("update", update, sum(update.values()) - update["records"]))
    return Prediction(tuple(phases))


def held_bytes(work: Workload) -> dict[str, int]:
    """Return what every phase holds: the base model, and of each trained number A or B, gradient and two moments."""
    each = work.adapter_item
    return {
        "weights": weight_bytes(work.shape, work.dtype),
        "adapter": each * work.trained,
        "optimiser": 3 * each * work.trained,
    }


def _sampling(name: str, work: Workload, calls: list[Call], room: Room, static: int) -> Phase:
    """While room grows, one layer of the store and one array of states are held twice, and nothing else is going on."""
    moved = room.before * (2 * work.keys + work.shape.hidden_size) * work.item
    used = native_bytes(work, calls) if work.native else torch_bytes(work, calls)
    parts = held_bytes(work) | {"store": room.capacity * slot_bytes(work)} | ({"static": static} if static else {})
    in_torch = sum(parts.values()) + (moved if work.native else max(used, moved))
    parts |= {"sampling": max(used, moved), "records": table_bytes(work, calls)}
    return Phase(name, parts, in_torch)
