"""The training loop: one loop for every method, and for whoever trains: runs, recipes, benchmarks, examples."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from creditree.engines.pulse import Told
from creditree.errors import NonFiniteError
from creditree.ledger import Ledger
from creditree.returned import Returned
from creditree.rng import Key
from creditree.train.pipeline import Pipeline
from creditree.train.rollout import HugeRewardError, Rollout
from creditree.train.settings import Parts, Settings
from creditree.train.soundness import is_unjudged, was_skipped
from creditree.train.state import State
from creditree.train.step import Skip, StepResult, learn
from creditree.train.unrewarded import reasons_in, with_more
from creditree.train.warm_start import warm_step
from creditree.tree import Forest


class Loop:
    """Makes training steps of some parts; it keeps counts and clocks (`state`), and writes nothing.

    ``Loop(parts, settings).step()`` draws problems, grows their trees, judges, credits, and updates what learns; the
    first steps may be those of a warm start.
    """

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        *,
        told: Told | None = None,
        learning: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` hears how far an engine call is; `learning` is called before a step's first update."""
        self.parts = parts
        self.settings = settings
        self.key = Key.of(settings.seed)
        self.state = State()
        here = Rollout.of(parts, settings, told)
        self.rollout = here if parts.helpers is None else parts.helpers.rollout(here)
        self.pipeline = Pipeline(
            self.rollout, parts.task, parts.method.explore, parts.method.schedule, self.key, settings.problems_per_step
        )
        self._learning = learning

    @property
    def state(self) -> State:
        """Counts and clocks up to the last step."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        if self.parts.helpers is not None:
            helpers = self.parts.helpers
            state.seconds.helped_s = lambda: helpers.cpu_s

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate_at(self.state.step, self.state.seconds, self.state.ledger.sampled)

    def step(self) -> StepResult:
        """Make the next step, and count it. One that cannot be sampled, or whose update is not finite, is a skip."""
        state = self.state
        result = self._sampled_and_learned()
        state.step += 1
        state.ledger.add(result.cost)
        if was_skipped(result):
            state.skipped += 1
        elif result.stats.updated:
            state.skipped = 0
        state.unjudged = state.unjudged + 1 if is_unjudged(result) else 0
        state.unrewarded = with_more(state.unrewarded, reasons_in(result.explored))
        return result

    def texts(self, forests: Sequence[Forest]) -> list[tuple[tuple[str, ...], ...]]:
        """Return the texts of all completions: ``texts[forest][tree][leaf]``."""
        return [
            tuple(tuple(self.rollout.text(tree, leaf) for leaf in tree.leaves) for tree in forest) for forest in forests
        ]

    def _sampled_and_learned(self) -> StepResult:
        settings, state, rate = self.settings, self.state, self.learning_rate
        step = settings.own_step(state.step)
        if step < 0:
            self._learning()
            key = self.key.at("warm_start")
            return warm_step(self.parts, settings.warm_start, state.step, key, rate, state.seconds)
        try:
            explored = self.pipeline.step(step, state.seconds, is_last=step + 1 == settings.steps)
        except NonFiniteError as error:
            self.pipeline.abandon()
            return StepResult.without(_skip(error, self.pipeline.problem_ids))
        forests, keys = (
            [exploring.forest for exploring in explored.chosen],
            [exploring.key for exploring in explored.chosen],
        )
        key = self.key.at("step", step)
        self._learning()
        method = self.parts.method
        course = settings.course(state.step, state.seconds, state.ledger.sampled)
        select = Returned(method.select, "at_progress", method.select.at_progress(course)).same_axis()
        parts = replace(self.parts, method=replace(method, select=select))
        learned = learn(parts, forests, keys, key, rate, state.seconds, explored.cost, settings.mini_batch)
        skips = [*learned.skips, *self._collected(explored.cost)]
        self.pipeline.learned(learned.rows, learned.cost.updates)
        return replace(learned, explored=[exploring.forest for exploring in explored.live], skips=skips)

    def _collected(self, cost: Ledger) -> list[Skip]:
        """Wait for what is being sampled for the next step; return why it is left out, where it cannot be used."""
        try:
            self.pipeline.collect(cost, self.state.seconds)
        except NonFiniteError as error:
            return [_skip(error, self.pipeline.problem_ids)]
        return []


def _skip(error: NonFiniteError, problem_ids: list[str]) -> Skip:
    huge = isinstance(error, HugeRewardError)
    reason = str(error) if huge else "the logits of sampling are NaN or infinite"
    return Skip(reason, tuple(problem_ids), "smaller rewards" if huge else None)
