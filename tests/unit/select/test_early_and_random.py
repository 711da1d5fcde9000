"""The token mask of S-GRPO: its sequential cap, its counts, and the cases in which it is everything."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.fields import TokenField
from creditree.rng import Key
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.tree import Forest
from tests.forests import KEY, assigned, flat, forests

RULES = st.tuples(st.integers(0, 12), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 12)).filter(
    lambda rule: rule[0] > 0 or (rule[1] > 0 and rule[2] > 0)
)
UNIFORMS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20)


def _visited(uniforms: list[float], alpha: int, probability: float, k: int) -> list[bool]:
    """Visit the tokens from left to right, as the rule is written."""
    taken: list[bool] = []
    for t, uniform in enumerate(uniforms):
        taken.append(t < alpha or (sum(taken) < k and uniform < probability))
    return taken


def _weights(select: EarlyAndRandom | Everything, forest: Forest, key: Key = KEY) -> tuple[TokenField, ...]:
    return select.weigh(forest, tuple(GroupRelative().assign(tree) for tree in forest), key)


@given(UNIFORMS, RULES)
@example([0.0] * 10, (6, 0.5, 3))  # alpha > k: nothing after alpha, and more than k are taken
@example([0.0] * 4, (9, 0.5, 12))  # alpha > L
@example([0.9] * 10, (2, 1.0, 5))  # P = 1: the first k
@example([0.0] * 10, (2, 0.0, 5))  # P = 0: the first alpha
@example([0.0] * 10, (2, 0.5, 0))  # k = 0: the first alpha
def test_mask_equals_the_rule_visited_token_by_token(uniforms: list[float], rule: tuple[int, float, int]) -> None:
    assert EarlyAndRandom(*rule).mask(np.array(uniforms)).tolist() == _visited(uniforms, *rule)


@given(UNIFORMS, RULES)
def test_count_law(uniforms: list[float], rule: tuple[int, float, int]) -> None:
    """|T| = min(max(k, early), early + picks) with early = min(alpha, L), picks those that pass P after alpha."""
    alpha, probability, k = rule
    early = min(alpha, len(uniforms))
    picks = sum(uniform < probability for uniform in uniforms[alpha:])
    assert EarlyAndRandom(*rule).mask(np.array(uniforms)).sum() == min(max(k, early), early + picks)


def test_the_cap_takes_the_first_that_qualify() -> None:
    # alpha = 2 takes 0 1; of 2.. those below 1/2 are 3 4 6 8; k = 4 leaves room for two of them: 3 4.
    uniforms = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.1, 0.9, 0.1])
    mask = EarlyAndRandom(alpha=2, probability=0.5, k=4).mask(uniforms)
    assert np.flatnonzero(mask).tolist() == [0, 1, 3, 4]


def test_counts_are_binomial_up_to_the_cap() -> None:
    # alpha 2, P 1/2, L 6, k 4: |T| = min(4, 2 + Binomial(4, 1/2)); P(2) = 1/16, P(3) = 4/16, P(4) = 11/16.
    select = EarlyAndRandom(alpha=2, probability=0.5, k=4)
    counts = np.bincount([select.mask(Key.of(0).at(seed).uniforms(6)).sum() for seed in range(3200)], minlength=5)
    assert counts[:2].tolist() == [0, 0]
    assert stats.chisquare(counts[2:], [200, 800, 2200]).pvalue > 0.01


def test_golden_weights() -> None:
    # alpha 2, k 0: T = 2 tokens of the first, 1 of the second; G = 2: weights 1/(2*2) and 1/(2*1).
    field = _weights(EarlyAndRandom(alpha=2, k=0), (flat([[2, 3, 4, 1], [1], [3, 1]], [1.0, 0.0, None]),))[0]
    assert assigned(field[0]).tolist() == [0.25, 0.25, 0.0, 0.0]
    assert assigned(field[1]).tolist() == [0.5]
    assert field[2] is None


def test_nothing_taken_weighs_nothing() -> None:
    # k = 1 and P tiny: no token of the single completion passes.
    field = _weights(EarlyAndRandom(alpha=0, probability=1e-12, k=1), (flat([[2, 1], [3, 1]], [1.0, 0.0]),))[0]
    assert [assigned(values).tolist() for values in field] == [[0.0, 0.0], [0.0, 0.0]]


@given(forests(failures=True), RULES)
def test_weights_of_a_completion_are_equal_and_sum_to_its_share(forest: Forest, rule: tuple[int, float, int]) -> None:
    group = sum(len(tree.rewarded) for tree in forest)
    for tree, field in zip(forest, _weights(EarlyAndRandom(*rule), forest), strict=True):
        for leaf in tree.rewarded:
            weights = assigned(field[leaf])
            taken = weights[weights != 0]
            assert len(set(taken.tolist())) <= 1
            assert taken.sum() == pytest.approx(1.0 / group if len(taken) else 0.0)


@given(forests(failures=True), st.sampled_from([(20, 0.5, 0), (20, 0.0, 7), (0, 1.0, 20), (3, 1.0, 20)]))
def test_with_room_for_all_it_is_everything_to_the_bit(forest: Forest, rule: tuple[int, float, int]) -> None:
    """Either alpha >= L, or P = 1 and k >= L; completions here have at most 6 tokens."""
    stochastic, full = _weights(EarlyAndRandom(*rule), forest), _weights(Everything(), forest)
    for a, b in zip(stochastic, full, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None and y is None) or np.array_equal(assigned(x), assigned(y))


def test_draws_depend_on_key_tree_and_completion() -> None:
    completions = [[2] * 63 + [1]] * 2
    forest = (flat(completions, [1.0, 0.0]), flat(completions, [1.0, 0.0]))
    select = EarlyAndRandom(alpha=0, probability=0.5, k=64)
    drawn = [
        tuple(assigned(values) != 0)
        for key in (Key.of(0), Key.of(1))
        for field in _weights(select, forest, key)
        for values in field
    ]
    assert len(set(drawn)) == 8
    again = [tuple(assigned(v) != 0) for field in _weights(select, forest, Key.of(0)) for v in field]
    assert again == drawn[:4]


def test_a_completions_draw_does_not_depend_on_the_others() -> None:
    select = EarlyAndRandom(alpha=0, probability=0.5, k=64)
    long = [2] * 63 + [1]
    pair = _weights(select, (flat([long, [3, 1]], [1.0, 0.0]),))[0]
    other = _weights(select, (flat([long, [4, 4, 1], [1]], [0.0, 1.0, 1.0]),))[0]
    assert (assigned(pair[0]) != 0).tolist() == (assigned(other[0]) != 0).tolist()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"alpha": -1}, "alpha is -1"),
        ({"k": -1}, "k is -1"),
        ({"probability": 1.5}, "between 0 and 1"),
        ({"probability": -0.1}, "between 0 and 1"),
        ({"alpha": 0, "k": 0}, "no token could ever learn"),
        ({"alpha": 0, "probability": 0.0}, "no token could ever learn"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        EarlyAndRandom(**settings)  # type: ignore[arg-type]
