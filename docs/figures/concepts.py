"""The numbers of the figures in docs/concepts.md: one problem, one tree, one group, sampled from a tiny built-in model.

    python -m docs.figures.concepts     # writes concepts.json and the pictures beside this file

Everything is computed by the package itself, as in training: `tests/unit/test_figures.py` computes it again.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import creditree as ct
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.credit.process import ProcessValue
from creditree.fields import TokenField
from creditree.objective.base import Objective
from creditree.objective.cispo import Cispo
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.select.top_entropy import TopEntropy
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.train.loop import Loop
from creditree.train.settings import Parts
from creditree.tree import FloatArray

FOLDER = Path(__file__).parent
NUMBERS = FOLDER / "concepts.json"
QUESTION = "939*5="
"""The one of the eight problems of the first step where the model forgets a carry, and half of the forks do not."""
METHOD = {
    "name": "treerl", "group": 2, "points": 1, "continuations": 2, "uncertainty": "entropy", "select": "top_entropy"
}  # fmt: skip
"""TreeRL with two chains, each forked at one point; `top_entropy` has the entropy before each token recorded."""
SELECTIONS: dict[str, Selection] = {
    "everything": Everything(),
    "early_and_random": EarlyAndRandom(alpha=4, probability=0.3, k=10),
    "top_entropy": TopEntropy(q=0.2),
    "branching_pairs": BranchingPairs(),
}
OBJECTIVES: dict[str, Objective] = {
    "policy_gradient": PolicyGradient(), "likelihood": Likelihood(), "clipped": Clipped(), "cispo": Cispo()
}  # fmt: skip
RATIOS = [round(0.1 * step, 1) for step in range(1, 41)]


def explored() -> tuple[ct.RolloutTree, Parts]:
    """Return the tree of QUESTION that the untrained model grows in the first step of a run."""
    config = ct.load_config(
        {
            "model": {"name": "builtin:multiplication"},
            "task": {"name": "multiplication", "digits_a": 3, "digits_b": 1},
            "method": METHOD,
            "sampling": {"temperature": 0.7, "max_new_tokens": 40},
            "train": {"steps": 1, "problems_per_step": 8, "threads": 1},
        }
    )
    resolved = resolve(config)
    parts = build(resolved)
    step = Loop(parts, resolved.settings).step()
    (forest,) = (forest for forest in step.explored if forest[0].problem.question == QUESTION)
    return forest[0], parts


def known_entropies(branch: ct.Branch) -> FloatArray:
    """Return the entropy before each token, which `top_entropy` has asked for."""
    assert branch.entropies is not None
    return branch.entropies


def as_group(tree: ct.RolloutTree) -> ct.RolloutTree:
    """Return the same completions as a flat group, as if each had been sampled from the prompt."""
    flat = ct.RolloutTree(tree.problem, tree.prompt_ids)
    for leaf in tree.leaves:
        pieces = [(tree.branches[branch], stop) for branch, stop in tree.path(leaf)]
        flat = flat.grown(
            replace(
                tree.branches[leaf],
                parent=None,
                fork=0,
                beside=None,
                handles=None,
                token_ids=tree.completion(leaf),
                logprobs=np.concatenate([branch.logprobs[:stop] for branch, stop in pieces]),
                sampler_logprobs=np.concatenate([branch.sampler_logprobs[:stop] for branch, stop in pieces]),
                entropies=np.concatenate([known_entropies(branch)[:stop] for branch, stop in pieces]),
            )
        )
    return flat


def numbers() -> dict[str, Any]:
    """Return all numbers of the figures."""
    tree, parts = explored()
    return {"tree": _tree(tree, parts), "group": _group(as_group(tree), parts.model), "objective": _objectives()}


def _tree(tree: ct.RolloutTree, parts: Parts) -> dict[str, Any]:
    rewards = dict(zip(tree.rewarded, tree.rewards(tree.rewarded).tolist(), strict=True))
    spans = [
        {
            "branch": span.branch,
            "start": span.start,
            "stop": span.stop,
            "parent": span.parent,
            "completions": len(span.leaves),
            "value": sum(rewards[leaf] for leaf in span.leaves) / len(span.leaves),
        }
        for span in tree.spans()
    ]
    return {
        "question": tree.problem.question,
        "answer": tree.problem.answers[0],
        "branches": _branches(tree, parts.model),
        "spans": spans,
        "process_value": _rounded(ProcessValue(unexpanded="keep").assign(tree)),
    }


def _branches(tree: ct.RolloutTree, model: ct.Model) -> list[dict[str, Any]]:
    return [
        {
            "parent": branch.parent,
            "fork": branch.fork,
            "tokens": [model.text([token]) for token in branch.token_ids.tolist()],
            "entropies": None if branch.entropies is None else [round(v, 4) for v in branch.entropies.tolist()],
            "reward": branch.reward,
        }
        for branch in tree.branches
    ]


def _group(tree: ct.RolloutTree, model: ct.Model) -> dict[str, Any]:
    gains, relative = PrefixGain().assign(tree), GroupRelative().assign(tree)
    weights = {}
    for name, select in SELECTIONS.items():
        advantages = gains if name == "branching_pairs" else relative
        drawn = select.of_step([(tree,)], [(advantages,)])
        weights[name] = _rounded(drawn.weigh((tree,), (advantages,), ct.Key.of(0))[0])
    return {
        "branches": _branches(tree, model),
        "group_relative": _rounded(relative),
        "prefix_gain": _rounded(gains),
        "weights": weights,
    }


def _rounded(field: TokenField) -> list[list[float] | None]:
    return [None if values is None else [round(value, 6) for value in values.tolist()] for values in field]


def _objectives() -> dict[str, Any]:
    """Return how hard each objective pushes log pi up, by the ratio of new to old policy, pi_old being 0.25."""
    return {
        "ratios": RATIOS,
        "pi_old": 0.25,
        "push": {
            name: {sign: _pushes(objective, advantage) for sign, advantage in (("good", 1.0), ("bad", -1.0))}
            for name, objective in OBJECTIVES.items()
        },
    }


def _pushes(objective: Objective, advantage: float) -> list[float]:
    old = torch.full((len(RATIOS),), 0.25).log()
    logprobs = (torch.tensor(RATIOS) * 0.25).log().requires_grad_()
    objective.loss(logprobs, torch.full_like(old, advantage), old).sum().backward()
    assert logprobs.grad is not None
    return [round(value, 6) for value in (-logprobs.grad).tolist()]


if __name__ == "__main__":
    from docs.figures.drawing import draw

    found = numbers()
    NUMBERS.write_text(json.dumps(found) + "\n", encoding="utf-8")
    draw(found, FOLDER)
