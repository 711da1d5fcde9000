"""Branching explorers, driven by a fake sampler: rounds, points, signals, expansion."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import ConfigError
from creditree.explore.attention import Attention
from creditree.explore.base import Explorer, Fork, Growth
from creditree.explore.baselines import FirstSteps, RandomBranching
from creditree.explore.branching import Branching, nodes_below
from creditree.explore.entropy import Entropy
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.methods import METHODS
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, InfluenceSpec, Signals
from creditree.steps import Separators
from creditree.tree import Forest, RolloutTree
from tests.forests import EOS, KEY, Writer, branch, driven, rambler, root

SEPARATORS = Separators((frozenset({2}),), think_end=(4, 4), conclusions=frozenset({5}))
NEAR: dict[str, Any] = {"min_gap": 2, "delta": 1, "separators": SEPARATORS}

RULES: tuple[Branching, ...] = (
    Attention(3, 2, 2, 2, **NEAR),
    Attention(3, 2, 2, 2, fallback="relax", gap_from="response", quantile_over="eligible", **NEAR),
    Attention(4, 2, 3, 1, expansion="difficulty", **NEAR),
    Entropy(3, 2, 3, 2),
    Entropy(3, 2, 2, 2, uncertainty="entropy", masked=False),
    RandomBranching(3, 2, 3, 2),
    RandomBranching(3, 2, 2, 2, unit="step", separators=SEPARATORS),
    FirstSteps(3, 2, 3, 2, separators=SEPARATORS),
    FirstSteps(3, 2, 1, 3, expansion="difficulty", rounding="round", separators=SEPARATORS),
)
KEYS = st.integers(0, 2**32).map(Key.of)
EVERY = pytest.mark.parametrize("explorer", RULES, ids=lambda rule: rule.name)


def shape(growths: Sequence[Growth]) -> list[list[tuple[int | None, int]]]:
    return [[(fork.parent, fork.at) for fork in growth.forks] for growth in growths]


def chain_of(tree: RolloutTree, index: int) -> int:
    parent = tree.branches[index].parent
    return index if parent is None else chain_of(tree, parent)


@EVERY
@given(key=KEYS, seed=st.integers(0, 99))
def test_rounds_points_and_continuations(explorer: Branching, key: Key, seed: int) -> None:
    (tree,), growths = driven(explorer, rambler, key, seed)
    assert growths[0].forks == (Fork(0, None, 0, explorer.group, explorer.signals),)
    assert len(growths) <= 1 + explorer.rounds
    assert len(tree.branches) <= explorer.max_completions
    for growth in growths[1:]:
        assert all(fork.tree == 0 and fork.count == explorer.continuations for fork in growth.forks)
        held = growth.forest[0]
        chains = Counter(chain_of(held, fork.parent) for fork in growth.forks if fork.parent is not None)
        assert max(chains.values()) <= explorer.points


@EVERY
@given(key=KEYS, seed=st.integers(0, 99))
def test_a_point_is_forked_once_and_lies_inside_its_branch(explorer: Branching, key: Key, seed: int) -> None:
    _, growths = driven(explorer, rambler, key, seed)
    points = [point for forks in shape(growths[1:]) for point in forks]
    assert len(set(points)) == len(points)
    for growth in growths[1:]:
        for fork in growth.forks:
            assert fork.parent is not None
            held = growth.forest[0].branches[fork.parent]
            first = 0 if explorer.name == "entropy" and held.is_chain else held.fork + 1
            assert first <= fork.at < held.end


@EVERY
@given(key=KEYS, seed=st.integers(0, 99))
def test_what_was_forked_stays_a_leaf_and_nothing_changes_index(explorer: Branching, key: Key, seed: int) -> None:
    (tree,), growths = driven(explorer, rambler, key, seed)
    for growth in growths[1:]:
        before = growth.forest[0]
        for leaf in before.leaves:
            assert tree.completion(leaf).tolist() == before.completion(leaf).tolist()
    assert [held.is_chain for held in tree.branches] == [True] * explorer.group + [False] * (
        len(tree.branches) - explorer.group
    )


@EVERY
def test_only_rounds_with_another_to_come_ask_for_signals(explorer: Branching) -> None:
    full = next(g for g in (driven(explorer, rambler, KEY, s)[1] for s in range(50)) if len(g) == explorer.rounds + 1)
    assert [{fork.signals for fork in growth.forks} for growth in full] == [
        *[{explorer.signals}] * explorer.rounds,
        {NO_SIGNALS},
    ]


@EVERY
def test_a_run_is_a_function_of_its_key(explorer: Branching) -> None:
    assert shape(driven(explorer, rambler, KEY, 7)[1]) == shape(driven(explorer, rambler, KEY, 7)[1])


@EVERY
def test_completions_of_one_token_are_never_forked(explorer: Branching) -> None:
    (tree,), growths = driven(explorer, lambda kept, rng: ([EOS], 0.0))
    assert len(growths) == 1
    assert len(tree.branches) == explorer.group


@EVERY
def test_completions_of_one_step_end_too(explorer: Branching) -> None:
    """The authors' code never comes back from a response whose only separator is its last token."""
    (tree,), _ = driven(explorer, lambda kept, rng: ([3, 3, 2][len(kept) :], 0.0))
    assert len(tree.branches) <= explorer.max_completions
    if explorer.name in ("attention", "first_steps"):
        assert len(tree.branches) == explorer.group


def test_named_sizes_of_the_papers() -> None:
    attention, entropy = (METHODS[name]().explore for name in ("attnrl", "treerl"))
    assert isinstance(attention, Attention)
    assert isinstance(entropy, Entropy)
    assert entropy.max_completions == attention.max_completions == 30
    assert (Entropy().uncertainty, Entropy().masked, entropy.expansion) == ("surprisal", True, "all")
    assert (attention.rounds, attention.expansion, attention.rounding) == (1, "difficulty", "ceil")
    assert Attention(4, 3, 2, 5).max_completions == 4 * (1 + 3 * 2 * 5)


