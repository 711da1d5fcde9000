"""Explorers driven through the real engine: kept prefixes, budgets, what is decoded, judged and counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from creditree.batch import pack
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import DataError
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.forest import share
from creditree.ledger import Ledger, Seconds
from creditree.methods import METHODS
from creditree.models.load import Model
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, InfluenceSpec, Signals
from creditree.steps import Separators, split_steps
from creditree.tasks.task import PromptTemplate
from creditree.train.rollout import Rollout, count_prefixes
from creditree.tree import Forest, RolloutTree
from creditree.verify.verifier import Answer, Verifier
from tests.forests import flat
from tests.naive import dense_influence, naive_sample
from tests.rollouts import credited, grown
from tests.tiny_models import tiny

BUDGET = 12
PROMPT = PromptTemplate("{question} ")
PROBLEMS = [Problem("a", "3*4=", ("12",)), Problem("b", "7*", ("7",)), Problem("c", "12+5", ("17",))]
KEYS = [Key.of(5).at(index) for index in range(len(PROBLEMS))]


@dataclass(slots=True)
class ByText(Verifier):
    """A fake verifier that remembers what it was shown: parity of the text; no reward for one text in `lose_every`."""

    lose_every: int = 0
    seen: list[Answer] = field(default_factory=list)
    calls: int = 0

    def verdict(self, text: str) -> Verdict:
        """Judge a text by the codes of its characters."""
        code = sum((place + 1) * ord(character) for place, character in enumerate(text))
        if self.lose_every and code % self.lose_every == 0:
            return Verdict(None, "crash", "lost")
        return Verdict(float(code // 7 % 2))

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge each completion by its text alone."""
        self.calls += 1
        self.seen.extend(answers)
        return tuple(self.verdict(answer.completion) for answer in answers)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("qwen2")


def grow(
    model: Model,
    explorer: Explorer,
    problems: Sequence[int] = (0, 1, 2),
    verifier: ByText | None = None,
    max_rows: int = 512,
) -> tuple[list[Forest], Ledger, Seconds]:
    rollout = Rollout(
        model, InProcessEngine(model, max_rows), verifier or ByText(), PROMPT, Sampling(0.6), BUDGET
    )  # fmt: skip
    seconds = Seconds()
    forests, ledger = grown(rollout, explorer, [PROBLEMS[p] for p in problems], [KEYS[p] for p in problems], seconds)
    return forests, ledger, seconds


def content(forest: Forest) -> list[object]:
    """Everything of a forest that must not depend on what else was sampled with it."""
    return [
        (
            tree.prompt_ids.tolist(),
            tree.kept_ids.tolist(),
            [(b.parent, b.fork, b.token_ids.tolist(), b.finish_reason, b.verdict) for b in tree.branches],
        )
        for tree in forest
    ]


def prefixes_of(forest: Forest) -> set[tuple[int, ...]]:
    """Every prefix, prompt and kept tokens included, that had a next token drawn: by brute force."""
    return {
        (*tree.root_ids.tolist(), *tree.completion(leaf)[:t].tolist())
        for tree in forest
        for leaf in tree.leaves
        for t in range(len(tree.completion(leaf)))
    }


def test_a_group_is_what_the_naive_decoder_draws_from_the_keys(model: Model) -> None:
    forests, _, _ = grow(model, Group(4))
    for key, forest in zip(KEYS, forests, strict=True):
        (tree,) = forest
        for leaf in tree.leaves:
            own = key.at("tokens", 0, leaf)
            tokens, logprobs = naive_sample(model, tree.prompt_ids.tolist(), own, BUDGET, Sampling(0.6))
            assert tree.branches[leaf].token_ids.tolist() == tokens
            assert tree.branches[leaf].logprobs == pytest.approx(logprobs, abs=1e-10)


