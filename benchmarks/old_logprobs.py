"""Old log-probabilities on a base below float32: what the engine's word for them does to an update, and what ours cost.

Prints one JSON line. Completions are sampled and learned from at once, before any update, with rewards that are a hash
of their text. `log_ratio_rms`, `log_ratio_max`, `clipped`: of the loss terms, with the engine's log-probabilities as
old ones and with the learner's. `from_plain`: distance of the gradient of `clipped` from that of the plain policy
gradient in the same precision, as a share of its norm; `from_exact`: from the plain one in float64 over the same
weights; `plain_from_exact`: of the plain one from that, so what the precision itself does.
`pass_over_update`: CPU seconds of the pass that gives the learner's old ones, over those of the gradient; an update
needs that pass for each mini-batch but the first, so `mini_batches` n costs (n - 1) / n of it.

    python benchmarks/old_logprobs.py [--problems 8] [--group 16]
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.measure import reward_of
from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.ledger import Seconds
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Dtype, load_model
from creditree.objective.base import Objective
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.problem import Verdict
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.select.everything import Everything
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.task import Task
from creditree.tasks.word_problems import WordProblems
from creditree.train.rollout import Rollout
from creditree.verify.verifier import Answer
from tests.rollouts import grown

TASKS: dict[str, Task] = {"builtin:multiplication": Multiplication(4, 1), "builtin:word_problems": WordProblems()}
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
TOKENS, REPEATS, SPREAD = 96, 5, 0.05
CLIPPED = Clipped(kl=0.0)


class Hashed:
    """Rewards that are a hash of the text, so that every group has a signal."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge each completion by its text alone."""
        return tuple(Verdict(reward_of(answer.completion)) for answer in answers)


@dataclass(frozen=True, eq=False)
class Case:
    """A base in some precision, with an adapter that is away from zero."""

    adapter: Adapter

    @classmethod
    def of(cls, name: str, dtype: Dtype) -> "Case":
        """Load it; the adapter is the same in every precision."""
        adapter = Adapter(load_model(name, dtype), LoraSpec(rank=8, layers=1 / 3), Key.of(0))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for matrix in adapter.matrices:
                noise = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
                matrix.add_((SPREAD * noise).to(matrix.dtype))
        return cls(adapter)

    def learner(self, objective: Objective) -> Learner:
        """Return a learner over it."""
        return Learner(self.adapter, objective, OptimiserSpec())

    def gradient(self, objective: Objective, batch: Batch) -> torch.Tensor:
        """Return the gradient of a batch's loss, all matrices in one row, in float64."""
        self.learner(objective).gradient(batch, Key.of(1))
        return torch.cat([m.grad.double().flatten() for m in self.adapter.matrices if m.grad is not None])

    def exact(self, name: str) -> "Case":
        """Return the same weights in float64."""
        other = Case.of(name, "float64")
        with torch.no_grad():
            own = dict(self.adapter.model.transformer.model.named_parameters())
            for key, parameter in other.adapter.model.transformer.model.named_parameters():
                parameter.copy_(own[key].double())
        return other


def sampled(case: Case, task: Task, problems: int, group: int) -> Batch:
    """Return the batch of fresh completions."""
    model = case.adapter.model
    rollout = Rollout(model, InProcessEngine(model), Hashed(), task.prompt, Sampling(1.0), TOKENS)  # type: ignore[arg-type]
    asked = list(task.held_out("test", problems))
    forests, _ = grown(rollout, Group(group), asked, [Key.of(2).at(i) for i in range(len(asked))], Seconds())
    advantages = [tuple(GroupRelative().assign(tree) for tree in forest) for forest in forests]
    weights = [Everything().weigh(forest, a, Key.of(3)) for forest, a in zip(forests, advantages, strict=True)]
    return pack(forests, advantages, weights, keep_zero_advantage=False)


def ratios(old: np.ndarray, policy: np.ndarray, advantage: np.ndarray) -> dict[str, float]:
    """Return what the log ratios are, and the share of terms that a clip keeps from learning."""
    gap = policy - old
    clipped = CLIPPED.clipped(*(torch.tensor(array) for array in (policy, advantage, old)))
    return {
        "log_ratio_rms": float(np.sqrt(np.square(gap).mean())),
        "log_ratio_max": float(np.abs(gap).max()),
        "clipped": float(clipped.float().mean()),
    }


def seconds(case: Case, batch: Batch) -> dict[str, float]:
    """Return CPU seconds of the gradient and of the pass for old log-probabilities: medians, turn by turn."""
    learner, updates, passes = case.learner(CLIPPED), [], []
    for _ in range(REPEATS + 1):
        started = process_time()
        learner.gradient(batch, Key.of(1))
        updates.append(process_time() - started)
        started = process_time()
        learner.logprobs(batch)
        passes.append(process_time() - started)
    update, extra = median(updates[1:]), median(passes[1:])
    return {"update_s": update, "pass_s": extra, "pass_over_update": extra / update}


def measured(name: str, dtype: Dtype, problems: int, group: int) -> dict[str, Any]:
    """Return all of it for one base in one precision."""
    case = Case.of(name, dtype)
    batch = sampled(case, TASKS[name], problems, group)
    learner = case.learner(CLIPPED)
    own = learner.with_old_logprobs(batch)
    exact, plain = (one.gradient(PolicyGradient(), batch) for one in (case.exact(name), case))
    policy = learner.logprobs(batch)

    def off(given: Batch) -> dict[str, float]:
        found = case.gradient(CLIPPED, given)
        return {"from_plain": _apart(found, plain), "from_exact": _apart(found, exact)}

    return {
        "terms": batch.num_terms,
        "engine": ratios(batch.sampler_logprob, policy, batch.advantage) | off(batch),
        "learner": ratios(own.old_logprob, policy, batch.advantage) | off(own),
        "recomputed": learner.recomputes_old,
        "plain_from_exact": _apart(plain, exact),
        **seconds(case, batch),
    }


def _apart(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found - true).norm() / true.norm())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--group", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"benchmark": "old_logprobs", "problems": options.problems, "group": options.group}
    record["bases"] = {
        f"{name} {dtype}": measured(name, dtype, options.problems, options.group) for name in TASKS for dtype in DTYPES
    }
    print(json.dumps(record | {"environment": describe_environment()}))


if __name__ == "__main__":
    main()
