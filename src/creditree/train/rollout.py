"""Run explorers: collect what all of them want sampled, make one engine call of it, judge it, send the trees back."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from creditree.engines.engine import Drawing, Engine, Sample, SampleRequest, Sampling
from creditree.engines.pulse import Told
from creditree.errors import NonFiniteError
from creditree.evaluate.prompt import prompt_ids, target_ids
from creditree.explore.base import Fork
from creditree.forest import share
from creditree.ledger import Ledger, Seconds
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate
from creditree.train.exploring import Exploring
from creditree.train.observe import with_old_logprobs
from creditree.train.settings import Parts, Settings
from creditree.tree import NO_TOKENS, Forest, IntArray, RolloutTree
from creditree.verify.calling import LARGEST_REWARD
from creditree.verify.verifier import Answer, Verifier

OldLogprobs = Callable[[Forest], tuple[Forest, int]]


class HugeRewardError(NonFiniteError):
    """A reward whose advantages would not be finite."""


@dataclass(frozen=True, eq=False, slots=True)
class Rollout:
    """Everything needed to turn problems into judged forests.

    `max_new_tokens` bounds a whole completion, kept tokens of a replay included. `old_logprobs` completes a forest that
    is learned from after an update, and says how many tokens that took; without it, what the engine says counts.
    `told` hears how far an engine call is. `solutions`: roots have the worked solutions of their problems.
    """

    model: Model
    engine: Engine
    verifier: Verifier
    prompt: PromptTemplate
    sampling: Sampling
    max_new_tokens: int
    old_logprobs: OldLogprobs | None = None
    told: Told | None = None
    solutions: bool = False

    def root(self, problem: Problem, budget: int | None = None) -> RolloutTree:
        """Return the tree of a problem before anything is sampled; `budget`: tokens of a completion (None: as set)."""
        ids = prompt_ids(self.prompt, problem, self.model)
        if not self.solutions or problem.solution is None:
            return RolloutTree(problem, ids)
        most = (self.max_new_tokens if budget is None else budget) - 1
        solution = target_ids(
            problem.solution, self.model, chat=self.prompt.of(problem).in_chat_format(self.model.texts)
        )
        return RolloutTree(problem, ids, solution_ids=solution[:-1][:most])

    @classmethod
    def of(cls, parts: Parts, settings: Settings, told: Told | None = None) -> "Rollout":
        """Return what explores with the parts of a run; `told` hears how far an engine call is."""
        return cls(
            parts.model,
            parts.engine,
            parts.verifier,
            parts.task.prompt,
            settings.sampling,
            settings.max_new_tokens,
            partial(with_old_logprobs, parts.learner),
            told,
            parts.method.explore.needs_solution,
        )

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
        """Sample the first round of some problems, and a later one of those `beside`, in one engine call.

        `kept`: `live` are learned from after the next update (`advance`);  `whole`: nobody looks at them before their
        last round, so that one who explores elsewhere may go on at once.
        """
        self.advance([*live, *beside], ledger, seconds, live if kept else ())

    def to_the_end(self, live: Sequence[Exploring], ledger: Ledger, seconds: Seconds) -> None:
        """Sample all rounds that are left of each."""
        while pending := [exploring for exploring in live if exploring.is_pending]:
            self.advance(pending, ledger, seconds)

    def advance(
        self, live: Sequence[Exploring], ledger: Ledger, seconds: Seconds, kept: Collection[Exploring] = ()
    ) -> None:
        """Sample one round of each, all in one engine call; judge it and hand it to the explorers.

        `kept`: those that are learned from after the next update, whose completions keep their old log-probabilities.
        """
        judged = self.judged_round(live, ledger, seconds, kept)
        with seconds.phase("explore"):
            for exploring, forest in zip(live, judged, strict=True):
                exploring.send(forest)

    def judged_round(
        self, live: Sequence[Exploring], ledger: Ledger, seconds: Seconds, kept: Collection[Exploring] = ()
    ) -> list[Forest]:
        """Return the forests of some problems grown by what their explorers want, and judged."""
        wanted = self._wanted(live)
        with seconds.phase("sample"):
            samples, cost = self.engine.sample(wanted.requests, self.sampling, self.told)
        ledger.add(cost)
        grown = self._with_old(live, wanted.grown(samples), ledger, seconds, kept)
        with seconds.phase("judge"):
            return [self._judged(forest, own.budget) for own, forest in zip(live, grown, strict=True)]

    def begin(self, live: Sequence[Exploring], seconds: Seconds) -> "Round | None":
        """Begin to sample one round of each, where that goes on while this process learns; None where it does not."""
        wanted = self._wanted(live)
        with seconds.phase("sample"):
            drawing = self.engine.begin(wanted.requests, self.sampling)
        return None if drawing is None else Round(live, wanted, drawing)

    def finish(self, begun: "Round", ledger: Ledger, seconds: Seconds) -> None:
        """Wait for a round that was begun, judge it and hand it to the explorers, as `advance` does.

        Its completions keep the old log-probabilities of the weights that sampled them, whatever was learned since.
        """
        with begun.drawing.weights():
            with seconds.phase("sample"):
                samples, cost = begun.drawing.samples(self.told)
            ledger.add(cost)
            grown = self._with_old(begun.live, begun.wanted.grown(samples), ledger, seconds, begun.live)
        self._hand_on(begun.live, grown, seconds)

    def _with_old(
        self,
        live: Sequence[Exploring],
        grown: list[Forest],
        ledger: Ledger,
        seconds: Seconds,
        kept: Collection[Exploring],
    ) -> list[Forest]:
        if self.old_logprobs is None or not kept:
            return grown
        with seconds.phase("learn"):
            results = [
                self.old_logprobs(forest) if exploring in kept else (forest, 0)
                for exploring, forest in zip(live, grown, strict=True)
            ]
        ledger.measured_tokens += sum(count for _, count in results)
        return [forest for forest, _ in results]

    def _hand_on(self, live: Sequence[Exploring], grown: Sequence[Forest], seconds: Seconds) -> None:
        for exploring, forest in zip(live, grown, strict=True):
            with seconds.phase("judge"):
                judged = self._judged(forest, exploring.budget)
            with seconds.phase("explore"):
                exploring.send(judged)

    def text(self, tree: RolloutTree, leaf: int) -> str:
        """Return a completion's text, kept tokens included."""
        return self.model.text(np.concatenate([tree.kept_ids, tree.completion(leaf)]))

    def _wanted(self, live: Sequence[Exploring]) -> "RoundRequests":
        requests, homes = [], []
        forests: list[Forest] = []
        for place, exploring in enumerate(live):
            if exploring.growth is None:
                raise ValueError("an exploration that has ended wants nothing sampled")
            forests.append(exploring.growth.forest)
            taken: dict[int, int] = {}
            for fork in exploring.growth.forks:
                first = len(forests[-1][fork.tree].branches) + taken.get(fork.tree, 0)
                taken[fork.tree] = taken.get(fork.tree, 0) + fork.count
                requests.append(_request(exploring, forests[-1][fork.tree], fork, first))
                homes.append((place, fork))
        return RoundRequests(forests, requests, homes)

    def _judged(self, forest: Forest, budget: int) -> Forest:
        places = [
            (number, leaf)
            for number, tree in enumerate(forest)
            for leaf in tree.leaves
            if tree.branches[leaf].verdict is None
        ]
        prompt = self.prompt.render(forest[0].problem)
        answers = [
            Answer(
                tree.problem,
                prompt,
                self.text(tree, leaf),
                len(tree.kept_ids) + tree.branches[leaf].end,
                budget,
                (*tree.kept_ids.tolist(), *tree.completion(leaf).tolist()),
            )
            for tree, leaf in ((forest[n], leaf) for n, leaf in places)
        ]
        verdicts = dict(zip(places, self.verifier.judge(answers), strict=True))
        largest = max((abs(v.reward) for v in verdicts.values() if v.reward is not None), default=0.0)
        if largest > LARGEST_REWARD:
            raise HugeRewardError(
                f"a reward has the size {largest:.3g}, and above {LARGEST_REWARD:g} advantages and losses are not "
                "finite"
            )
        return tuple(
            tree.judged({leaf: v for (n, leaf), v in verdicts.items() if n == number})
            for number, tree in enumerate(forest)
        )