def test_a_replay_is_what_the_naive_decoder_draws_after_the_kept_prefix(model: Model) -> None:
    forests, _, _ = grow(model, Replay(4, 1, 1))
    for key, forest in zip(KEYS, forests, strict=True):
        for number, tree in enumerate(forest):
            for leaf in tree.leaves:
                own = key.at("tokens", number, leaf)
                budget = BUDGET - len(tree.kept_ids)
                tokens, _ = naive_sample(model, tree.root_ids.tolist(), own, budget, Sampling(0.6))
                assert tree.branches[leaf].token_ids.tolist() == tokens


def test_replay_keeps_a_prefix_of_a_success_and_of_a_failure_untouched(model: Model) -> None:
    forests, _, _ = grow(model, Replay(8, 1, 1))
    kept_lengths = set()
    for forest in forests:
        first, success, failure = forest
        for tree, reward in ((success, 1.0), (failure, 0.0)):
            kept = tree.kept_ids.tolist()
            kept_lengths.add(len(kept))
            assert tree.prompt_ids.tolist() == first.prompt_ids.tolist()
            assert len(tree.branches) == 8
            assert any(
                first.completion(leaf)[: len(kept)].tolist() == kept and len(first.completion(leaf)) > len(kept)
                for leaf in first.leaves
                if first.branches[leaf].reward == reward
            )
    assert max(kept_lengths) > 2


def test_the_total_budget_is_kept(model: Model) -> None:
    forests, _, _ = grow(model, Replay(8, 2, 2))
    reasons = set()
    for tree in (tree for forest in forests for tree in forest):
        for branch in tree.branches:
            total = len(tree.kept_ids) + len(branch.token_ids)
            reasons.add((branch.finish_reason, len(tree.kept_ids) > 0))
            assert total == BUDGET if branch.finish_reason == "length" else total <= BUDGET
            assert (branch.token_ids[-1] in model.eos_ids) == (branch.finish_reason == "stop")
            assert not set(model.eos_ids) & set(branch.token_ids[:-1].tolist())
    assert reasons == {("stop", False), ("length", False), ("stop", True), ("length", True)}


def homes(forests: Sequence[Forest]) -> list[tuple[RolloutTree, int]]:
    """Return every branch with its tree, all of one trie."""
    return [(tree, leaf) for forest in share(forests) for tree in forest for leaf in tree.leaves]


@pytest.mark.parametrize("explorer", [Group(6), Replay(6, 0, 0), Replay(6, 1, 1), Replay(6, 2, 2)], ids=str)
def test_each_unique_prefix_of_the_union_is_decoded_once(model: Model, explorer: Explorer) -> None:
    forests, ledger, _ = grow(model, explorer)
    union = [prefixes_of(forest) for forest in forests]
    assert ledger.decoded == ledger.unique_prefixes == count_prefixes(homes(forests)) == sum(map(len, union))
    assert ledger.prefilled == sum(len(forest[0].prompt_ids) for forest in forests)
    assert ledger.sampled > ledger.decoded


def test_prefixes_are_counted_by_hand() -> None:
    """Prompt p; completions 2 3 1 and 2 4: p, p2, p23, and p24 is no prefix that a token was drawn from: 3."""
    tree = flat([[2, 3, 1], [2, 4]], [0.0, 0.0])
    assert count_prefixes(homes([(tree,)])) == 3
    # a replay of 2 3: one more row where 2 3 goes on with 4 and then with 5
    replay = flat([[4, 5], [1]], [0.0, 0.0], kept=(2, 3))
    assert count_prefixes(homes([(tree, replay)])) == 4
    # another problem's prompt shares nothing
    assert count_prefixes(homes([(tree, replay), (flat([[2, 1]], [0.0], prompt=(7, 8)),)])) == 6


