"""Resets, driven by a fake sampler: which completions, which steps, and what learns."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.group_relative import GroupRelative
from creditree.explore.replay import Replay
from creditree.explore.reset import Reset
from creditree.rng import Key
from creditree.steps import Separators
from creditree.tree import Forest
from tests.forests import Writer, driven, rambler

KEYS = st.integers(0, 2**32).map(Key.of)
AT_TWO = Separators((frozenset({2}),))
"""Token 2 ends a step."""


def scripted(*answers: tuple[list[int], float]) -> Writer:
    """Return a writer of these completions with their rewards, in order."""
    left = iter(answers)
    return lambda kept, rng: next(left)


def _shape(forest: Forest) -> list[object]:
    return [(t.kept_ids.tolist(), [b.token_ids.tolist() for b in t.branches]) for t in forest]


def test_golden_reset() -> None:
    # The one failed completion is 5 2 | 5 2 | 5 1: steps start at 0, 2 and 4, each as likely as the others.
    kept = []
    for seed in range(60):
        write = scripted(([5, 2, 5, 2, 5, 1], 0.0), ([3, 1], 1.0), ([4, 1], 0.0), ([1], 1.0))
        forest, growths = driven(Reset(2, separators=AT_TWO), write, Key.of(seed))
        assert [len(tree.branches) for tree in forest] == [2, 2]
        assert [fork.learns for growth in growths for fork in growth.forks] == [False, True]
        kept.append(forest[1].kept_ids.tolist())
    found = {start: kept.count([5, 2, 5, 2][:start]) for start in (0, 2, 4)}
    assert sum(found.values()) == 60
    assert min(found.values()) > 8  # 20 each; 8 is 3.3 standard deviations off


def test_only_suffixes_learn() -> None:
    write = scripted(([5, 2, 5, 1], 0.0), ([3, 1], 1.0), ([4, 1], 0.0), ([1], 1.0))
    forest, _ = driven(Reset(2, separators=AT_TWO), write)
    first, suffixes = (GroupRelative(std=False).assign(tree) for tree in _marked(forest))
    assert first == (None, None)
    assert [values.tolist() for values in suffixes if values is not None] == [[-0.5, -0.5], [0.5]]


def _marked(forest: Forest) -> Forest:
    """Mark the first group as the loop does: the fake sampler makes branches that learn."""
    first = replace(forest[0], branches=tuple(replace(b, learns=False) for b in forest[0].branches))
    return (first, *forest[1:])


def test_where_nothing_failed_there_is_no_reset() -> None:
    forest, growths = driven(Reset(4), lambda kept, rng: ([3, 1], 1.0))
    assert len(forest) == len(growths) == 1


@given(KEYS, st.integers(1, 6), st.integers(0, 100))
def test_budget_and_plan_hold(key: Key, resets: int, seed: int) -> None:
    explorer = Reset(4, resets, separators=AT_TWO)
    forest, _ = driven(explorer, rambler, key, seed)
    failed = sum(branch.reward == 0.0 for branch in forest[0].branches)
    assert len(forest) == 1 + min(resets, failed)
    assert sum(len(tree.branches) for tree in forest) <= explorer.max_completions
    demand = explorer.demand(12)
    assert (demand.trees, demand.learning, demand.leaves) == (1 + resets, resets, 4)


@given(st.integers(0, 100))
def test_with_every_token_a_step_it_is_replay_of_failures(seed: int) -> None:
    """To the token, given the keys that replay draws by."""

    class SameKeys(Key):
        """A key that draws for a reset what replay draws for a failure."""

        def at(self, *path: int | str) -> Key:
            """Return the key of replay."""
            names: dict[tuple[int | str, ...], tuple[int | str, ...]] = {("reset",): ("replay", "failure")}
            moved = names.get(path, ("cut", "failure", *path[1:]) if path[0] == "step" else path)
            return super().at(*moved)

    key = Key.of(seed)
    ours, _ = driven(Reset(4, 2), rambler, SameKeys(key.digest), seed)
    replayed, _ = driven(Replay(4, 0, 2), rambler, key, seed)
    assert _shape(ours) == _shape(replayed)
