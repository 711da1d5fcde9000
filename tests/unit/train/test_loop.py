"""The loop alone: no run directory, no watcher."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pytest

from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain, PrefixMatch
from creditree.engines.in_process import InProcessEngine
from creditree.engines.store import ROOT, PrefixStore
from creditree.explore.base import Exploration, Explorer, ExplorerState, Fork, Growth
from creditree.explore.entropy import Entropy
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.explore.reset import Reset
from creditree.explore.solution_prefix import SolutionPrefix
from creditree.methods import Method
from creditree.objective.gspo import Gspo
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import fitted
from creditree.problem import Problem
from creditree.rewards import Combine, Combined, Single
from creditree.rng import Key
from creditree.schedule.base import Schedule, ScheduleState
from creditree.schedule.fixed import Fixed
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.everything import Everything
from creditree.select.prefix_growing import PrefixGrowing
from creditree.train.loop import Loop
from creditree.tree import Forest, IntArray, RolloutTree
from creditree.trie import TokenTrie
from creditree.verify.reward_function import RewardFunction
from tests.forests import assigned
from tests.training import SETTINGS, Solved, parts_of


def test_a_selection_is_told_which_step_it_is() -> None:
    """Of `PrefixGrowing` from nearly nothing to all, the first step trains one token of a completion, the last all."""
    method = Method("m", "", Group(3), GroupRelative(), PrefixGrowing(0.01, 1.0), PolicyGradient())
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=2, problems_per_step=1))
    for everything in (False, True):
        (fields,) = loop.step().weights
        counts = [(int((assigned(values) > 0).sum()), len(assigned(values))) for values in fields[0]]
        assert all(kept == (total if everything else 1) for kept, total in counts)
        assert max(total for _, total in counts) > 1


def test_what_does_not_learn_is_sampled_counted_and_not_trained_on() -> None:
    """Of `Reset` the suffixes alone are in the loss; off-policy, problems in flight keep the mark in a checkpoint."""
    method = Method("m", "", Reset(4), GroupRelative(), Everything(), PolicyGradient(), Fixed(off_policy=True))
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=3, problems_per_step=2))
    result = loop.step()
    first = [b for forest in result.forests for b in forest[0].branches]
    suffixes = [b for forest in result.forests for tree in forest[1:] for b in tree.branches]
    assert [one.learns for one in (*first, *suffixes)] == [False] * len(first) + [True] * len(suffixes)
    assert len(suffixes) == 8 == result.rows
    in_flight = sum(len(b.token_ids) for one in loop.pipeline.in_flight for b in one.forest[0].branches)
    assert result.cost.withheld == sum(len(b.token_ids) for b in first) + in_flight
    assert 0 < result.cost.in_loss <= sum(len(b.token_ids) for b in suffixes)
    arrays, record = loop.pipeline.save()
    resumed = Loop(loop.parts, loop.settings)
    resumed.pipeline.load(arrays, json.loads(json.dumps(record)))
    assert not any(b.learns for one in resumed.pipeline.in_flight for b in one.forest[0].branches)


def test_the_pass_for_ratios_of_whole_sequences_is_counted() -> None:
    method = Method("m", "", Group(4), GroupRelative(), Everything(), Gspo())
    cost = Loop(parts_of(method=method), replace(SETTINGS, problems_per_step=2)).step().cost
    assert cost.measured_tokens == cost.forwarded > 0


@pytest.mark.parametrize("off_policy", [False, True])
def test_what_an_explorer_remembers_is_in_the_checkpoint(off_policy: bool) -> None:
    """A resumed run gives as much of a solution as one that was never stopped, also of problems in flight."""
    explorer, schedule = SolutionPrefix(4, speed=0.5), Fixed(off_policy=off_policy)
    method = Method("m", "", explorer, GroupRelative(), Everything(), PolicyGradient(), schedule)
    settings = replace(SETTINGS, steps=5, problems_per_step=2)

    def shown(loop: Loop) -> list[object]:
        forests = loop.step().explored
        return [(t.kept_ids.tolist(), [b.token_ids.tolist() for b in t.branches]) for f in forests for t in f]

    whole = Loop(replace(parts_of(method=method), task=Solved()), settings)
    seen = [shown(whole) for _ in range(2)]
    arrays, record = whole.pipeline.save()
    learned = whole.parts.learner.arrays()
    record = json.loads(json.dumps(record))
    expected = [shown(whole) for _ in range(2)]
    resumed = Loop(replace(parts_of(method=method), task=Solved()), settings)
    resumed.parts.learner.load_arrays(learned)
    resumed.pipeline.load(arrays, record)
    resumed.state.step = 2
    assert [shown(resumed) for _ in range(2)] == expected
    assert resumed.pipeline.explorer_state == whole.pipeline.explorer_state
    kept = {len(tree[0]) for step in (*seen, *expected) for tree in step}  # type: ignore[index]
    assert len(kept) > 1  # more is given of some than of others
    assert whole.pipeline.explorer_state["steps"] == 4


@dataclass(frozen=True)
class OneMore(Explorer):
    """A group, and then one completion more in every step than in the one before."""

    more: int = fitted(1)

    @property
    def max_completions(self) -> int:
        """Enough."""
        return self.group + 10

    def start(self) -> ExplorerState:
        """Begin with one."""
        return {"more": 1}

    def at_state(self, state: ExplorerState) -> Self:
        """Take so many."""
        return replace(self, more=int(state["more"]))

    def after(self, forests: Sequence[Forest], state: ExplorerState) -> ExplorerState:
        """One more."""
        return {"more": state["more"] + 1}

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield both rounds."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group),))
        return (yield Growth(forest, (Fork(0, None, 0, self.more),)))


def test_problems_in_flight_go_on_with_what_was_remembered_when_they_were_drawn() -> None:
    method = Method("m", "", OneMore(2), GroupRelative(), Everything(), PolicyGradient(), Fixed(off_policy=True))
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=4, problems_per_step=1))

    def sizes(loop: Loop) -> list[int]:
        return [len(forest[0].branches) for forest in loop.step().explored]

    assert [sizes(loop) for _ in range(2)] == [[3], [3]]  # the second was drawn before the first step had ended
    saved = loop.pipeline.save()
    resumed = Loop(parts_of(method=method), loop.settings)
    resumed.pipeline.load(saved[0], json.loads(json.dumps(saved[1])))
    resumed.state.step = 2
    assert sizes(resumed) == sizes(loop) == [4]


@dataclass(frozen=True)
class EveryOther(Schedule):
    """Passes over every second problem."""

    def takes(self, problem: Problem, state: ScheduleState) -> tuple[bool, ScheduleState]:
        """Take the even ones, and count those passed over."""
        even = int(problem.id.rpartition("-")[2]) % 2 == 0
        return even, state if even else state | {"passed": state.get("passed", 0) + 1}


def test_a_schedule_may_pass_over_problems() -> None:
    method = Method("m", "", Group(3), GroupRelative(), PrefixGrowing(), PolicyGradient(), EveryOther())
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=2, problems_per_step=2))
    asked = [[forest[0].problem.id for forest in loop.step().explored] for _ in range(2)]
    assert asked == [["training-0", "training-2"], ["training-4", "training-6"]]
    assert loop.pipeline.state == {"problems": 2, "passed": 3}
    assert loop.pipeline.save()[1]["next_problem"] == 7


class CountingTrie:
    """`TokenTrie.of`, and how often it was asked for one."""

    def __init__(self) -> None:
        self.make, self.count = TokenTrie.of, 0

    def __call__(self, sequences: Sequence[IntArray]) -> TokenTrie:
        """Make a trie as ever."""
        self.count += 1
        return self.make(sequences)


@pytest.mark.parametrize("match", ["exact", "text", "hidden"])
def test_a_step_makes_one_trie_for_counts_credit_selection_and_packing(
    match: PrefixMatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Method("m", "", Replay(4, 1, 1), PrefixGain(match), BranchingPairs(), Likelihood())
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=3, problems_per_step=3, mini_batch=8))
    tries = CountingTrie()
    monkeypatch.setattr(TokenTrie, "of", tries)
    steps = [loop.step() for _ in range(3)]
    assert tries.count == 3
    assert max(step.cost.updates for step in steps) > 1
    assert max(len(forest) for step in steps for forest in step.explored) > 1


class CountingFind:
    """`PrefixStore.find`, and the tokens that were walked along."""

    def __init__(self) -> None:
        self.find, self.tokens = PrefixStore.find, 0

    def of(self) -> Callable[[PrefixStore, IntArray, int], list[int]]:
        """Return the method that counts."""

        def find(store: PrefixStore, token_ids: IntArray, before: int = ROOT) -> list[int]:
            self.tokens += len(token_ids)
            return self.find(store, token_ids, before)

        return find


@pytest.mark.parametrize("explorer", [Replay(4, 2, 2), Entropy(4, points=2)], ids=str)
def test_nobody_walks_along_tokens_that_a_handle_leads_to(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only prompts are looked up by their ids, once a problem: not what forks, replays and the learner go on from."""
    walked = CountingFind()
    monkeypatch.setattr(PrefixStore, "find", walked.of())
    method = Method("m", "", explorer, GroupRelative(), Everything(), PolicyGradient())
    parts = parts_of(method=method)
    engine = InProcessEngine(parts.model, keep_layer=parts.learner.trained.first_layer)
    parts.learner.trunk_store = engine
    step = Loop(replace(parts, engine=engine), replace(SETTINGS, steps=1, problems_per_step=2)).step()
    assert step.stats.updated
    assert walked.tokens == sum(len(forest[0].prompt_ids) for forest in step.explored)
    assert any(len(forest) > 1 or forest[0].forked for forest in step.explored)
    for tree in (tree for forest in step.explored for tree in forest):
        for leaf in tree.leaves:
            handles = tree.branches[leaf].handles
            stored = np.concatenate([tree.root_ids, tree.completion(leaf)])[:-1]
            assert handles is not None
            assert engine.store.known(handles[:-1], stored) == walked.find(engine.store, stored)
            assert handles[-1] == 0


