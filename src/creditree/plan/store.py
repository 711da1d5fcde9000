"""The engine's store of keys and values: how many slots a step fills, how much room that makes it take."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from creditree.engines.native.decoder import ROOM_STEPS
from creditree.engines.store import SMALLEST, room_for
from creditree.plan.workload import Workload

INDEX_BYTES = 3 * 4 + 1
"""Of one slot: first child, next sibling and token (int32), and whether it is decoded."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Contexts of forks share slots: `same_prompt` of them their prompt, and `same_chain` what they keep after it."""

    prompt: int
    same_prompt: int
    same_chain: int

    def slots(self, contexts: int, tokens: int) -> int:
        """Return the slots of `contexts` neighbours of `tokens` tokens each."""
        chains = -(-contexts // self.same_chain)
        return -(-contexts // self.same_prompt) * self.prompt + chains * (tokens - self.prompt)


@dataclass(frozen=True, slots=True)
class EngineCall:
    """A call of the engine: `completions` of `budget` tokens from `contexts` of `stored` + `new` tokens each.

    `again`: how many of the contexts an earlier piece of the call has forwarded;  `sharing`: of forks, else None;
    `observed`: whether the influence of steps is asked for.
    """

    contexts: int
    completions: int
    stored: int
    new: int
    budget: int
    again: int = 0
    sharing: Sharing | None = None
    observed: bool = False

    @property
    def length(self) -> int:
        """Tokens of a context."""
        return self.stored + self.new

    @property
    def tokens(self) -> int:
        """Tokens of all contexts."""
        return self.contexts * self.length

    @property
    def slots(self) -> int:
        """Slots of all contexts."""
        return self.sharing.slots(self.contexts, self.length) if self.sharing else self.tokens

    @property
    def fresh(self) -> int:
        """Slots of contexts that are not stored yet."""
        if self.sharing:
            return 0 if self.new == 0 else self.slots
        return (self.contexts - self.again) * self.new

    def pieces(self, max_rows: int) -> Iterator["EngineCall"]:
        """Yield what is decoded together: at most `max_rows` completions."""
        each = self.completions // self.contexts
        made: dict[tuple[int, int, int], EngineCall] = {}  # a large step has 100,000 pieces, of a few kinds
        for start in range(0, self.completions, max_rows):
            stop = min(self.completions, start + max_rows)
            kind = -(-stop // each) - start // each, stop - start, int(start % each > 0)
            if kind not in made:
                made[kind] = replace(self, contexts=kind[0], completions=kind[1], again=kind[2])
            yield made[kind]


class StoreRoom(NamedTuple):
    """Slots of the store when some calls are done: those `used`, those there is room for, and before it last grew."""

    used: int = 1
    capacity: int = 0
    before: int = 0


EMPTY = StoreRoom()


def slot_bytes(work: Workload) -> int:
    """Bytes of one slot: layers x 2 x H_kv x D, the last hidden state, the input of the first adapted layer; indices.

    (layers * 2 * keys + 2 * hidden) * bytes of a number + 13.
    """
    shape = work.shape
    return (shape.num_layers * 2 * work.keys + 2 * shape.hidden_size) * work.item + INDEX_BYTES


def training_calls(work: Workload, kept: int, *, expected: bool = False) -> list[EngineCall]:
    """Return the calls of the step that stores most, whose replays or forks keep `kept` tokens of a completion.

    Off-policy, the first step samples two groups, and the forks of one of them, whose contexts are stored; later steps
    sample the next group, and forks whose contexts are forwarded anew, of as many problems as there can be.
    """
    if not work.off_policy:
        counted = work if expected else work.at_most
        return [_first(counted), *_replays(counted, kept), *_forks(counted, kept, stored=True)]
    start = [_first(work), _first(work), *_forks(work, kept, stored=True)]
    later = [_first(work.at_most), *_forks(work.at_most, kept, stored=False)]
    return start if expected else max(start, later, key=_slots)


def carried(work: Workload, calls: list[EngineCall]) -> int:
    """Return the tokens of completions that are held beside those of some calls: a group sampled a step before."""
    return calls[0].completions * calls[0].budget if work.off_policy and any(c.sharing and c.new for c in calls) else 0


def _slots(calls: list[EngineCall]) -> int:
    return sum(call.fresh + call.completions * call.budget for call in calls)


def _first(work: Workload) -> EngineCall:
    rows = work.problems * work.group
    return EngineCall(
        work.problems, rows, 0, work.prompt_tokens, work.max_new_tokens, observed=work.influence is not None
    )


def _replays(work: Workload, kept: int) -> list[EngineCall]:
    roots = work.problems * work.replays
    budget = work.max_new_tokens - kept
    return [EngineCall(roots, roots * work.group, work.prompt_tokens + kept - 1, 1, budget)] if roots else []


def _forks(work: Workload, kept: int, *, stored: bool) -> list[EngineCall]:
    """Return the rounds of forks; the contexts of the first are `stored` or not, those of the others are."""
    branches, length = work.branches, work.prompt_tokens + kept
    if branches is None:
        return []
    points = work.group * branches.points
    contexts = work.problems * points
    sharing = Sharing(work.prompt_tokens, points, branches.points)
    calls = []
    for number in range(branches.rounds):
        before = length if stored or number > 0 else 0
        observed = work.influence is not None and number + 1 < branches.rounds
        rows, budget = contexts * branches.continuations, work.max_new_tokens - kept
        calls.append(EngineCall(contexts, rows, before, length - before, budget, sharing=sharing, observed=observed))
    return calls


def evaluation_calls(work: Workload) -> list[EngineCall]:
    """Return the largest call of an evaluation: it forgets what it stored after each."""
    rows = min(work.evaluation_problems, work.max_rows)
    return [EngineCall(rows, rows, 0, work.prompt_tokens, work.max_new_tokens)] if rows else []


def room_of(work: Workload, calls: list[EngineCall], room: StoreRoom = EMPTY) -> StoreRoom:
    """Return the store's room after some calls whose completions part at their first token.

    Every completion takes a slot for each token but its last. Room grows by the store's own rule, `room_for`. Where a
    piece could pass the limit `stored_tokens`, what is stored is forgotten before it.
    """
    for call in calls:
        known: dict[tuple[int, StoreRoom], StoreRoom] = {}  # with a limit, rooms return
        for piece in call.pieces(work.max_rows):
            before = id(piece), room  # pieces of a kind are one object, and a hash of all numbers takes long
            if before not in known:
                known[before] = _decoded(work, piece, room)
            room = known[before]
    return room


def largest_piece(work: Workload) -> int:
    """Return the most slots that one piece of a training step can need."""
    ways = (0, work.max_new_tokens - 1) if work.replays or work.branches else (0,)
    calls = [call for kept in ways for call in training_calls(work, kept)]
    slots = []
    for call in calls:
        rows, each = min(work.max_rows, call.completions), call.completions // call.contexts
        contexts = min(call.contexts, (rows - 2) // each + 2)  # the most that so many neighbours can belong to
        slots.append(contexts * call.length + rows * call.budget)
    return max(slots)


def forgotten(room: StoreRoom) -> StoreRoom:
    """Return the room after `PrefixStore.clear`: it is given back where little of it was in use."""
    return StoreRoom(1, 0 if room.capacity > max(SMALLEST, 4 * room.used) else room.capacity, room.before)


def _decoded(work: Workload, piece: EngineCall, room: StoreRoom) -> StoreRoom:
    rows, left = piece.completions, piece.budget
    unused = 0
    fresh = piece.fresh
    if work.stored_tokens is not None and room.used + piece.tokens + rows * left > work.stored_tokens:
        room, fresh = forgotten(room), piece.slots
    room = _grown(room, piece.tokens, piece.tokens + rows * left)
    room = room._replace(used=room.used + fresh)
    if work.native:  # it makes room before a token is drawn, the last one's too; torch when it is to be stored
        room, unused = _grown(room, min(ROOM_STEPS, left) * rows, rows * left), rows
    else:
        left -= 1
    while left > 0:
        room = _grown(room, rows, rows * left)
        done = min(left, (room.capacity - room.used) // rows)
        room, left = room._replace(used=room.used + rows * done), left - done
    return room._replace(used=room.used - unused)


def _grown(room: StoreRoom, more: int, at_most: int) -> StoreRoom:
    size = room_for(room.capacity, room.used, more, at_most)
    return room if size == room.capacity else StoreRoom(room.used, size, room.capacity)
