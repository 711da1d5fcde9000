from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.evaluate.at_k import majority_at_k, pass_at_k

VOTES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.booleans()), min_size=1, max_size=8)


def naive_majority(votes: list[str | None], correct: list[bool], k: int) -> float:
    """Every subset, its winners by counting, ties shared equally."""
    right: dict[str, list[bool]] = {}
    for vote, one in zip(votes, correct, strict=True):
        if vote is not None:
            right.setdefault(vote, []).append(one)
    total, subsets = 0.0, list(combinations(votes, k))
    for subset in subsets:
        cast = [vote for vote in subset if vote is not None]
        if cast:
            most = max(cast.count(vote) for vote in cast)
            winners = [vote for vote in set(cast) if cast.count(vote) == most]
            total += sum(sum(right[vote]) / len(right[vote]) for vote in winners) / len(winners)
    return total / len(subsets)


def test_pass_at_k_is_the_worked_example() -> None:
    # n = 4, c = 1, k = 2: of the 6 pairs C(3, 2) = 3 have no correct one, 1 - 3/6 = .5.
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(32, 8, 1) == 0.25
    assert pass_at_k(5, 0, 5) == 0.0
    assert pass_at_k(5, 3, 3) == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_mean_over_all_subsets(correct: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(correct)))
    expected = sum(any(subset) for subset in combinations(correct, k)) / comb(len(correct), k)
    assert pass_at_k(len(correct), sum(correct), k) == pytest.approx(expected, abs=1e-12)


def test_majority_is_the_worked_example() -> None:
    # a, a, b of which a is right. One: 2/3. Pairs: aa wins (1), ab and ab are ties (1/2 each): (1 + .5 + .5) / 3 = 2/3.
    # All three: a has two of three votes.
    votes: list[str | None] = ["a", "a", "b"]
    correct = [True, True, False]
    assert [majority_at_k(votes, correct, k) for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 1.0])


def test_who_abstains_does_not_vote() -> None:
    # Pairs of (a, None, None): two of three contain a, which then wins alone.
    assert majority_at_k(["a", None, None], [True, False, False], 2) == pytest.approx(2 / 3)
    assert majority_at_k([None, None], [False, False], 2) == 0.0


def test_a_majority_that_is_wrong_is_wrong_however_many_minorities_are_right() -> None:
    assert majority_at_k(["w", "w", "w", "a", "a"], [False] * 3 + [True] * 2, 5) == 0.0


@given(VOTES, st.data())
def test_majority_is_the_mean_over_all_subsets(drawn: list[tuple[str | None, bool]], data: st.DataObject) -> None:
    votes, correct = [vote for vote, _ in drawn], [right for _, right in drawn]
    k = data.draw(st.integers(1, len(votes)))
    assert majority_at_k(votes, correct, k) == pytest.approx(naive_majority(votes, correct, k), abs=1e-12)


def test_many_completions_are_counted_exactly() -> None:
    # 400 of 1,000 say a, 600 say b: one completion is a with .4; of all, b wins.
    votes = [*["a"] * 400, *["b"] * 600]
    right = [True] * 400 + [False] * 600
    assert majority_at_k(votes, right, 1) == pytest.approx(0.4)
    assert majority_at_k(votes, right, 1000) == 0.0
    assert 0 < majority_at_k(votes, right, 5) < 0.4


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 1, 0), (4, 1, 5), (4, 5, 1), (4, -1, 1)])
def test_what_cannot_be_is_refused(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"k is|cannot be correct"):
        pass_at_k(n, correct, k)


def test_votes_and_verdicts_must_belong_together() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        majority_at_k(["a"], [True, False], 1)
