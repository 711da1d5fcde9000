"""A problem's trees as the page's script draws them: text and, for each token, what it was worth and why."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from creditree.overview.trees import ForkPoint, ShownForest, ShownTree
from creditree.report.page.tree_svg import tree_svg
from creditree.step_attention import StepAttention
from creditree.text import one_line, printable, shown
from creditree.tree import Branch, FloatArray

DIGITS = 3
"""Significant digits of a token's numbers."""
MOST_SHOWN = 160
MILLION = 1_000_000
Numbers = list[float | None] | float | None
"""One for each token, or the one that all of them have; None: there is none."""


def forest_payload(forest: ShownForest) -> dict[str, Any]:
    """Return the trees of a problem. Nothing in it steers whoever shows it: control characters are escapes."""
    problem = forest.trees[0].tree.problem
    return {
        "step": forest.step,
        "id": printable(problem.id),
        "question": printable(problem.question),
        "answers": [printable(answer) for answer in problem.answers],
        "trees": [_tree(drawn) for drawn in forest.trees],
    }


def heading(forest: ShownForest) -> str:
    """Return a problem in one line: which it is, and how its completions did."""
    branches = [branch for drawn in forest.trees for branch in drawn.tree.branches]
    rewards = [branch.reward for branch in branches if branch.reward is not None]
    mean = f", mean reward {np.mean(rewards):.2f}" if rewards else ""
    question = one_line(forest.trees[0].tree.problem.question, MOST_SHOWN)
    return f"step {forest.step} · {one_line(forest.problem_id, 40)} · {len(branches)} completions{mean} · {question}"


def fork_words(fork: ForkPoint) -> str:
    """Return where completions were forked, and what is known of why."""
    piece = "" if fork.piece is None else f" {shown(fork.piece, 40)}"
    known = [f"{_NAMES[name]} {r.value:.3g} (rank {r.rank} of {r.of})" for name, r in fork.reasons.items()]
    others = ", ".join(str(child + 1) for child in fork.children)
    what = f"completion {fork.parent + 1} was forked before token {fork.at + 1}{piece}, into {others}"
    return f"{what}: {', '.join(known)}" if known else what


_NAMES = {"entropy": "entropy", "surprisal": "surprisal", "influence": "influence of its step (FCI)"}


def _tree(drawn: ShownTree) -> dict[str, Any]:
    tree = drawn.tree
    return {
        "svg": tree_svg(drawn),
        "kept": len(tree.kept_ids),
        "origin": drawn.origin,
        "forks": [fork_words(fork) for fork in drawn.forks],
        "order": sorted(tree.leaves, key=lambda leaf: drawn.rows[leaf]),
        "leaves": [_leaf(drawn, leaf) for leaf in tree.leaves],
    }


def _leaf(drawn: ShownTree, leaf: int) -> dict[str, Any]:
    stored = drawn.stored
    branch, pieces = stored.tree.branches[leaf], stored.pieces[leaf]
    return {
        "parent": branch.parent,
        "fork": branch.fork,
        "reward": _number(branch.reward),
        "verdict": verdict_words(branch),
        "learns": branch.learns,
        **({"text": printable(stored.texts[leaf])} if pieces is None else {"pieces": list(map(printable, pieces))}),
        "a": numbers(stored.advantages[leaf]),
        "w": numbers(stored.weights[leaf]),
        "s": numbers(-branch.logprobs),
        "e": numbers(branch.entropies),
        "i": numbers(branch.influence),
        **({} if branch.attention is None else {"m": _map(branch.attention)}),
    }


def _map(attention: StepAttention) -> dict[str, Any]:
    """Return a map of steps, its weights in millionths."""
    cells = np.rint(attention.cells * MILLION).astype(int).tolist()
    return {"ends": attention.ends.tolist(), "delta": attention.delta, "cells": cells}


def verdict_words(branch: Branch) -> str:
    """Return what became of a completion: how it was judged, and how it ended."""
    verdict = branch.verdict
    status = "not judged" if verdict is None else verdict.status
    detail = "" if verdict is None or not verdict.detail else f" ({one_line(verdict.detail, MOST_SHOWN)})"
    end = "cut off at the limit" if branch.finish_reason == "length" else "ended by itself"
    return f"{status}{detail}, {len(branch.token_ids)} tokens drawn, {end}{'' if branch.learns else ', does not learn'}"


def numbers(values: FloatArray | None) -> Numbers:
    """Return a token field with few digits; one number where all are equal."""
    if values is None or not len(values):
        return None
    rounded = [_number(float(value)) for value in values]
    return rounded[0] if len(set(rounded)) == 1 else rounded


def _number(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short == int(short) and abs(short) < 1e6 else short


def payloads(forests: Sequence[ShownForest]) -> list[dict[str, Any]]:
    """Return the trees of several problems."""
    return [forest_payload(forest) for forest in forests]
