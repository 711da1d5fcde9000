"""What a step sampled, read back from its rollouts: trees with the fields that the learner had."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditree.errors import RunError
from creditree.fields import TokenField
from creditree.problem import Problem, Verdict
from creditree.step_attention import StepAttention
from creditree.tree import Branch, FloatArray, RolloutTree, token_array


@dataclass(frozen=True, eq=False, slots=True)
class StoredTree:
    """A tree with what was kept of it, each by branch.

    `texts`: of whole completions;  `pieces`: of each token of a branch by itself, None where an older run has none.
    """

    tree: RolloutTree
    advantages: TokenField
    weights: TokenField
    texts: tuple[str, ...]
    pieces: tuple[tuple[str, ...] | None, ...]


StoredForest = tuple[StoredTree, ...]


def stored_forests(rows: Sequence[Mapping[str, Any]], source: str) -> list[StoredForest]:
    """Return the forests of a step in the order in which they were written.

    Raises RunError that names `source` where the rows do not make trees.
    """
    forests: list[StoredForest] = []
    try:
        for of_forest in _split(rows, lambda row: (row["tree"], row["branch"]) == (0, 0)):
            trees = _split(of_forest, lambda row: row["branch"] == 0)
            forests.append(tuple(_tree(branches) for branches in trees))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{source} holds no rollout trees ({error}); choose another step.") from error
    return forests


def _split(rows: Iterable[Mapping[str, Any]], begins: Any) -> list[list[Mapping[str, Any]]]:
    """Return runs of rows, each from a row that begins one."""
    parts: list[list[Mapping[str, Any]]] = []
    for row in rows:
        if begins(row):
            parts.append([])
        parts[-1].append(row)
    return parts


def _tree(rows: Sequence[Mapping[str, Any]]) -> StoredTree:
    first = rows[0]
    problem = Problem(first["problem_id"], first["question"], tuple(first["answers"]))
    ids = token_array(first["prompt_ids"]), token_array(first["kept_ids"])
    tree = RolloutTree(problem, *ids, tuple(map(_branch, rows)))
    for leaf in tree.leaves:
        tree.path(leaf)  # a parent that is missing is found here, not where the tree is drawn
    return StoredTree(
        tree,
        tuple(_numbers(row["advantages"]) for row in rows),
        tuple(_numbers(row["weights"]) for row in rows),
        tuple(row["text"] for row in rows),
        tuple(None if row.get("pieces") is None else tuple(row["pieces"]) for row in rows),
    )


def _branch(row: Mapping[str, Any]) -> Branch:
    known = row["status"] is not None
    return Branch(
        parent=row["parent"],
        fork=row["fork"],
        token_ids=token_array(row["token_ids"]),
        logprobs=_array(row["logprobs"]),
        sampler_logprobs=_array(row["sampler_logprobs"]),
        finish_reason=row["finish_reason"],
        verdict=Verdict(row["reward"], row["status"], row["detail"], singles=tuple(row["singles"])) if known else None,
        entropies=_numbers(row["entropies"]),
        influence=_numbers(row["influence"]),
        attention=_step_attention(row),
        beside=row.get("beside"),
        learns=row["learns"],
    )


def _step_attention(row: Mapping[str, Any]) -> StepAttention | None:
    ends, cells = row.get("step_ends"), row.get("step_attention")
    return None if ends is None or cells is None else StepAttention.of_cells(ends, cells)


def _numbers(values: Sequence[float | None] | None) -> FloatArray | None:
    return None if values is None else _array(values)


def _array(values: Sequence[float | None]) -> FloatArray:
    return np.array(values, dtype=np.float64)
