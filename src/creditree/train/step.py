"""One training step: problems -> forests -> advantages -> weights -> batch -> optimiser step."""

from dataclasses import dataclass

import numpy as np

from creditree.batch import pack
from creditree.fields import TokenField
from creditree.learner.learner import StepStats
from creditree.ledger import Ledger, Seconds
from creditree.problem import Problem
from creditree.rng import Key
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts
from creditree.tree import Forest


@dataclass(frozen=True, eq=False, slots=True)
class StepResult:
    """What one step sampled, judged and learned."""

    forests: list[Forest]
    advantages: list[tuple[TokenField, ...]]
    weights: list[tuple[TokenField, ...]]
    stats: StepStats
    cost: Ledger

    @property
    def reward_mean(self) -> float:
        """Mean reward of the first groups; NaN where no completion has one."""
        found = [float(r) for forest in self.forests for r in forest[0].rewards(forest[0].rewarded)]
        return float(np.mean(found)) if found else float("nan")

    @property
    def mixed_share(self) -> float:
        """Share of the problems whose first group holds different rewards."""
        return float(np.mean([len(set(forest[0].rewards(forest[0].rewarded).tolist())) > 1 for forest in self.forests]))


def train_step(
    parts: Parts, rollout: Rollout, problems: list[Problem], key: Key, learning_rate: float, seconds: Seconds
) -> StepResult:
    """Run one step on `problems`; all random numbers are drawn from `key`."""
    method, learner = parts.method, parts.learner
    keys = [key.at("problem", index) for index in range(len(problems))]
    forests, cost = rollout.grow(method.explore, problems, keys, seconds)
    with seconds.phase("credit"):
        advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
        weights = [
            method.select.weigh(forest, field, own.at("select"))
            for forest, field, own in zip(forests, advantages, keys, strict=True)
        ]
        batch = pack(forests, advantages, weights, keep_zero_advantage=learner.keep_zero_advantage)
    with seconds.phase("learn"):
        stats = learner.step(batch, key, learning_rate)
    cost.forwarded, cost.in_loss = stats.forwarded, stats.in_loss
    cost.updates, cost.no_signal = int(stats.updated), int(not stats.updated)
    return StepResult(forests, advantages, weights, stats, cost)
