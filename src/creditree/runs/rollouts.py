"""Rollouts as parquet: one row a completion, enough to see what was sampled, how it was judged and what it taught."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from creditree.fields import TokenField
from creditree.step_attention import StepAttention
from creditree.tree import Forest, IntArray, RolloutTree

_TOKENS, _NUMBERS = pa.list_(pa.int32()), pa.list_(pa.float64())

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("problem_id", pa.string()),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("tree", pa.int32()),  # index in the problem's forest; 0 is rooted at the prompt
        ("branch", pa.int32()),
        ("parent", pa.int32()),  # null: the branch starts at the root
        ("fork", pa.int32()),
        ("beside", pa.int32()),  # the branch that it was forked from at the first token of all; null: none
        ("learns", pa.bool_()),
        ("prompt_ids", _TOKENS),
        ("kept_ids", _TOKENS),
        ("token_ids", _TOKENS),  # the branch's own tokens: those that it inherits stand in its parent's row
        ("pieces", pa.list_(pa.string())),  # the text of each of these tokens by itself
        ("logprobs", _NUMBERS),
        ("sampler_logprobs", _NUMBERS),
        ("entropies", _NUMBERS),
        ("influence", _NUMBERS),  # of each token's step, raw
        ("step_ends", _TOKENS),  # of a tree's first completion, where attention from step to step was observed
        (
            "step_attention",
            pa.list_(pa.float32()),
        ),  # a_jk, row by row, of steps j at least delta after k (0: the prompt)
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("reward", pa.float64()),
        ("singles", _NUMBERS),  # the rewards that it is the sum of, as the configuration has them; empty: there is one
        ("status", pa.string()),
        ("detail", pa.string()),
        ("advantages", _NUMBERS),
        ("weights", _NUMBERS),
    ]
)

LATER = ("beside", "pieces", "step_ends", "step_attention")
"""Columns that older files lack."""

ForestField = tuple[TokenField, ...]
ForestTexts = Sequence[Sequence[str]]
Pieces = Callable[[IntArray], Sequence[str]]
"""The text of each token by itself."""


def rollout_table(
    step: int,
    forests: Sequence[Forest],
    advantages: Sequence[ForestField],
    weights: Sequence[ForestField],
    texts: Sequence[ForestTexts],
    pieces: Pieces | None = None,
) -> pa.Table:
    """Return one row for each completion.

    The three fields follow `forests`: ``texts[forest][tree][branch]``. Without `pieces` no text of a single token is
    kept. Raises ValueError where a field does not fit the forests.
    """
    rows = [
        {**row, "pieces": None if pieces is None else pieces(row["token_ids"])}
        for forest, forest_advantages, forest_weights, forest_texts in zip(
            forests, advantages, weights, texts, strict=True
        )
        for row in _forest_rows(step, forest, forest_advantages, forest_weights, forest_texts)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _forest_rows(
    step: int, forest: Forest, advantages: ForestField, weights: ForestField, texts: ForestTexts
) -> Iterator[dict[str, Any]]:
    for number, (tree, a, w, t) in enumerate(zip(forest, advantages, weights, texts, strict=True)):
        if not len(tree.branches) == len(a) == len(w) == len(t):
            raise ValueError(
                f"tree {number} has {len(tree.branches)} branches, but {len(a)} advantages, {len(w)} weights "
                f"and {len(t)} texts"
            )
        for index in tree.leaves:
            derived = {"advantages": a[index], "weights": w[index]}
            yield {"step": step, "tree": number, **_branch_row(tree, index, t[index]), **derived}


def _branch_row(tree: RolloutTree, index: int, text: str) -> dict[str, Any]:
    branch, problem, verdict = tree.branches[index], tree.problem, tree.branches[index].verdict
    arrays: dict[str, NDArray[np.generic] | None] = {
        "prompt_ids": tree.prompt_ids,
        "kept_ids": tree.kept_ids,
        "token_ids": branch.token_ids,
        "logprobs": branch.logprobs,
        "sampler_logprobs": branch.sampler_logprobs,
        "entropies": branch.entropies,
        "influence": branch.influence,
        **_step_attention(None if index else branch.attention),
    }
    return {
        "problem_id": problem.id,
        "question": problem.question,
        "answers": list(problem.answers),
        "branch": index,
        "parent": branch.parent,
        "fork": branch.fork,
        "beside": branch.beside,
        "learns": branch.learns,
        "text": text,
        "finish_reason": branch.finish_reason,
        "reward": branch.reward,
        "singles": [] if verdict is None else list(verdict.singles),
        "status": None if verdict is None else verdict.status,
        "detail": None if verdict is None else verdict.detail,
        **arrays,
    }


def _step_attention(attention: StepAttention | None) -> dict[str, NDArray[np.generic] | None]:
    if attention is None:
        return {"step_ends": None, "step_attention": None}
    return {"step_ends": attention.ends, "step_attention": attention.cells.astype(np.float32)}
