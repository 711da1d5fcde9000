"""A crew that holds one model together: who has nothing to do attends, and where one is gone all begin anew."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creditree.errors import RunError
from creditree.scale.actor import Dead, Failed
from creditree.scale.cluster import ray_module
from creditree.scale.crew import Heard, Order, Reply
from creditree.scale.ray_crew import MOST_DEATHS, START_S, Member, RayCrew
from creditree.scale.sharded import Seat, meeting_point

if TYPE_CHECKING:
    from creditree.models.trained import Trained


@dataclass(eq=False)
class Gang(RayCrew):
    """Workers that each hold a part of every layer, on `device`. They meet at this process."""

    device: str = "cpu"
    _meeting: int = 0
    _is_stale: bool = False
    _round: int = 0

    def __post_init__(self) -> None:
        self._host = ray_module().util.get_node_ip_address()
        self._point = meeting_point(self._host)
        super().__post_init__()

    @property
    def notes(self) -> tuple[str, ...]:
        """Who works."""
        return (f"{self.size} workers, each on {self.need.words}, with 1/{self.size} of every layer of the base",)

    def run(self, orders: Sequence[Order], trained: "Trained | None", heard: Heard | None = None) -> list[Any]:
        """Return the values of all orders, in their order; each is done by the first worker that is free."""
        if self._is_stale:
            self._replace(self._members[0])
        return super().run(orders, trained, heard)

    @property
    def _is_attended(self) -> bool:
        """Whether some still attend: they are let go when the last one does."""
        return any(member.round is not None for member in self._members)

    def _idle(self, member: Member) -> None:
        """Let a worker attend while others work, whose passes need its part of the model, or wait to be let go."""
        others = (own for own in self._members if own.call is not None and own.is_ready)
        if any(own.round in (None, self._round) for own in others):
            member.round, member.call = self._round, member.actor.attend.remote()

    def _returned(self) -> Iterator[tuple[Member, int | None, Reply | Dead]]:
        """Yield what `RayCrew` does. Where one has attended to the end, so have all."""
        for member, index, answer in super()._returned():
            self._round += member.round == self._round
            member.round = None
            yield member, index, answer

    def _patience_s(self, seconds: float) -> float:
        """Return the seconds in which all load the model, one after the other where they share a machine."""
        return START_S * self.size

    def _failed(self, answer: Failed) -> None:
        """Take note where a worker has left the others in the middle of a pass."""
        self._is_stale = self._is_stale or answer.alone

    def _died(self, member: Member, index: int | None, dead: Dead, deaths: Counter[int], waiting: deque[int]) -> None:
        """Let all begin anew, and do again what any was at: nobody can go on with a part of the model."""
        self.tell(
            f"a worker died; all {self.size} begin anew, since they hold the model together, and their work is done "
            "again"
        )
        lost = [own.order for own in self._members] + [index]
        for order in sorted({own for own in lost if own is not None}, reverse=True):
            self._again(order, deaths, waiting, f" (one said: {dead.reason})" if dead.reason else "")
        self._replace(member)

    def _replace(self, member: Member) -> None:
        """Put others in the places of all. Raises RunError where too many have died while they loaded."""
        failed = 0 if member.is_ready else member.failed + 1
        for own in self._members:
            self._ray.kill(own.actor)
        if failed == MOST_DEATHS:
            raise RunError(
                f"the {self.size} workers that hold the model together have died {MOST_DEATHS} times while they "
                "loaded it; see that each machine has memory for one whole model, and continue with `resume`."
            )
        self._meeting, self._is_stale = self._meeting + 1, False
        self._members = [self._begun(number, failed) for number in range(self.size)]

    def _seat(self, number: int) -> Seat:
        return Seat(number, self.size, self._host, self._point.port, self._meeting, self.device)