def test_the_ledger_counts_what_was_sampled(model: Model) -> None:
    forests, ledger, seconds = grow(model, Replay(5, 1, 1))
    trees = [tree for forest in forests for tree in forest]
    assert ledger.completions == sum(len(tree.branches) for tree in trees) == 5 * len(trees)
    assert ledger.sampled == sum(len(b.token_ids) for tree in trees for b in tree.branches)
    assert ledger.failed_verdicts == 0
    assert (ledger.forwarded, ledger.in_loss, ledger.updates, ledger.no_signal) == (0, 0, 0, 0)
    assert set(seconds.wall) == set(seconds.cpu) == {"sample", "judge", "explore"}


def test_rewards_are_of_kept_and_new_text_together(model: Model) -> None:
    verifier = ByText()
    forests, _, _ = grow(model, Replay(6, 1, 1), verifier=verifier)
    shown = {(answer.problem.id, answer.prompt, answer.completion) for answer in verifier.seen}
    num_new_alone = 0
    for forest in forests:
        for tree in forest:
            for leaf in tree.leaves:
                text = model.text([*tree.kept_ids.tolist(), *tree.branches[leaf].token_ids.tolist()])
                assert (tree.problem.id, f"{tree.problem.question} ", text) in shown
                assert tree.branches[leaf].verdict == verifier.verdict(text)
                alone = verifier.verdict(model.text(tree.branches[leaf].token_ids))
                num_new_alone += alone != tree.branches[leaf].verdict
    assert num_new_alone > 0
    assert len(verifier.seen) == sum(len(tree.branches) for forest in forests for tree in forest)
    assert not any("<eos>" in answer.completion for answer in verifier.seen)


@pytest.mark.parametrize("explorer", [Group(5), Replay(5, 1, 1)], ids=str)
def test_forests_do_not_depend_on_what_shares_the_call(model: Model, explorer: Explorer) -> None:
    together = [content(forest) for forest in grow(model, explorer)[0]]
    for index in range(3):
        (alone,), _, _ = grow(model, explorer, [index])
        assert content(alone) == together[index]
    reordered = [content(forest) for forest in grow(model, explorer, [2, 0, 1])[0]]
    assert reordered == [together[2], together[0], together[1]]
    few_rows = [content(forest) for forest in grow(model, explorer, max_rows=3)[0]]
    assert few_rows == together