@dataclass(frozen=True, eq=False, slots=True)
class RoundRequests:
    """What one round samples: the forests as they are, and the requests with the forks that they are for.

    `homes`: of each request, the place of its forest, and the fork.
    """

    forests: list[Forest]
    requests: list[SampleRequest]
    homes: list[tuple[int, Fork]]

    def grown(self, samples: Sequence[Sequence[Sample]]) -> list[Forest]:
        """Return the forests with what was sampled for each request."""
        grown = list(self.forests)
        for (place, fork), drawn in zip(self.homes, samples, strict=True):
            tree = grown[place][fork.tree].grown(
                *(sample.branch(fork.parent, fork.at, learns=fork.learns) for sample in drawn)
            )
            grown[place] = (*grown[place][: fork.tree], tree, *grown[place][fork.tree + 1 :])
        return grown


@dataclass(frozen=True, eq=False, slots=True)
class Round:
    """A round of some explorations that is being sampled while this process learns."""

    live: Sequence[Exploring]
    wanted: RoundRequests
    drawing: Drawing


def _request(exploring: Exploring, tree: RolloutTree, fork: Fork, first: int) -> SampleRequest:
    keys = tuple(exploring.key.at("tokens", fork.tree, first + index) for index in range(fork.count))
    budget = exploring.budget - len(tree.kept_ids) - fork.at
    context, handles = tree.context(fork.parent, fork.at), tree.context_handles(fork.parent, fork.at)
    return SampleRequest(context, keys, budget, len(tree.prompt_ids), fork.signals, handles)


