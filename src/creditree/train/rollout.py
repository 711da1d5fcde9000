"""Run explorers: collect what all of them want sampled, make one engine call of it, judge it, send the trees back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from creditree.engines.engine import Engine, SampleRequest, Sampling
from creditree.evaluate.prompt import prompt_ids
from creditree.explore.explorer import Exploration, Explorer, Fork, Growth
from creditree.ledger import Ledger, Seconds
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from creditree.tree import Branch, Forest, RolloutTree
from creditree.trie import TokenTrie
from creditree.verify.verifier import Answer, Verifier


@dataclass(slots=True)
class _Live:
    """An explorer that is under way, and what it wants now (None when it has returned its forest)."""

    key: Key
    exploration: Exploration
    growth: Growth | None
    forest: Forest = ()


@dataclass(frozen=True, eq=False, slots=True)
class Rollout:
    """Everything needed to turn problems into judged forests.

    `max_new_tokens` bounds a whole completion, kept tokens of a replay included.
    """

    model: Model
    engine: Engine
    verifier: Verifier
    prompt: PromptTemplate
    sampling: Sampling
    max_new_tokens: int

    def grow(
        self, explorer: Explorer, problems: Sequence[Problem], keys: Sequence[Key], seconds: Seconds
    ) -> tuple[list[Forest], Ledger]:
        """Run one explorer a problem to its end, all of them together; return the forests and what they cost.

        What the engine stored stays until the next call, for a learner that reuses it.
        """
        self.engine.forget()
        ledger = Ledger()
        live = []
        for problem, key in zip(problems, keys, strict=True):
            root = RolloutTree(problem, prompt_ids(self.prompt, problem, self.model))
            exploration = explorer.grow(root, key)
            live.append(_Live(key, exploration, next(exploration)))
        while any(one.growth is not None for one in live):
            with seconds.phase("sample"):
                self._sample([one for one in live if one.growth is not None], ledger)
            for one in live:
                if one.growth is not None:
                    with seconds.phase("judge"):
                        judged = self._judged(one.forest)
                    _send(one, judged)
        for one in live:
            _count(one.forest, ledger)
        ledger.unique_prefixes += count_prefixes([one.forest for one in live])
        return [one.forest for one in live], ledger

    def text(self, tree: RolloutTree, leaf: int) -> str:
        """Return a completion's text, kept tokens included."""
        return self.model.text(np.concatenate([tree.kept_ids, tree.completion(leaf)]))

    def _sample(self, live: list[_Live], ledger: Ledger) -> None:
        requests, homes = [], []
        for one in live:
            if one.growth is None:
                continue
            trees = list(one.growth.forest)
            taken: dict[int, int] = {}
            for fork in one.growth.forks:
                tree = trees[fork.tree]
                first = len(tree.branches) + taken.get(fork.tree, 0)
                taken[fork.tree] = taken.get(fork.tree, 0) + fork.count
                keys = tuple(one.key.at("tokens", fork.tree, first + index) for index in range(fork.count))
                budget = self.max_new_tokens - len(tree.kept_ids) - fork.at
                context = tree.context(fork.parent, fork.at)
                requests.append(SampleRequest(context, keys, budget, len(tree.prompt_ids), fork.signals))
                homes.append((one, fork))
            one.forest = tuple(trees)
        samples, cost = self.engine.sample(requests, self.sampling)
        ledger.add(cost)
        for (one, fork), drawn in zip(homes, samples, strict=True):
            branches = [
                Branch(
                    fork.parent,
                    fork.at,
                    s.token_ids,
                    s.logprobs,
                    s.sampler_logprobs,
                    s.finish_reason,
                    None,
                    s.entropies,
                    s.influence,
                )
                for s in drawn
            ]
            one.forest = _with_tree(one.forest, fork, one.forest[fork.tree].grown(*branches))

    def _judged(self, forest: Forest) -> Forest:
        places = [
            (number, leaf)
            for number, tree in enumerate(forest)
            for leaf in tree.leaves
            if tree.branches[leaf].verdict is None
        ]
        prompt = self.prompt.render(forest[0].problem)
        answers = [Answer(forest[n].problem, prompt, self.text(forest[n], leaf)) for n, leaf in places]
        verdicts = dict(zip(places, self.verifier.judge(answers), strict=True))
        return tuple(
            tree.judged({leaf: v for (n, leaf), v in verdicts.items() if n == number})
            for number, tree in enumerate(forest)
        )


def _with_tree(forest: Forest, fork: Fork, tree: RolloutTree) -> Forest:
    return (*forest[: fork.tree], tree, *forest[fork.tree + 1 :])


def _send(one: _Live, forest: Forest) -> None:
    try:
        one.growth = one.exploration.send(forest)
    except StopIteration as finished:
        one.growth = None
        one.forest = finished.value


def _count(forest: Forest, ledger: Ledger) -> None:
    for tree in forest:
        ledger.completions += len(tree.branches)
        ledger.sampled += sum(len(branch.token_ids) for branch in tree.branches)
        ledger.failed_verdicts += sum(branch.reward is None for branch in tree.branches)


def count_prefixes(forests: Sequence[Forest]) -> int:
    """Return how many different prefixes, prompt included, had a next token drawn."""
    trees = [tree for forest in forests for tree in forest]
    homes = [(tree, leaf) for tree in trees for leaf in tree.leaves]
    trie = TokenTrie.of([np.concatenate([tree.root_ids, tree.completion(leaf)]) for tree, leaf in homes])
    inner = np.zeros(len(trie), dtype=np.bool_)
    for row, (tree, _) in enumerate(homes):
        inner[trie.node_of[row, len(tree.root_ids) : trie.lengths[row]]] = True
    return int(inner.sum())
