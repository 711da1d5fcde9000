"""A crew of Ray actors: who is free takes the next piece of work; who dies is replaced, and its work is done again."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from creditree.errors import ModelError, RunError
from creditree.scale.actor import Actor, Dead, Failed, Started
from creditree.scale.cluster import Need, ray_module
from creditree.scale.crew import Heard, Order, Reply, SentWeights

if TYPE_CHECKING:
    from creditree.models.trained import Trained
    from creditree.scale.sharded import Seat
    from creditree.scale.worker import CrewWorker

LOOK_S = 0.25
"""Seconds between two looks at who is done: signals are heard in between."""
PATIENCE_S = 300.0
"""Seconds without any worker that is alive before a crew gives up: a host may be started again meanwhile."""
MOST_DEATHS = 3
"""Workers that may die of the same piece of work."""
START_S = 600.0
"""Seconds for the first workers to load their model."""


@dataclass(eq=False, slots=True)
class Member:
    """A worker: its actor, and what it is at. `order`: the index of its order; None: it loads, attends, or ends old
    work.

    `round`: the attendance of a gang that it is at;  `failed`: how many in its place have died in a row before they
    were ready.
    """

    number: int
    actor: Any
    call: Any = None
    order: int | None = None
    is_ready: bool = False
    failed: int = 0
    round: int | None = None


@dataclass(eq=False)
class RayCrew:
    """`size` workers on a cluster that is joined already; `make` makes one, in its own process."""

    make: "Callable[[], CrewWorker]"
    size: int
    need: Need
    tell: Callable[[str], None]
    close_with: Callable[[], None] = lambda: None
    cpu_s: float = 0.0
    _members: list[Member] = field(default_factory=list)
    _sent: tuple[bytes, Any] | None = None
    _holds: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ray = ray_module()
        errors = self._ray.exceptions
        self._lost = (
            errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.NodeDiedError,
            errors.OutOfMemoryError, errors.LocalRayletDiedError,
        )  # fmt: skip
        self._kind = self._ray.remote(Actor)
        self._base = self._ray.put(SentWeights())
        self._members = [self._begun(number) for number in range(self.size)]

    @property
    def notes(self) -> tuple[str, ...]:
        """Who works."""
        return (f"{self.size} worker{'s' if self.size > 1 else ''}, each on {self.need.words}",)

    def start(self, holds: Mapping[str, object]) -> None:
        """Wait until all workers have loaded their model, which must be that of the driver: `holds` are its digests.

        Raises what one of them cannot do, in one sentence.
        """
        self._holds, until, deaths = holds, monotonic() + self._patience_s(START_S), 0
        while not all(member.is_ready for member in self._members):
            for member, _, answer in self._returned():
                if isinstance(answer, Dead):
                    deaths += 1
                    self._replace(member)
            if deaths >= MOST_DEATHS or monotonic() > until:
                ready = sum(member.is_ready for member in self._members)
                raise RunError(
                    f"only {ready} of {self.size} workers have started (they have loaded nothing after "
                    f"{self._patience_s(START_S):.0f} s, or died of it); see that each has the memory for the model, "
                    "or set `workers` to less."
                )

    def run(self, orders: Sequence[Order], trained: "Trained | None", heard: Heard | None = None) -> list[Any]:
        """Return the values of all orders, in their order; each is done by the first worker that is free."""
        weights = self._weights(trained)
        values: list[Any] = [None] * len(orders)
        waiting, missing = deque(range(len(orders))), len(orders)
        deaths: Counter[int] = Counter()
        alive = monotonic()
        for member in self._members:
            member.order = None  # a run that was interrupted has left them with its work
        while missing or self._is_attended:
            self._deal(orders, waiting, weights)
            alive = self._checked(alive)
            for member, index, answer in self._returned():
                if isinstance(answer, Dead):
                    self._died(member, index, answer, deaths, waiting)
                    continue
                self.cpu_s += sum(answer.seconds.cpu.values())
                if index is not None:
                    values[index], missing = answer.value, missing - 1
                    if heard is not None:
                        heard(index, answer)
        return values

    def _checked(self, alive: float) -> float:
        """Return when a worker was last alive. Raises RunError where that is too long ago."""
        if any(member.is_ready for member in self._members):
            return monotonic()
        if monotonic() - alive > self._patience_s(PATIENCE_S):
            raise RunError(
                f"no worker of {self.size} has been alive for {self._patience_s(PATIENCE_S):.0f} s; see that `ray "
                "status` shows machines with room for them, and continue with `resume`."
            )
        return alive

    def close(self) -> None:
        """Send the workers away, and leave the cluster."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members = []
        self._sent = None
        self.close_with()

    def _weights(self, trained: "Trained | None") -> Any:
        """Return a reference to the weights as they are now, which are sent once."""
        known = None if self._sent is None else self._sent[0]
        weights = SentWeights.of(trained, known)
        if weights.digest is None:
            return self._base
        if self._sent is None or weights.digest != known:
            self._sent = weights.digest, self._ray.put(weights)
        return self._sent[1]

    def _deal(self, orders: Sequence[Order], waiting: deque[int], weights: Any) -> None:
        for member in self._members:
            if member.is_ready and member.call is None:
                if waiting:
                    member.order = waiting.popleft()
                    member.call = member.actor.do.remote(orders[member.order], weights)
                else:
                    self._idle(member)

    @property
    def _is_attended(self) -> bool:
        """Whether a run must go on though all its orders are done."""
        return False

    def _idle(self, member: Member) -> None:
        """Let a worker do what there is to do when there is no order for it: nothing."""

    def _patience_s(self, seconds: float) -> float:
        """Return how long workers may take for what usually takes less than some seconds."""
        return seconds

    def _returned(self) -> Iterator[tuple[Member, int | None, Reply | Dead]]:
        """Yield who has done an order, or is dead, with the index of the order. Raises what a worker raised."""
        calls = {member.call: member for member in self._members if member.call is not None}
        done = self._ray.wait(list(calls), num_returns=1, timeout=LOOK_S)[0] if calls else []
        if not calls:
            sleep(LOOK_S)
        for call in done:
            member = calls[call]
            index, member.call, member.order = member.order, None, None
            answer = self._answer(call)
            if isinstance(answer, Started):
                self._check(member, answer)
                member.is_ready = True
            elif isinstance(answer, Failed):
                if index is not None or not member.is_ready:
                    self._failed(answer)
                    raise answer.error
                if answer.alone:
                    yield member, index, Dead(str(answer.error))
            else:
                yield member, index, answer

    def _failed(self, answer: Failed) -> None:
        """Take note that a worker could not do what it was asked to."""

    def _answer(self, call: Any) -> Reply | Started | Failed | Dead:
        try:
            answer: Reply | Started | Failed | Dead = self._ray.get(call)
        except self._lost:
            return Dead()
        return answer

    def _check(self, member: Member, started: Started) -> None:
        """Raise ModelError where a worker holds something else than the driver: it would train another model."""
        other = [name for name, value in self._holds.items() if started.holds.get(name) != value]
        if other:
            raise ModelError(
                f"worker {member.number + 1} on {started.host} holds something else than this process ({other[0]}: "
                f"{started.holds.get(other[0])} there, {self._holds[other[0]]} here); put the same files on all "
                "machines of the cluster."
            )

    def _died(self, member: Member, index: int | None, dead: Dead, deaths: Counter[int], waiting: deque[int]) -> None:
        self.tell(f"worker {member.number + 1} died; another takes its place, and its work is done again")
        if index is not None:
            self._again(index, deaths, waiting)
        self._replace(member)

    def _again(self, index: int, deaths: Counter[int], waiting: deque[int], said: str = "") -> None:
        """Let an order be done again. Raises ModelError where too many have died of it."""
        deaths[index] += 1
        waiting.appendleft(index)
        if deaths[index] == MOST_DEATHS:
            raise ModelError(
                f"{MOST_DEATHS} workers died of the same work, for want of memory, it seems{said}; lower "
                "train.max_rows, train.micro_batch_tokens or sampling.max_new_tokens, and continue with `resume`."
            )

    def _replace(self, member: Member) -> None:
        """Put another worker in the place of one that is dead, unless too many have died there while they loaded."""
        self._ray.kill(member.actor)
        failed = 0 if member.is_ready else member.failed + 1
        if failed == MOST_DEATHS:
            self.tell(f"worker {member.number + 1} cannot start any more; the others go on without it")
            member.is_ready = False
            return
        self._members[member.number] = self._begun(member.number, failed)

    def _begun(self, number: int, failed: int = 0) -> Member:
        options = {"num_cpus": self.need.cpus, "num_gpus": self.need.gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = self._kind.options(**options).remote(self.make, self.need.cpus, os.getcwd(), self._seat(number))
        return Member(number, actor, actor.ready.remote(), failed=failed)

    def _seat(self, number: int) -> "Seat | None":
        """Return the place of a worker among those that hold one model: none, each has a whole one."""
        return None