def share_trie(live: Sequence[Exploring]) -> None:
    """Merge all that a step sampled into one trie, for the counts, credit, selection and packing of its forests."""
    for exploring, forest in zip(live, share([exploring.forest for exploring in live]), strict=True):
        exploring.forest = forest


def count_drawn(live: Sequence[Exploring], ledger: Ledger) -> None:
    """Add what was sampled since the last mark of each exploration; their trees share a trie (`share_trie`)."""
    homes = [home for exploring in live for home in exploring.new_leaves()]
    ledger.completions += len(homes)
    drawn = [tree.branches[leaf] for tree, leaf in homes]
    ledger.sampled += sum(len(branch.token_ids) for branch in drawn)
    ledger.withheld += sum(len(branch.token_ids) for branch in drawn if not branch.learns)
    rewards = [branch.reward for branch in drawn]
    judged = [branch.verdict for branch in drawn if branch.verdict is not None]
    ledger.failed_verdicts += sum(reward is None for reward in rewards)
    ledger.solved += sum(verdict.is_correct is True for verdict in judged)
    ledger.worthless += sum(reward == 0 for reward in rewards)
    ledger.truncated += sum(branch.finish_reason == "length" for branch in drawn)
    statuses = Counter(verdict.status for verdict in judged)
    ledger.unparsable += statuses["unparsable"]
    ledger.timeouts += statuses["timeout"]
    ledger.crashes += statuses["crash"]
    ledger.unique_prefixes += count_prefixes(homes)


def count_prefixes(homes: Sequence[tuple[RolloutTree, int]]) -> int:
    """Return how many different prefixes, prompt included, had a next token drawn by some branches of trees."""
    drawn: list[IntArray] = []
    for tree, leaf in homes:
        assert tree.shared is not None
        whole, first = tree.shared
        start = len(tree.prompt_ids) + len(tree.kept_ids) + tree.branches[leaf].fork
        row = first + leaf
        drawn.append(whole.trie.node_of[row, start : whole.trie.lengths[row]])
    return len(np.unique(np.concatenate([NO_TOKENS, *drawn])))
