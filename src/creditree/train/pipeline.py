"""Which problems are sampled when: one loop for on-policy training, and for a pipeline that is one step off-policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.errors import NonFiniteError
from creditree.explore.base import Explorer, ExplorerState
from creditree.ledger import Ledger, Seconds
from creditree.problem import Problem
from creditree.returned import Returned
from creditree.rng import Key
from creditree.schedule.base import Schedule, ScheduleState
from creditree.tasks.task import Task
from creditree.train.checked_schedule import CheckedSchedule
from creditree.train.exploring import Exploring
from creditree.train.in_flight import Arrays, Plain, restored, stored
from creditree.train.rollout import Rollout, Round, count_drawn, share_trie

MOST_PASSED_OVER = 1_000_000
"""Problems in a row that a schedule may pass over before one is drawn all the same."""


@dataclass(frozen=True, eq=False, slots=True)
class Explored:
    """The explorations that a step has finished, which of them reach the learner, and what the step sampled."""

    live: list[Exploring]
    trained: list[bool]
    cost: Ledger

    @property
    def chosen(self) -> list[Exploring]:
        """The explorations that reach the learner."""
        return [exploring for exploring, keep in zip(self.live, self.trained, strict=True) if keep]


class Pipeline:
    """Draws problems as the schedule says, and explores them.

    On-policy, every exploration of a step runs to its end. Off-policy (arXiv 2509.26628, section 3.3), the first round
    of the next step's problems shares the engine call with the later rounds of this step's: their first completions
    come from the policy before the last update, and keep the log-probabilities of that policy (`old_logprobs`). Where
    another process samples (`Engine.begin`), it goes on with that round while this one learns, until `collect`.

    `staleness`: updates that were made between the first completions of the last step and its own first update.
    """

    def __init__(
        self, rollout: Rollout, task: Task, explorer: Explorer, schedule: Schedule, key: Key, problems_per_step: int
    ) -> None:
        self.rollout, self.task, self.explorer, self.schedule, self.key = rollout, task, explorer, schedule, key
        self._asks = CheckedSchedule(schedule)
        self.state: ScheduleState = self._asks.start(problems_per_step, explorer.max_completions)
        self.explorer_state: ExplorerState = Returned(explorer, "start", explorer.start()).state()
        self._drawn_with = self.explorer_state  # what the explorer remembered when those in flight were drawn
        self.in_flight: list[Exploring] = []
        self.next_problem = 0
        self.staleness = 0
        self._updates = self._sampled_at = 0  # so far, and when those in flight were sampled
        self._begun: Round | None = None
        self._asked: list[Problem] = []
        self._saved = self._taken()

    def step(self, number: int, seconds: Seconds, *, is_last: bool = False) -> Explored:
        """Return what training step `number` (from 0) learns from; the last one samples nothing for a next."""
        self.rollout.engine.forget()
        cost = Ledger()
        current = self.in_flight
        self._asked = [exploring.forest[0].problem for exploring in current]
        self.staleness = self._updates - self._sampled_at if current else 0
        if not current:
            current = self._draw(number, self._asks.num_problems(self.state))
            self._first_round(current, cost, seconds)
        self.in_flight = []
        if self.schedule.off_policy and not is_last:
            self.in_flight = self._draw(number + 1, self._asks.num_problems(self.state))
            self._sampled_at = self._updates
            self._begun = self.rollout.begin(self.in_flight, seconds)
            if self._begun is None:
                self._first_round(self.in_flight, cost, seconds, beside=current)
        self.rollout.to_the_end(current, cost, seconds)
        if not self.schedule.off_policy:
            self._replenish(current, number, cost, seconds)
        self._count(current if self._begun else [*current, *self.in_flight], cost)
        forests = [exploring.forest for exploring in current]
        remembered = self.explorer.after(forests, self.explorer_state)
        self.explorer_state = Returned(self.explorer, "after", remembered).state()
        trains = self._asks.trains(forests)
        return Explored(
            current, [keep and not exploring.ended for keep, exploring in zip(trains, current, strict=True)], cost
        )

    def collect(self, cost: Ledger, seconds: Seconds) -> None:
        """Wait for what is being sampled for the next step, if anything is. Raises NonFiniteError as sampling does.

        To be called when the step has learned: there is nothing else to do by then.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            return
        try:
            self.rollout.finish(begun, cost, seconds)
        except NonFiniteError:
            self._asked = [forest[0].problem for forest in begun.wanted.forests]
            self.in_flight = []
            raise
        self._end_some(self.in_flight)
        self._count(self.in_flight, cost)

    def learned(self, rows: int, updates: int = 1) -> None:
        """End the step: tell the schedule on how many completions its updates were."""
        self._updates += updates
        self.state = self._asks.after(self.state, rows)
        self._saved = self._taken()

    @property
    def problem_ids(self) -> list[str]:
        """The problems of the step that was begun last, also where it failed."""
        return [problem.id for problem in self._asked]

    def abandon(self) -> None:
        """End a step that failed in sampling: its problems are not asked again, and nothing is in flight."""
        if self._begun is not None:
            self._begun.drawing.end()
        self.in_flight, self._begun = [], None
        self.state = dict(self._saved[1]["schedule"])
        self.explorer_state = dict(self._saved[1]["explorer"])
        self._saved = self._taken()

    def save(self) -> tuple[Arrays, Plain]:
        """Return what a resumed run needs of the problems in flight, and of the schedule, as the last step ended."""
        return self._saved

    def _taken(self) -> tuple[Arrays, Plain]:
        arrays, records = stored(self.in_flight)
        known: Plain = {"explorer": self.explorer_state, "drawn_with": self._drawn_with}
        known |= {"updates": self._updates, "sampled_at": self._sampled_at}
        return arrays, {"next_problem": self.next_problem, "schedule": self.state, "flying": records, **known}

    def load(self, arrays: Arrays, record: Plain) -> None:
        """Restore what `save` returned."""
        self.next_problem = int(record["next_problem"])
        self.state = dict(record["schedule"])
        self.explorer_state = dict(record.get("explorer", self.explorer_state))
        self._drawn_with = dict(record.get("drawn_with", self.explorer_state))
        self._updates = int(record.get("updates", 0))
        self._sampled_at = int(record.get("sampled_at", self._updates - 1))
        explorer = self._at_state(self._drawn_with)
        self.in_flight = [
            Exploring.resume(
                explorer,
                self.rollout.root(entry.forest[0].problem, entry.budget),
                entry.index,
                entry.key,
                entry.budget,
                entry.forest,
                ended=entry.ended,
            )
            for entry in restored(arrays, record["flying"], self._problem)
        ]
        self._saved = self._taken()

    def _at_state(self, state: ExplorerState) -> Explorer:
        explorer: Explorer = Returned(self.explorer, "at_state", self.explorer.at_state(state)).same_axis()
        return explorer

    def _problem(self, index: int) -> Problem:
        return self.task.training(self.key.at("problems"), index)

    def _draw(self, number: int, count: int, first: int = 0) -> list[Exploring]:
        """Start `count` problems of step `number`, whose first has place `first` in the step."""
        budget = self._asks.max_new_tokens(number, self.rollout.max_new_tokens)
        key = self.key.at("step", number)
        explorer, self._drawn_with = self._at_state(self.explorer_state), self.explorer_state
        drawn = []
        for place in range(first, first + count):
            index, problem = self._next()
            self._asked.append(problem)
            root = self.rollout.root(problem, budget)
            drawn.append(Exploring.start(explorer, root, index, key.at("problem", place), budget))
        return drawn

    def _next(self) -> tuple[int, Problem]:
        """Return the next problem that the schedule takes, and its index; a million in a row are not passed over."""
        for _ in range(MOST_PASSED_OVER):
            index = self.next_problem
            self.next_problem += 1
            problem = self._problem(index)
            takes, self.state = self._asks.takes(problem, self.state)
            if takes:
                break
        return index, problem

    def _first_round(
        self, live: Sequence[Exploring], cost: Ledger, seconds: Seconds, beside: Sequence[Exploring] = ()
    ) -> None:
        """Sample the first round of some problems, and a later one of those `beside`; then end what is not to go on."""
        is_next = live is self.in_flight
        beside = [exploring for exploring in beside if exploring.is_pending]
        whole = not (is_next or self.schedule.looks_early)
        self.rollout.first_round(live, beside, cost, seconds, kept=is_next, whole=whole)
        self._end_some(live)

    def _end_some(self, live: Sequence[Exploring]) -> None:
        """End what is not to go on after its first round."""
        goes_on, self.state = self._asks.expands([exploring.forest for exploring in live], self.state)
        for exploring, keep in zip(live, goes_on, strict=True):
            if not keep:
                exploring.end()

    def _count(self, live: Sequence[Exploring], cost: Ledger) -> None:
        """Count what was sampled of some explorations; those in flight go on from here in the next step."""
        share_trie(live)
        count_drawn(live, cost)
        for exploring in self.in_flight:
            if exploring in live:
                exploring.mark()

    def _replenish(self, current: list[Exploring], number: int, cost: Ledger, seconds: Seconds) -> None:
        """Draw more problems for as long as the schedule misses some that can be trained on."""
        while True:
            trained = sum(self._asks.trains([exploring.forest for exploring in current]))
            missing = self._asks.missing(trained, len(current), self.state)
            if missing == 0:
                return
            more = self._draw(number, missing, len(current))
            self._first_round(more, cost, seconds)
            self.rollout.to_the_end(more, cost, seconds)
            current += more
