"""Run explorers: collect what all of them want sampled, make one engine call of it, judge it, send the trees back."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from creditree.engines.engine import Engine, SampleRequest, Sampling
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
from creditree.tree import NO_TOKENS, Forest, IntArray, RolloutTree
from creditree.verify.reward_function import LARGEST_REWARD
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

    def advance(
        self, live: Sequence[Exploring], ledger: Ledger, seconds: Seconds, kept: Collection[Exploring] = ()
    ) -> None:
        """Sample one round of each, all in one engine call; judge it and hand it to the explorers.

        `kept`: those that are learned from after the next update, whose completions keep their old log-probabilities.
        """
        with seconds.phase("sample"):
            grown = self._sample(live, ledger)
        if self.old_logprobs is not None and kept:
            with seconds.phase("learn"):
                results = [
                    self.old_logprobs(f) if exploring in kept else (f, 0)
                    for exploring, f in zip(live, grown, strict=True)
                ]
            grown = [forest for forest, _ in results]
            ledger.measured_tokens += sum(count for _, count in results)
        for exploring, forest in zip(live, grown, strict=True):
            with seconds.phase("judge"):
                judged = self._judged(forest, exploring.budget)
            with seconds.phase("explore"):
                exploring.send(judged)

    def text(self, tree: RolloutTree, leaf: int) -> str:
        """Return a completion's text, kept tokens included."""
        return self.model.text(np.concatenate([tree.kept_ids, tree.completion(leaf)]))

    def _sample(self, live: Sequence[Exploring], ledger: Ledger) -> list[Forest]:
        requests, homes = [], []
        grown: list[Forest] = []
        for place, exploring in enumerate(live):
            if exploring.growth is None:
                raise ValueError("an exploration that has ended wants nothing sampled")
            grown.append(exploring.growth.forest)
            taken: dict[int, int] = {}
            for fork in exploring.growth.forks:
                first = len(grown[-1][fork.tree].branches) + taken.get(fork.tree, 0)
                taken[fork.tree] = taken.get(fork.tree, 0) + fork.count
                requests.append(_request(exploring, grown[-1][fork.tree], fork, first))
                homes.append((place, fork))
        samples, cost = self.engine.sample(requests, self.sampling, self.told)
        ledger.add(cost)
        for (place, fork), drawn in zip(homes, samples, strict=True):
            tree = grown[place][fork.tree].grown(
                *(sample.branch(fork.parent, fork.at, learns=fork.learns) for sample in drawn)
            )
            grown[place] = (*grown[place][: fork.tree], tree, *grown[place][fork.tree + 1 :])
        return grown

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
