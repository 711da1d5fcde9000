"""Several rewards as one: a weighted sum, or each normalised before it is summed (GDPO, arXiv 2601.05242)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from creditree.problem import Verdict
from creditree.rewards.base import Reward
from creditree.tree import FloatArray, RolloutTree
from creditree.verify.verifier import Answer, Rules, Verifier

Combine = Literal["sum", "normalise_then_sum"]
EPS = 1e-4
"""Added to a standard deviation that is divided by, as GRPO's is."""


@dataclass(frozen=True, slots=True)
class Single:
    """One of several rewards: its name, its weight, and who gives it."""

    name: str
    weight: float
    judge: Verifier | Reward


@dataclass(frozen=True, slots=True)
class Combined(Verifier):
    """The task's verifier and other rewards: R = sum_k w_k r_k, with r_0 the task's.

    Whether a completion is correct is the first one's word alone, as are its status, its answer and its vote; so every
    accuracy is the task's, whatever the others add. A completion for which any of them fails has no reward, and is not
    trained on; the verdict names the first that failed. A weight of 0 measures without rewarding.

    `combine`: ``sum``, credit is given for R. ``normalise_then_sum`` (GDPO, arXiv 2601.05242): credit
    is given for

        A = sum_k w_k (r_k - mean(r_k)) / (std(r_k) + eps)

    with mean and unbiased std over the completions of a tree that have a reward; a reward that is the same for all adds
    0. So no reward counts for more because it is larger or varies more, and two that differ cannot cancel out. The
    verdicts keep R: what explorers and schedules look at, and what is measured, is the sum. Credits that divide by a
    deviation themselves do it once more: the paper's batch-wise normalisation is the credit `reinforce_pp` with
    ``baseline: group``, and A itself is `group_relative` with ``std: false``. With one reward of weight 1 it is GRPO.
    """

    of: tuple[Single, ...]
    combine: Combine = "sum"

    @property
    def task(self) -> Verifier:
        """Who says whether a completion is correct."""
        judge = self.of[0].judge
        assert isinstance(judge, Verifier)
        return judge

    @property
    def singles(self) -> tuple[str, ...]:
        """The names of the rewards."""
        return tuple(single.name for single in self.of)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        first = self.task.judge(answers)
        columns = [first, *(_given(single.judge, answers, first) for single in self.of[1:])]
        return tuple(map(self._together, zip(*columns, strict=True)))

    def same(self, one: str, other: str) -> bool | None:
        """Return whether two answers are one to the task's verifier."""
        return self.task.same(one, other)

    def rules(self) -> Rules:
        """Return the rules of the whole, and of each that is a verifier under its name."""
        rules: Rules = {"grader": words(self.of), "combine": self.combine, "correct": f"what {self.of[0].name} says"}
        for single in self.of:
            if isinstance(single.judge, Verifier):
                rules |= {f"{single.name}.{rule}": value for rule, value in single.judge.rules().items()}
        return rules

    def credited(self, tree: RolloutTree) -> RolloutTree:
        """Return the tree with A as rewards where each is to be normalised; else as it is."""
        leaves = tree.rewarded
        if self.combine == "sum" or not leaves:
            return tree
        verdicts = [verdict for leaf in leaves if (verdict := tree.branches[leaf].verdict) is not None]
        singles = np.array([verdict.singles for verdict in verdicts], dtype=np.float64)
        rewards = normalised(singles, [single.weight for single in self.of])
        pairs = zip(leaves, verdicts, rewards.tolist(), strict=True)
        return tree.judged({leaf: replace(verdict, reward=reward) for leaf, verdict, reward in pairs})

    def close(self) -> None:
        """Free what they hold."""
        for single in self.of:
            if isinstance(single.judge, Verifier):
                single.judge.close()

    def _together(self, verdicts: tuple[Verdict, ...]) -> Verdict:
        singles = tuple(verdict.reward for verdict in verdicts)
        failed = next((verdict for verdict in verdicts if verdict.reward is None), None)
        if failed is not None:
            return replace(failed, answer=verdicts[0].answer, singles=singles)
        pairs = zip(self.of, singles, strict=True)
        return replace(verdicts[0], reward=sum(single.weight * (r or 0.0) for single, r in pairs), singles=singles)


def normalised(singles: FloatArray, weights: Sequence[float]) -> FloatArray:
    """Return A [G] of the single rewards [G, K] of one group, and of their weights [K]."""
    if len(singles) < 2:
        return np.zeros(len(singles))
    centred = singles - singles.mean(axis=0)
    scaled = np.where(np.ptp(singles, axis=0) == 0.0, 0.0, centred / (singles.std(axis=0, ddof=1) + EPS))
    return np.asarray(scaled @ np.asarray(weights, dtype=np.float64))


def words(singles: Sequence[Single]) -> str:
    """Return the sum in words: ``math + 0.2 format``."""
    return " + ".join(single.name if single.weight == 1 else f"{single.weight:g} {single.name}" for single in singles)


def _given(judge: Verifier | Reward, answers: Sequence[Answer], first: Sequence[Verdict]) -> Sequence[Verdict]:
    if isinstance(judge, Verifier):
        return judge.judge(answers)
    given = [(judge.of(answer, task.is_correct), task) for answer, task in zip(answers, first, strict=True)]
    return [
        Verdict(reward, "ok" if reward is not None else "crash", "" if reward is not None else _why(judge, task))
        for reward, task in given
    ]


def _why(judge: Reward, task: Verdict) -> str:
    known = "the length of the completion is not known here"
    return f"{judge.name}: {task.detail if task.is_correct is None else known}"