def test_other_keys_give_other_completions(model: Model) -> None:
    rollout = Rollout(model, InProcessEngine(model), ByText(), PROMPT, Sampling(0.6), BUDGET)
    one, same, other = (
        content(grown(rollout, Group(4), PROBLEMS[:1], [Key.of(seed)], Seconds())[0][0]) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_explorers_that_end_early_do_not_hold_the_others_up(model: Model) -> None:
    """With threshold 2 there is no success: those problems are replayed from failures only."""
    (first, second), _, _ = grow(model, Replay(6, 1, 1, threshold=2.0), [0, 1])
    assert len(first) == len(second) == 2
    none, _, _ = grow(model, Replay(6, 1, 0, threshold=2.0), [0, 1])
    assert [len(forest) for forest in none] == [1, 1]
    assert content(none[0]) == content((first[0],))


def test_the_engine_remembers_nothing_afterwards(model: Model) -> None:
    engine = InProcessEngine(model)
    rollout = Rollout(model, engine, ByText(), PROMPT, Sampling(0.6), BUDGET)
    costs = [grown(rollout, Replay(4, 1, 1), PROBLEMS, KEYS, Seconds())[1] for _ in range(2)]
    assert costs[0] == costs[1]
    assert costs[1].prefilled > 0


@pytest.mark.parametrize("name", list(METHODS))
def test_failed_verdicts_are_counted_and_never_get_weight(model: Model, name: str) -> None:
    method = METHODS[name]()
    flat = Replay(8, 1, 1) if name == "t-spmo" else Group(8)
    explorer = method.explore if method.looks_at_steps else flat
    forests, ledger, _ = grow(model, explorer, verifier=ByText(lose_every=3))
    failed = [
        (f, t, leaf)
        for f, forest in enumerate(forests)
        for t, tree in enumerate(forest)
        for leaf in tree.leaves
        if tree.branches[leaf].reward is None
    ]
    assert ledger.failed_verdicts == len(failed) > 3
    assert (ledger.crashes, ledger.timeouts, ledger.unparsable) == (len(failed), 0, 0)
    assert ledger.completions > len(failed)
    advantages, weights = credited(method, forests)
    for f, t, leaf in failed:
        assert advantages[f][t][leaf] is None
        assert weights[f][t][leaf] is None
    batch = pack(forests, advantages, weights, keep_zero_advantage=True)
    held = {
        (*tree.root_ids.tolist(), *tree.completion(leaf).tolist())[: len(tree.root_ids) + t + 1]
        for forest in forests
        for tree in forest
        for leaf in tree.rewarded
        for t in range(len(tree.completion(leaf)))
    }
    terms = {(*ancestors(batch.token_ids, batch.enter, batch.exit, row), int(token)) for row, token in
             zip(batch.row, batch.token, strict=True)}  # fmt: skip
    assert batch.num_terms > 0
    assert terms <= held


def ancestors(tokens: np.ndarray, enter: np.ndarray, exit_: np.ndarray, row: int) -> tuple[int, ...]:
    """Return the token ids that skeleton token `row` attends to, itself last."""
    seen = (enter <= enter[row]) & (enter[row] < exit_)
    return tuple(int(token) for token in tokens[seen])


def test_a_failed_completion_is_never_replayed(model: Model) -> None:
    forests, _, _ = grow(model, Replay(8, 8, 8), verifier=ByText(lose_every=2))
    for first, *replays in forests:
        rewarded = [first.completion(leaf).tolist() for leaf in first.rewarded]
        assert len(replays) == len(rewarded) < len(first.branches)
        for tree in replays:
            kept = tree.kept_ids.tolist()
            assert any(completion[: len(kept)] == kept and len(completion) > len(kept) for completion in rewarded)


def test_a_prompt_without_a_token_is_refused(model: Model) -> None:
    rollout = Rollout(model, InProcessEngine(model), ByText(), PromptTemplate(), Sampling(0.6), BUDGET)
    with pytest.raises(DataError, match="the prompt of problem 'empty' has no token"):
        grown(rollout, Group(2), [Problem("empty", "", ("1",))], [KEYS[0]], Seconds())


@dataclass(frozen=True)
class Watching(Explorer):
    """A first round with signals, and a fork of its longest completion without."""

    group: int = 3
    asked: Signals = NO_SIGNALS

    @property
    def signals(self) -> Signals:
        """Those that it was made with."""
        return self.asked

    @property
    def max_completions(self) -> int:
        """The group, and one more."""
        return self.group + 1

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Sample the group, then one branch."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, self.signals),))
        longest = max(range(self.group), key=lambda leaf: forest[0].branches[leaf].end)
        cut = forest[0].branches[longest].end - 1
        return (yield Growth(forest, (Fork(0, longest, cut, 1, Signals(influence=self.signals.influence)),)))


def test_signals_of_a_fork_reach_its_branches(model: Model) -> None:
    """Entropies of the first round only; influence of both, over the whole completion, the prompt's tokens aside."""
    spec = InfluenceSpec(Separators((frozenset(range(3, 22)),)), 2)
    forests, ledger, _ = grow(model, Watching(asked=Signals(entropies=True, influence=spec)))
    assert ledger.influence_tokens > 0
    for (tree,) in forests:
        assert [branch.entropies is None for branch in tree.branches] == [False] * 3 + [True]
        for leaf in tree.leaves:
            ids, branch = tree.completion(leaf), tree.branches[leaf]
            steps = split_steps(ids, spec.separators)
            whole = np.concatenate([tree.prompt_ids, ids])
            scores = dense_influence(model, whole, len(tree.prompt_ids), steps, spec)
            of_token = np.repeat(scores[1:], [stop - start for start, stop in steps])[branch.fork :]
            assert branch.influence == pytest.approx(of_token, abs=1e-10)
