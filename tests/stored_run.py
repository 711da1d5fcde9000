"""A run directory made by hand: metrics, trees and a summary as training leaves them, without any model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from creditree.evaluate.summary import CompletionCounts, DataDigests, Decoding, StepCounts, Summary, SummaryDetails
from creditree.problem import Problem
from creditree.runs.directory import RunDirectory
from creditree.runs.rollouts import rollout_table
from creditree.step_attention import StepAttention
from creditree.tree import RolloutTree
from tests.forests import EOS, PROMPT, branch, flat, root

CONFIG = """seed: {seed}
model: {{name: tiny, dtype: float32, device: cpu}}
task: {{name: sums}}
method: {{name: {method}, explore: entropy, credit: prefix_gain, select: everything, objective: likelihood}}
train: {{steps: 20, learning_rate: 0.001}}
"""
HOSTILE = "<script>window.stolen = 1</script>"
"""A piece of text that would be a script, were it ever taken for HTML."""
PIECES = {2: " two", 3: " three", 4: f" {HOSTILE}", 5: " five\n", EOS: "<end>"}


def pieces(token_ids: Iterable[int]) -> list[str]:
    """Return the text of each token."""
    return [PIECES.get(int(token), f" {token}") for token in token_ids]


def text_of(tree: RolloutTree, leaf: int) -> str:
    """Return a completion's text."""
    return "".join(pieces([*tree.kept_ids, *tree.completion(leaf)]))


def forked_tree(problem: str = "p-1") -> RolloutTree:
    """Return a tree of four completions, two of them forked from the first after two tokens.

    Tokens 2 3 | 4 1 (reward 0), forked into 2 3 | 5 1 (1) and 2 3 | 5 5 (1, cut off); and 3 1 (no reward). The first
    has two steps: 2 3, which attends to the prompt by .25, and 4 1: by .125, and to the first step by .5.
    """
    entropies, influence = np.array([0.1, 0.2, 1.5, 0.3]), np.array([0.5, 0.5, 0.0, 0.0])
    attention = StepAttention.of_cells([2, 4], [0.25, 0.125, 0.5])
    first = replace(branch((2, 3, 4, EOS), 0.0), entropies=entropies, influence=influence, attention=attention)
    tree = replace(root(prompt=PROMPT), problem=Problem(problem, f"What is 1+1? {HOSTILE}", ("2",)))
    tree = tree.grown(first, branch((3, EOS), None))
    return tree.grown(branch((5, EOS), 1.0, parent=0, fork=2), branch((5, 5), 1.0, parent=0, fork=2))


def stored_run(
    path: Path,
    *,
    seed: int = 0,
    method: str = "t-spmo",
    steps: int = 20,
    ended: bool = True,
    kept: Sequence[int] = (10, 20),
    asked: str = "sum",
) -> Path:
    """Write a run; `kept`: the steps whose trees are stored;  `asked`: begins the digests of its questions."""
    with RunDirectory.create(path, CONFIG.format(seed=seed, method=method)) as run:
        for step in range(1, steps + 1):
            run.append(metrics(step, seed))
        for step in kept:
            write_trees(run, step)
        if ended:
            sides = {"before": {"greedy": shares(3)}, "after": {"greedy": shares(15 + seed)}}
            run.write_json("evaluation.json", sides | {"digests": {name: f"{asked} {name}" for name in shares(0)}})
            example = {"id": "q1", "question": "1+1=", "answers": ["2"], "before": HOSTILE, "after": "it is 2"}
            run.write_json("examples.json", {"better": [example], "worse": []})
            run.write_json("summary.json", summary(method, seed).to_json())
    return path


def write_trees(run: RunDirectory, step: int) -> None:
    """Write the trees of two problems: a forked one, and a flat group with a replay."""
    forests = [
        (forked_tree(),),
        (flat([(2, EOS), (3, EOS)], [1.0, 0.0]), flat([(5, EOS)], [1.0], kept=(2,))),
    ]
    advantages = [
        tuple(tuple(np.linspace(-0.5, 0.75, len(b.token_ids)) for b in tree.branches) for tree in forest)
        for forest in forests
    ]
    weights = [
        tuple(tuple(np.where(np.arange(len(b.token_ids)) == 0, 0.25, 0.0) for b in tree.branches) for tree in forest)
        for forest in forests
    ]
    texts = [tuple(tuple(text_of(tree, leaf) for leaf in tree.leaves) for tree in forest) for forest in forests]
    run.write_rollouts(step, rollout_table(step, forests, advantages, weights, texts, pieces))


def metrics(step: int, seed: int = 0) -> dict[str, object]:
    """Return the record of a step: half of a step's ten completions are cut off in the first ten steps, none later."""
    cut = 5 * min(step, 10)
    return {
        "step": step,
        "reward_mean": step / 40 + seed / 10,
        "mixed_share": 0.75,
        "loss": 1.0 / step,
        "grad_norm": 0.5,
        "surprisal": 1.0 / step,
        "sampler_mismatch_rms": 1e-6 * step,
        "clip_fraction": 0.0,
        "validation_accuracy": step / 20 if step % 5 == 0 else None,
        "completions": 10 * step,
        "sampled": 1000 * step,
        "decoded": 400 * step,
        "forwarded": 100 * step,
        "in_loss": 20 * step,
        "no_signal": step // 10,
        "truncated": cut,
        "unparsable": 0,
        "timeouts": 0,
        "crashes": 0,
        "failed_verdicts": step,
        "seconds": 2.0 * step,
        "seconds_by_phase": {"sample": 1.5 * step, "learn": 0.5 * step},
        "memory_peak": {"host": 600_000_000},
    }


def shares(right: int) -> dict[str, int]:
    """Return 0/1 of thirty problems, the first `right` of them right."""
    return {f"q{number}": int(number < right) for number in range(30)}


def summary(method: str, seed: int) -> Summary:
    """Return the summary of a run: 3 of 30 right before, 15 more than the seed after."""
    return Summary(
        method=method,
        decoding={"greedy": Decoding.of(shares(3), shares(15 + seed))},
        seconds={"total": 60.0, "train": 40.0, "sample": 30.0, "learn": 10.0},
        tokens={"sampled": 20_000, "decoded": 8_000, "forwarded": 2_000, "in_loss": 400},
        task="sums",
        details=SummaryDetails(
            StepCounts(20, 18, 2), CompletionCounts(200), data=DataDigests("test", 30, "0" * 64), notes=["a note"]
        ),
    )