def parity(completions: Sequence[str], **_: object) -> list[float]:
    """Return 0 or 1."""
    return [float(sum(map(ord, text)) % 2) for text in completions]


def against(completions: Sequence[str], **_: object) -> list[float]:
    """Return twice as much, taken off."""
    return [-2.0 * one for one in parity(completions)]


@pytest.mark.parametrize(("combine", "learns"), [("sum", False), ("normalise_then_sum", True)])
def test_rewards_that_cancel_out_teach_once_each_is_normalised(combine: Combine, learns: bool) -> None:
    """r - 2 r / 2 is 0 for all; with both deviations at 1, the first has the weight 1 against 1/2."""
    singles = Single("parity", 1.0, RewardFunction(parity)), Single("against", 0.5, RewardFunction(against))
    method = Method("m", "", Group(6), GroupRelative(), Everything(), PolicyGradient(), Fixed(off_policy=True))
    parts = replace(parts_of(method=method), verifier=Combined(singles, combine))
    loop = Loop(parts, replace(SETTINGS, steps=4, problems_per_step=2))
    results = [loop.step() for _ in range(3)]
    assert any(result.stats.updated for result in results) is learns
    assert {result.reward_mean for result in results} == {0.0}
    found = results[-1].single_rewards(parts.verifier.singles)
    mean = found["parity"].mean
    assert mean is not None
    assert found["against"].mean == -2 * mean
    held, record = loop.pipeline.save()
    other = Loop(parts, loop.settings)
    other.pipeline.load(held, json.loads(json.dumps(record)))
    branches = [b for one in other.pipeline.in_flight for tree in one.forest for b in tree.branches]
    kept = {branch.verdict.singles for branch in branches if branch.verdict is not None}
    assert kept == {(0.0, 0.0), (1.0, -2.0)}
