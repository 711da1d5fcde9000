"""One training step: problems -> forests -> advantages -> weights -> batches -> optimiser steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan

import numpy as np

from creditree.batch import Batch, pack
from creditree.credit.base import Credit
from creditree.fields import TokenField, is_signal, num_trained, only_learning
from creditree.learner.stats import StepStats
from creditree.ledger import Ledger, Seconds
from creditree.returned import Returned
from creditree.rewards import SingleReward, singles_of
from creditree.rng import Key
from creditree.select.base import Selection
from creditree.train.minibatches import Size, minibatches
from creditree.train.observe import observed
from creditree.train.settings import Parts
from creditree.tree import Forest

Fields = list[tuple[TokenField, ...]]
"""A token field for every tree of every forest."""


@dataclass(frozen=True, slots=True)
class Skip:
    """An update that was left out: why, and the ids of its problems; `cure`: what would help, where that is known."""

    reason: str
    problem_ids: tuple[str, ...]
    cure: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class StepResult:
    """What one step sampled, judged and learned; `stats` are of all its optimiser steps together.

    `explored`: the forests of all problems of the step;  `forests`: those that reached the learner, with their fields;
    `chosen`: what the selection has read off them;  `skips`: updates that were left out.
    """

    explored: list[Forest]
    forests: list[Forest]
    advantages: Fields
    weights: Fields
    stats: StepStats
    cost: Ledger
    chosen: Mapping[str, float] = field(default_factory=dict)
    skips: Sequence[Skip] = ()

    @classmethod
    def without(cls, skip: Skip) -> "StepResult":
        """Return the result of a step that failed before it reached the learner."""
        return cls([], [], [], [], StepStats.combined([]), Ledger(skipped=1), skips=(skip,))

    @property
    def reward_mean(self) -> float:
        """Mean reward of the first groups; NaN where no completion has one."""
        rewards = [float(r) for forest in self.explored for r in forest[0].rewards(_first_round(forest))]
        return float(np.mean(rewards)) if rewards else float("nan")

    @property
    def by_task(self) -> dict[str, dict[str, float | int | None]]:
        """Problems, mean reward and mixed share of each task of a mixture; empty where there is one task."""
        groups: dict[str, list[Forest]] = {}
        for forest in self.explored:
            groups.setdefault(forest[0].problem.task, []).append(forest)
        by_task = {task: replace(self, explored=own) for task, own in groups.items() if task}
        return {
            task: {
                "problems": len(own.explored),
                "reward_mean": None if isnan(own.reward_mean) else own.reward_mean,
                "mixed_share": own.mixed_share,
            }
            for task, own in by_task.items()
        }

    def single_rewards(self, names: Sequence[str]) -> dict[str, SingleReward]:
        """Return mean and failures of each single reward that rewards are a sum of, over all that was explored."""
        branches = (branch for forest in self.explored for tree in forest for branch in tree.branches)
        return singles_of(names, [branch.verdict.singles for branch in branches if branch.verdict is not None])

    @property
    def mixed_share(self) -> float:
        """Share of the problems whose first group holds different rewards."""
        mixed = [len(set(forest[0].rewards(_first_round(forest)).tolist())) > 1 for forest in self.explored]
        return float(np.mean(mixed)) if mixed else 0.0

    @property
    def rows(self) -> int:
        """Completions that were trained on."""
        pairs = zip(self.forests, self.advantages, strict=True)
        return sum(num_trained(forest, fields) for forest, fields in pairs)

    @property
    def useful_share(self) -> float:
        """Share of the tokens of the explored problems that have an advantage other than 0, each token counted once."""
        fields = (values for forest in self.advantages for tree in forest for values in tree if values is not None)
        useful = sum(int(is_signal(values).sum()) for values in fields)
        tokens = sum(len(b.token_ids) for forest in self.explored for tree in forest for b in tree.branches)
        return useful / tokens if tokens else 0.0

    @property
    def surprisal(self) -> float | None:
        """Mean -log p of the sampled tokens under what they were drawn from, in nats: its entropy, on average.

        None where nothing was sampled, or the engine does not tell.
        """
        drawn = [-b.sampler_logprobs for forest in self.explored for tree in forest for b in tree.branches]
        surprisals = np.concatenate([np.zeros(0), *drawn])
        known = surprisals[np.isfinite(surprisals)]
        return float(known.mean()) if len(known) else None

    @property
    def selected_share(self) -> float:
        """Share of the tokens of completions to train on that were given a weight, each token counted once."""
        fields = [values for forest in self.weights for tree in forest for values in tree if values is not None]
        tokens = sum(len(values) for values in fields)
        return sum(int(np.count_nonzero(values)) for values in fields) / tokens if tokens else 0.0


def _first_round(forest: Forest) -> list[int]:
    """Return the judged completions of a problem that were sampled from its prompt, without forks."""
    return [leaf for leaf in forest[0].rewarded if forest[0].branches[leaf].is_chain]


def learn(
    parts: Parts,
    forests: list[Forest],
    keys: Sequence[Key],
    key: Key,
    learning_rate: float,
    seconds: Seconds,
    cost: Ledger,
    mini_batch: int | None = None,
) -> StepResult:
    """Credit forests, wherever they were grown, and make the optimiser steps of one training step.

    `keys` are the forests' own, for what their selection draws; `key` is the step's, for what the learner draws. `cost`
    is what growing them cost: the counts of learning are added to it. `mini_batch`: about how many completions make one
    optimiser step (None: all); old log-probabilities are those of the policy that sampled, however many updates ago
    that was.
    """
    method, learner = parts.method, parts.learner
    with seconds.phase("credit"):
        forests, tokens = observed(parts, forests)
        cost.measured_tokens += tokens
        advantages = _credited(method.credit, [tuple(map(parts.verifier.credited, forest)) for forest in forests])
        select = Returned(method.select, "of_step", method.select.of_step(forests, advantages)).same_axis()
        given = list(zip(forests, advantages, (own.at("select") for own in keys), strict=True))
        weights = [
            Returned(select, "weigh", select.weigh(forest, field, own)).forest_field(forest)
            for forest, field, own in given
        ]
        if method.credit.per_completion:
            advantages = [
                Returned(select, "blended", select.blended(forest, field, own)).forest_field(forest)
                for forest, field, own in given
            ]
        sizes = [Size.of(forest, field) for forest, field in zip(forests, advantages, strict=True)]
        chosen = minibatches(sizes, mini_batch, key.at("minibatches")) if forests else []
        batches = [_packed(parts, select, forests, advantages, weights, indices) for indices in chosen]
    with seconds.phase("learn"):
        batches, old_tokens = _with_old(parts, batches)
        cost.measured_tokens += old_tokens
        updates: list[StepStats] = []
        skips = []
        for number, batch in enumerate(batches):
            own = key.at("update", number) if len(batches) > 1 else key
            at_old = not any(update.updated for update in updates)
            updates.append(learner.step(batch, own, learning_rate, at_old=at_old))
            reason = updates[-1].skipped
            if reason is not None:
                skips.append(Skip(reason, tuple(forests[index][0].problem.id for index in chosen[number])))
    stats = StepStats.combined(updates)
    cost.forwarded, cost.in_loss = stats.forwarded, stats.in_loss
    cost.measured_tokens += stats.measured
    cost.updates, cost.skipped = sum(update.updated for update in updates), len(skips)
    cost.no_signal = int(not stats.updated and not skips)
    noted = Returned(select, "chosen", select.chosen).state()
    return StepResult(forests, forests, advantages, weights, stats, cost, noted, skips)


def _credited(credit: Credit, forests: Sequence[Forest]) -> Fields:
    """Return the advantages of all trees, none where a branch does not learn, whoever gives credit.

    Raises ConfigError where a credit does not give a finite one for each token.
    """
    given = credit.of_step(forests)
    each = Returned(credit, "of_step", given).items(len(forests), f"a list for each of the {len(forests)} problems")
    checked = [
        Returned(credit, "of_step", fields).forest_field(forest) for forest, fields in zip(forests, each, strict=True)
    ]
    return [
        tuple(only_learning(tree, field) for tree, field in zip(forest, fields, strict=True))
        for forest, fields in zip(forests, checked, strict=True)
    ]


def _with_old(parts: Parts, batches: list[Batch]) -> tuple[list[Batch], int]:
    """Return the batches with the learner's old log-probabilities where it needs its own, and the tokens of that pass.

    The first batch has them by its own pass: nothing is updated before it (`Learner.step`).
    """
    completed = [*batches[:1], *(parts.learner.with_old_logprobs(batch) for batch in batches[1:])]
    return completed, sum(new.num_tokens for new, old in zip(completed, batches, strict=True) if new is not old)


def _packed(
    parts: Parts,
    select: Selection,
    forests: list[Forest],
    advantages: Fields,
    weights: Fields,
    chosen: Sequence[int],
) -> Batch:
    method = parts.method
    penalty = method.objective.kl > 0
    of_batch, given = [forests[index] for index in chosen], [advantages[index] for index in chosen]
    return pack(
        of_batch,
        given,
        [weights[index] for index in chosen],
        keep_zero_advantage=parts.learner.keep_zero_advantage,
        normaliser=Returned(select, "normaliser", method.select.normaliser(of_batch, given)).above_zero(),
        tempered=method.objective.loss_temperature != 1.0,
        penalised=[_penalised(select, forest, field) for forest, field in zip(of_batch, given, strict=True)]
        if penalty
        else None,
    )


def _penalised(select: Selection, forest: Forest, advantages: tuple[TokenField, ...]) -> tuple[TokenField, ...] | None:
    weights = select.penalised(forest, advantages)
    return None if weights is None else Returned(select, "penalised", weights).forest_field(forest)