def test_signals_of_the_rules() -> None:
    spec = InfluenceSpec(SEPARATORS, 3, (0, 1), (2,), "decoding")
    rule = Attention(
        delta=3, influence_layers=(0, 1), influence_heads=(2,), influence_source="decoding", separators=SEPARATORS
    )
    assert rule.signals == Signals(influence=spec)
    assert Entropy(uncertainty="entropy").signals == Signals(entropies=True)
    assert Entropy().signals == RandomBranching().signals == FirstSteps().signals == NO_SIGNALS


def test_separators_are_fitted() -> None:
    assert Attention().fitted(SEPARATORS) == Attention(separators=SEPARATORS)
    others: tuple[Explorer, ...] = (Group(4), Replay(4))
    assert all(explorer.fitted(SEPARATORS) is explorer for explorer in others)


def test_a_node_knows_where_its_completion_was_forked() -> None:
    # Chain 0 of 6, forked at 3 and 5; branch 1 from 3 on, forked at 4; branch 3 from 4 of it on.
    tree = root().grown(
        branch([3] * 6), branch([6] * 3, 0.0, 0, 3), branch([6], 0.0, 0, 5), branch([7, 7], 0.0, 1, 4), branch([8])
    )
    below = nodes_below(tree)
    assert {chain: [(n.branch, n.fork, n.end, n.taken) for n in nodes] for chain, nodes in below.items()} == {
        0: [(0, 0, 6, (3, 5)), (1, 3, 6, (3, 4)), (2, 5, 6, (3, 5)), (3, 4, 6, (3, 4))],
        4: [(4, 0, 1, ())],
    }


def test_chains_and_rounds_draw_apart() -> None:
    _, growths = driven(RandomBranching(6, 1, 2, 1), lambda kept, rng: ([3] * (60 - len(kept)), 0.0))
    for growth in growths[1:]:
        assert len({fork.at for fork in growth.forks}) > 1
    assert [f.at for f in growths[1].forks] != [f.at for f in growths[2].forks]


def scripted(rewards: Sequence[float | None]) -> Writer:
    """Return a writer of long completions whose first ones have these rewards; later ones have 0."""
    left = list(rewards)

    def write(kept: Sequence[int], rng: np.random.Generator) -> tuple[list[int], float | None]:
        return [3] * (9 - len(kept)), left.pop(0) if left else 0.0

    return write


@pytest.mark.parametrize(("correct", "chains"), enumerate([6, 6, 5, 4, 4, 3, 3]))
def test_difficulty_decides_how_many_chains_grow(correct: int, chains: int) -> None:
    rewards = [1.0] * correct + [0.0] * (6 - correct)
    rule = RandomBranching(expansion="difficulty")
    (tree,), growths = driven(rule, scripted(rewards))
    assert len({chain_of(tree, f.parent) for f in growths[1].forks if f.parent is not None}) == chains
    assert len(tree.branches) == 6 + 4 * chains
    assert len(driven(RandomBranching(), scripted(rewards))[0][0].branches) == 30


def test_a_threshold_says_what_is_correct() -> None:
    half = [0.5] * 6
    rule = RandomBranching(expansion="difficulty")
    assert len(driven(rule, scripted(half))[0][0].branches) == 30
    assert len(driven(replace(rule, threshold=0.5), scripted(half))[0][0].branches) == 6 + 4 * 3


@pytest.mark.parametrize("expansion", ["all", "difficulty"])
def test_chains_without_a_reward_are_not_expanded(expansion: Any) -> None:
    forest, growths = driven(RandomBranching(3, expansion=expansion), scripted([None, 0.0, 0.0]))
    assert {chain_of(forest[0], f.parent) for f in growths[1].forks if f.parent is not None} == {1, 2}
    alone: Forest = driven(RandomBranching(3, expansion=expansion), scripted([None] * 3))[0]
    assert len(alone[0].branches) == 3


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (Entropy, {"group": 1}, "method.group is 1"),
        (Entropy, {"points": 0}, "method.points is 0: set 1 or more"),
        (Entropy, {"rounds": 0}, "method.rounds is 0"),
        (Entropy, {"continuations": 0}, "method.continuations is 0"),
        (Entropy, {"expansion": "al"}, "method.expansion is 'al'.*Did you mean 'all'"),
        (Entropy, {"rounding": "floor"}, "method.rounding is 'floor'"),
        (Entropy, {"of_all_correct": "last"}, "method.of_all_correct is 'last'"),
        (Entropy, {"uncertainty": "suprisal"}, "method.uncertainty.*Did you mean 'surprisal'"),
        (Attention, {"quantile": 1.5}, "method.quantile is 1.5"),
        (Attention, {"min_gap": -1}, "method.min_gap is -1"),
        (Attention, {"delta": 0}, "method.delta is 0"),
        (Attention, {"gap_from": "start"}, "method.gap_from is 'start'"),
        (Attention, {"quantile_over": "all"}, "method.quantile_over is 'all'"),
        (Attention, {"fallback": "none"}, "method.fallback is 'none'"),
        (Attention, {"influence_source": "guess"}, "method.influence_source is 'guess'"),
        (Attention, {"influence_layers": ()}, "method.influence_layers is empty"),
        (Attention, {"points": 0}, "method.points is 0"),
        (RandomBranching, {"unit": "word"}, "method.unit is 'word'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    kind: type[Branching], settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        kind(**settings)  # type: ignore[arg-type]
