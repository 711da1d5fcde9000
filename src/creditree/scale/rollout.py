"""Explore with a crew: whole problems, each by one worker, taken from a queue; few problems by their completions."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from creditree.engines.pulse import Pulse
from creditree.ledger import Ledger, Seconds
from creditree.scale.crew import Crew, Order, Reply
from creditree.scale.engine import CrewEngine
from creditree.scale.shards import pieces_of
from creditree.scale.worker import Errand, ExploredForest, portable
from creditree.train.exploring import Exploring
from creditree.train.rollout import Rollout


@dataclass(frozen=True, eq=False, slots=True)
class CrewHelpers:
    """What a crew does for a training loop."""

    crew: Crew

    @property
    def cpu_s(self) -> float:
        """Processor seconds that the workers have worked so far."""
        return self.crew.cpu_s

    def rollout(self, here: Rollout) -> "CrewRollout":
        """Return what explores with the crew; `here` samples by it already (`CrewEngine`)."""
        values = {name: getattr(here, name) for name in Rollout.__dataclass_fields__}
        return CrewRollout(**values, crew=self.crew)


@dataclass(frozen=True, eq=False, kw_only=True)
class CrewRollout(Rollout):
    """Sends whole problems out, where there is one for every worker: who is slow holds only those sent with it.

    A worker goes through all rounds of a problem, judging included, without waiting for other problems. Where there are
    fewer problems than workers, rounds are made here and their completions are dealt out (`CrewEngine`).
    """

    crew: Crew

    def first_round(
        self,
        live: Sequence[Exploring],
        beside: Sequence[Exploring],
        ledger: Ledger,
        seconds: Seconds,
        *,
        kept: bool,
        whole: bool,
    ) -> None:
        """Sample the first round of some problems, all rounds of those `beside`, and of all where they are `whole`."""
        if not self._sends([*live, *beside]):
            super().first_round(live, beside, ledger, seconds, kept=kept, whole=whole)
            return
        errands = [_errand(exploring, whole=whole, kept=kept) for exploring in live]
        errands += [_errand(exploring, whole=True, kept=False) for exploring in beside]
        self._explore([*live, *beside], errands, ledger, seconds)

    def to_the_end(self, live: Sequence[Exploring], ledger: Ledger, seconds: Seconds) -> None:
        """Sample all rounds that are left of each."""
        pending = [exploring for exploring in live if exploring.is_pending]
        if not self._sends(pending):
            super().to_the_end(pending, ledger, seconds)
            return
        errands = [_errand(exploring, whole=True, kept=False) for exploring in pending]
        self._explore(pending, errands, ledger, seconds)

    def _sends(self, live: Sequence[Exploring]) -> bool:
        """Return whether problems are sent whole: there are enough, and none is past what an errand can say."""
        return len(live) >= max(1, self.crew.size) and all(exploring.rounds <= 1 for exploring in live)

    def _explore(self, live: Sequence[Exploring], errands: Sequence[Errand], ledger: Ledger, seconds: Seconds) -> None:
        assert isinstance(self.engine, CrewEngine)
        rows = [_rows(exploring) for exploring in live]
        costs = [_expected(exploring, count) for exploring, count in zip(live, rows, strict=True)]
        pieces = [sorted(piece) for piece in pieces_of(costs, rows, self.crew.size, self.engine.good_rows)]
        orders = [Order("explore", ([errands[index] for index in piece],)) for piece in pieces]
        begun, drawn = monotonic(), Ledger()

        def heard(number: int, reply: Reply) -> None:
            drawn.completions += sum(rows[index] for index in pieces[number])
            drawn.sampled += sum(map(_tokens, reply.value[0]))
            if self.told is not None:
                self.told(Pulse(sum(rows), drawn.completions, drawn.sampled, monotonic() - begun))

        with seconds.phase("sample"):
            values = self.crew.run(orders, self.engine.trained, heard)
        with seconds.phase("explore"):
            for piece, (explored, cost) in zip(pieces, values, strict=True):
                ledger.add(cost)
                for index, own in zip(piece, explored, strict=True):
                    _take(live[index], own, whole=errands[index].whole)


def _errand(exploring: Exploring, *, whole: bool, kept: bool) -> Errand:
    assert exploring.growth is not None
    return Errand(
        exploring.explorer,
        exploring.growth.forest[0].problem,
        exploring.index,
        exploring.key,
        exploring.budget,
        portable(exploring.forest) if exploring.rounds else None,
        whole,
        kept,
    )


def _take(exploring: Exploring, explored: ExploredForest, *, whole: bool) -> None:
    if whole:
        exploring.finish(explored.forest, explored.rounds)
    else:
        exploring.send(explored.forest)


def _rows(exploring: Exploring) -> int:
    """Return how many completions a problem wants next."""
    assert exploring.growth is not None
    return sum(fork.count for fork in exploring.growth.forks)


def _expected(exploring: Exploring, rows: int) -> int:
    """Return how many tokens a problem is expected to take: as long as its completions were so far, or as they may be.

    Of problems that have none yet all are expected to take the same for each completion.
    """
    branches = [branch for tree in exploring.forest for branch in tree.branches]
    mean = sum(len(branch.token_ids) for branch in branches) / len(branches) if branches else exploring.budget
    return max(1, round(rows * mean))


def _tokens(explored: ExploredForest) -> int:
    return sum(len(branch.token_ids) for tree in explored.forest for branch in tree.branches)
