"""Several rewards as one: the sum, whose word is right or wrong, failures, and normalising each before the sum."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from creditree.credit.group_relative import GroupRelative
from creditree.credit.reinforce_pp import ReinforcePP
from creditree.problem import Problem, Verdict
from creditree.rewards import Combine, Combined, Single, SingleReward, singles_of
from creditree.rewards.combined import EPS, normalised
from creditree.rewards.cosine_length import CosineLength
from creditree.rewards.format import Format
from creditree.tree import RolloutTree
from creditree.verify.exact import ExactText
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer
from tests.forests import assigned, flat

PROBLEM = Problem("p", "1+1=", ("2",))


def answers(*texts: str) -> list[Answer]:
    return [Answer(PROBLEM, "1+1=\n", text, len(text), 10) for text in texts]


def lengths(completions: Sequence[str]) -> list[float | None]:
    """Return a number, or nothing for one that is too long."""
    return [float(len(one)) if len(one) < 5 else None for one in completions]


SUM = Combined(
    (
        Single("exact", 1.0, ExactText()),
        Single("format", 0.25, Format(r"\w+")),
        Single("lengths", -0.5, RewardFunction(lengths)),
    )
)


def judged(rows: Sequence[Sequence[float]], combined: Combined) -> RolloutTree:
    """Return a group whose completions have these single rewards."""
    weights = [one.weight for one in combined.of]
    tree = flat([[2 + place, 1] for place in range(len(rows))], [0.0] * len(rows))
    sums = [sum(w * r for w, r in zip(weights, row, strict=True)) for row in rows]
    return tree.judged({leaf: Verdict(sums[leaf], singles=tuple(row)) for leaf, row in enumerate(rows)})


def several(weights: Sequence[float], combine: Combine = "normalise_then_sum") -> Combined:
    return Combined(tuple(Single(f"r{k}", w, ExactText()) for k, w in enumerate(weights)), combine)


def test_a_reward_is_the_weighted_sum_and_the_first_alone_says_what_is_right() -> None:
    right, wrong = SUM.judge(answers("2", "no 2"))
    # 1 + .25 - .5 * 1; 0 + 0 - .5 * 4
    assert (right.reward, right.singles, right.is_correct) == (0.75, (1.0, 1.0, 1.0), True)
    assert (wrong.reward, wrong.singles, wrong.is_correct) == (-2.0, (0.0, 0.0, 4.0), False)
    assert (right.status, right.answer) == ("ok", "2")
    assert SUM.singles == ("exact", "format", "lengths")


def test_where_one_fails_there_is_no_reward_but_right_is_still_right() -> None:
    (verdict,) = Combined((SUM.of[0], SUM.of[2])).judge(answers("     2"))
    assert verdict.reward is None
    assert verdict.status == "crash"
    assert verdict.detail.startswith("row 1 of lengths (problem p): ")
    assert verdict.singles == (1.0, None)
    assert verdict.is_correct


def test_what_needs_a_length_fails_where_none_is_known() -> None:
    combined = Combined((SUM.of[0], Single("cosine_length", 1.0, CosineLength())))
    (verdict,) = combined.judge([Answer(PROBLEM, "", "2")])
    assert (verdict.reward, verdict.is_correct) == (None, True)
    assert verdict.detail == "cosine_length: the length of the completion is not known here"


def test_the_rules_name_the_sum_and_each_verifier() -> None:
    rules = SUM.rules()
    assert rules["grader"] == "exact + 0.25 format + -0.5 lengths"
    assert rules["correct"] == "what exact says"
    assert rules["lengths.grader"] == "lengths"


def test_golden_each_normalised_before_the_sum() -> None:
    # r_0 = 1, 0, 0: mean 1/3, squares 4/9 + 1/9 + 1/9 = 2/3, by 2: std = .57735; r_1 = 4, 4, 7: mean 5, std = 1.73205
    # r_2 is the same for all: 0. A = 1 * (2/3, -1/3, -1/3) / .57735 + 2 * (-1, -1, 2) / 1.73205
    found = normalised(np.array([[1.0, 4.0, 3.0], [0.0, 4.0, 3.0], [0.0, 7.0, 3.0]]), [1.0, 2.0, 5.0])
    expected = [1.154701 - 1.154701, -0.577350 - 1.154701, -0.577350 + 2.309401]
    assert found == pytest.approx(expected, abs=5e-4)  # eps = 1e-4 beside the deviations
    assert normalised(np.array([[3.0, 1.0]]), [1.0, 1.0]).tolist() == [0.0]


def test_one_reward_normalised_is_grpo() -> None:
    combined = several([1.0])
    tree = judged([[1.0], [0.0], [0.5], [0.25]], combined)
    ours = GroupRelative(std=False).assign(combined.credited(tree))
    for mine, theirs in zip(ours, GroupRelative(eps=EPS).assign(tree), strict=True):
        assert assigned(mine) == pytest.approx(assigned(theirs), abs=1e-15)


def test_combinations_that_a_sum_cannot_tell_apart_are_told_apart() -> None:
    # GRPO sees (0, 1) and (0, 2) alike: one completion above the other. Normalised one by one, the second counts twice.
    combined = several([1.0, 1.0])
    one = GroupRelative(std=False).assign(combined.credited(judged([[0.0, 0.0], [0.0, 1.0]], combined)))
    two = GroupRelative(std=False).assign(combined.credited(judged([[0.0, 0.0], [1.0, 1.0]], combined)))
    assert assigned(two[1])[0] == pytest.approx(2 * assigned(one[1])[0])


def test_with_the_credit_of_a_whole_step_it_is_the_paper() -> None:
    """GDPO: A_k within each group, their weighted sum, which is normalised over the batch."""
    combined, rng = several([1.0, 0.5]), np.random.default_rng(0)
    groups = [rng.normal(size=(4, 2)) for _ in range(3)]
    sums = []
    for group in groups:
        per_reward = [(group[:, k] - group[:, k].mean()) / (group[:, k].std(ddof=1) + EPS) for k in range(2)]
        sums.append(1.0 * per_reward[0] + 0.5 * per_reward[1])
    batch = np.concatenate(sums)
    expected = (batch - batch.mean()) / (batch.std(ddof=1) + EPS)
    forests = [(combined.credited(judged(group.tolist(), combined)),) for group in groups]
    found = ReinforcePP(baseline="group", eps=EPS).of_step(forests)
    assert [assigned(values)[0] for (field,) in found for values in field] == pytest.approx(expected.tolist())


def test_the_tree_keeps_its_rewards_and_a_plain_sum_is_credited_as_it_is() -> None:
    combined = several([1.0, 1.0])
    tree = judged([[1.0, 0.0], [0.0, 0.5]], combined)
    combined.credited(tree)
    assert tree.rewards(tree.rewarded).tolist() == [1.0, 0.5]
    assert replace(combined, combine="sum").credited(tree) is tree


def test_completions_without_a_reward_are_left_out_of_a_group() -> None:
    combined = several([1.0, 1.0])
    whole = judged([[1.0, 0.0], [0.0, 0.5], [9.0, 9.0]], combined)
    tree = whole.judged({2: Verdict(None, "crash", singles=(9.0, None))})
    pair = combined.credited(judged([[1.0, 0.0], [0.0, 0.5]], combined))
    credited = combined.credited(tree)
    assert credited.rewards((0, 1)).tolist() == pair.rewards((0, 1)).tolist()
    assert credited.branches[2].reward is None


def test_means_and_failures_of_single_rewards() -> None:
    found = singles_of(["a", "b"], [(1.0, None), (0.0, 4.0), (0.5, None), ()])
    assert found["a"] == SingleReward(0.5, 0.0)
    assert found["b"].mean == 4.0
    assert found["b"].failed == pytest.approx(2 / 3)
    assert str(found["b"]) == "4.000 (66.7 % failed)"
    assert singles_of(["a"], [(None,)]) == {"a": SingleReward(None, 1.0)}
    assert singles_of(["a"], []) == {"a": SingleReward(None, 0.0)}
