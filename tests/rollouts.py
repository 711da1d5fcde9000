"""Judged forests sampled from tiny models, for tests of the learner."""

from collections.abc import Sequence

import numpy as np

from creditree.engines.engine import Sampling
from creditree.engines.whole import engine_for
from creditree.explore.base import Explorer
from creditree.fields import TokenField
from creditree.ledger import Ledger, Seconds
from creditree.methods import Method
from creditree.models.load import Model
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from creditree.train.exploring import Exploring
from creditree.train.rollout import Rollout, count_drawn, share_trie
from creditree.train.settings import Parts
from creditree.train.step import StepResult, learn
from creditree.tree import Forest
from creditree.verify.verifier import Answer, Verifier


class DigitParity(Verifier):
    """A fake verifier: the reward of a text is the parity of the codes of its characters, so groups are mixed."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge each completion by its text alone."""
        return tuple(Verdict(float(sum(map(ord, answer.completion)) % 2)) for answer in answers)


def grown(
    rollout: Rollout, explorer: Explorer, problems: Sequence[Problem], keys: Sequence[Key], seconds: Seconds
) -> tuple[list[Forest], Ledger]:
    """Run one explorer a problem to its end, all of them together; return the forests and what they cost."""
    rollout.engine.forget()
    ledger = Ledger()
    live = [
        Exploring.start(explorer, rollout.root(problem), index, key, rollout.max_new_tokens)
        for index, (problem, key) in enumerate(zip(problems, keys, strict=True))
    ]
    while pending := [one for one in live if one.is_pending]:
        rollout.advance(pending, ledger, seconds)
    share_trie(live)
    count_drawn(live, ledger)
    return [one.forest for one in live], ledger


def train_step(
    parts: Parts,
    rollout: Rollout,
    problems: Sequence[Problem],
    key: Key,
    learning_rate: float,
    seconds: Seconds,
    mini_batch: int | None = None,
) -> StepResult:
    """Run one step on problems of the test's own, where `Loop` draws those of the task."""
    keys = [key.at("problem", index) for index in range(len(problems))]
    forests, cost = grown(rollout, parts.method.explore, problems, keys, seconds)
    return learn(parts, forests, keys, key, learning_rate, seconds, cost, mini_batch)


def sampled_forests(
    model: Model, explorer: Explorer, problems: int = 2, budget: int = 10, temperature: float = 0.5
) -> list[Forest]:
    """Sample one judged forest a problem."""
    rollout = Rollout(model, engine_for(model), DigitParity(), PromptTemplate(), Sampling(temperature), budget)
    questions = [Problem(str(p), "3*4="[: 2 + p], ("12",)) for p in range(problems)]
    forests, _ = grown(rollout, explorer, questions, [Key.of(5).at(p) for p in range(problems)], Seconds())
    return forests


def credited(
    method: Method, forests: list[Forest]
) -> tuple[list[tuple[TokenField, ...]], list[tuple[TokenField, ...]]]:
    """Return advantages and weights of every forest."""
    advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
    weights = [
        method.select.weigh(forest, fields, Key.of(6).at(index))
        for index, (forest, fields) in enumerate(zip(forests, advantages, strict=True))
    ]
    return advantages, weights


def largest_gap(ours: list[np.ndarray], plain: list[np.ndarray]) -> float:
    """Return the largest difference relative to the largest entry of the plain computation."""
    scale = max(float(np.abs(b).max()) for b in plain)
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, plain, strict=True)) / scale
