"""The engine's store of keys and values: how many slots a step fills, how much room that makes it take."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from creditree.engines.store import SMALLEST, room_for
from creditree.plan.workload import Workload

INDEX_BYTES = 3 * 4 + 1
"""Of one slot: first child, next sibling and token (int32), and whether it is decoded."""
_AHEAD = 32
"""Steps of all rows that native decoding makes room for before it begins."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the engine: `completions` of `budget` tokens from `contexts` of `stored` + `new` tokens each.

    `again`: how many of the contexts an earlier piece of the call has forwarded.
    """

    contexts: int
    completions: int
    stored: int
    new: int
    budget: int
    again: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of all contexts."""
        return self.contexts * (self.stored + self.new)

    def pieces(self, max_rows: int) -> Iterator["Call"]:
        """Yield what is decoded together: at most `max_rows` completions."""
        each = self.completions // self.contexts
        for start in range(0, self.completions, max_rows):
            stop = min(self.completions, start + max_rows)
            contexts = -(-stop // each) - start // each
            yield replace(self, contexts=contexts, completions=stop - start, again=int(start % each > 0))


@dataclass(frozen=True, slots=True)
class Room:
    """Slots of the store when some calls are done: those `used`, those there is room for, and before it last grew."""

    used: int = 1
    capacity: int = 0
    before: int = 0


EMPTY = Room()


def slot_bytes(work: Workload) -> int:
    """Bytes of one slot: layers x 2 x H_kv x D, the last hidden state, the input of the first adapted layer; indices.

    (layers * 2 * keys + 2 * hidden) * bytes of a number + 13.
    """
    shape = work.shape
    return (shape.num_layers * 2 * work.keys + 2 * shape.hidden_size) * work.item + INDEX_BYTES


def training_calls(work: Workload, kept: int) -> list[Call]:
    """Return the calls of a step whose replays keep `kept` tokens of a completion."""
    calls = [Call(work.problems, work.problems * work.group, 0, work.prompt_tokens, work.max_new_tokens)]
    if work.replays:
        roots = work.problems * work.replays
        budget = work.max_new_tokens - kept
        calls.append(Call(roots, roots * work.group, work.prompt_tokens + kept - 1, 1, budget))
    return calls


def evaluation_calls(work: Workload) -> list[Call]:
    """Return the largest call of an evaluation: it forgets what it stored after each."""
    rows = min(work.evaluation_problems, work.max_rows)
    return [Call(rows, rows, 0, work.prompt_tokens, work.max_new_tokens)] if rows else []


def room_of(work: Workload, calls: list[Call], room: Room = EMPTY) -> Room:
    """Return the store's room after some calls whose completions part at their first token.

    Every completion takes a slot for each token but its last. Room grows by the store's own rule, `room_for`. Where a
    piece could pass the limit `stored_tokens`, what is stored is forgotten before it.
    """
    for call in calls:
        for piece in call.pieces(work.max_rows):
            room = _decoded(work, piece, room)
    return room


def largest_piece(work: Workload) -> int:
    """Return the most slots that one piece of a training step can need."""
    calls = [*training_calls(work, 0), *(training_calls(work, work.max_new_tokens - 1) if work.replays else [])]
    slots = []
    for call in calls:
        rows, each = min(work.max_rows, call.completions), call.completions // call.contexts
        contexts = min(call.contexts, (rows - 2) // each + 2)  # the most that so many neighbours can belong to
        slots.append(contexts * (call.stored + call.new) + rows * call.budget)
    return max(slots)


def forgotten(room: Room) -> Room:
    """Return the room after `PrefixStore.clear`: it is given back where little of it was in use."""
    return Room(1, 0 if room.capacity > max(SMALLEST, 4 * room.used) else room.capacity, room.before)


def _decoded(work: Workload, piece: Call, room: Room) -> Room:
    rows, left = piece.completions, piece.budget
    unused = 0
    fresh = (piece.contexts - piece.again) * piece.new
    if work.stored_tokens is not None and room.used + piece.tokens + rows * left > work.stored_tokens:
        room, fresh = forgotten(room), piece.tokens
    room = _grown(room, piece.tokens, piece.tokens + rows * left)
    room = replace(room, used=room.used + fresh)
    if work.native:  # it makes room before a token is drawn, the last one's too; torch when it is to be stored
        room, unused = _grown(room, min(_AHEAD, left) * rows, rows * left), rows
    else:
        left -= 1
    while left > 0:
        room = _grown(room, rows, rows * left)
        done = min(left, (room.capacity - room.used) // rows)
        room, left = replace(room, used=room.used + rows * done), left - done
    return replace(room, used=room.used - unused)


def _grown(room: Room, more: int, at_most: int) -> Room:
    size = room_for(room.capacity, room.used, more, at_most)
    return room if size == room.capacity else Room(room.used, size, room.capacity)
