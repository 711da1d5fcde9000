"""Problems in flight between two steps, as arrays and plain values for a checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditree.problem import Problem, Status, Verdict
from creditree.rng import Key
from creditree.step_attention import StepAttention
from creditree.train.exploring import Exploring
from creditree.tree import NO_TOKENS, Branch, Forest, RolloutTree, token_array

Arrays = dict[str, NDArray[np.generic]]
Plain = dict[str, Any]
"""JSON: one entry a problem, whose branches' numbers are in the arrays."""

_ON_DISK = "flying"  # what checkpoints call them
_TOKENS, _NUMBERS = "token_ids", ("logprobs", "sampler_logprobs")
_SIGNALS = ("entropies", "influence", "old_logprobs")
_ENDS, _CELLS = "step_ends", "step_attention"


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """A problem as it was after its first round."""

    index: int
    key: Key
    budget: int
    forest: Forest
    ended: bool


def stored(live: Sequence[Exploring]) -> tuple[Arrays, list[Plain]]:
    """Return problems in flight: the numbers of all their branches one after the other, and everything else."""
    branches: list[Branch] = []
    records: list[Plain] = []
    for exploring in live:
        trees = []
        for tree in exploring.forest:
            trees.append(
                {
                    "prompt": tree.prompt_ids.tolist(),
                    "kept": tree.kept_ids.tolist(),
                    "branches": [_described(branch) for branch in tree.branches],
                }
            )
            branches += tree.branches
        records.append(
            {
                "index": exploring.index,
                "key": exploring.key.digest.hex(),
                "budget": exploring.budget,
                "ended": exploring.ended,
                "trees": trees,
            }
        )
    arrays: Arrays = {_TOKENS: np.concatenate([NO_TOKENS, *(branch.token_ids for branch in branches)])}
    for name in (*_NUMBERS, *_SIGNALS):
        arrays_of_branches = (getattr(branch, name) for branch in branches)
        arrays[name] = np.concatenate([np.zeros(0), *(array for array in arrays_of_branches if array is not None)])
    maps = [branch.attention for branch in branches if branch.attention is not None]
    arrays[_ENDS] = np.concatenate([NO_TOKENS, *(attention.ends for attention in maps)])
    arrays[_CELLS] = np.concatenate([np.zeros(0), *(attention.cells for attention in maps)])
    return {f"{_ON_DISK}/{name}": array for name, array in arrays.items()}, records


def restored(arrays: Arrays, held: Sequence[Plain], problem_at: Callable[[int], Problem]) -> list[Stored]:
    """Return what `stored` took down; `problem_at` gives the problem of an index."""
    taken = dict.fromkeys((_TOKENS, *_NUMBERS, *_SIGNALS, _ENDS, _CELLS), 0)

    def take(name: str, count: int) -> NDArray[Any]:
        start = taken[name]
        taken[name] = start + count
        return np.array(arrays[f"{_ON_DISK}/{name}"][start : start + count])

    entries = []
    for record in held:
        problem = problem_at(record["index"])
        forest = tuple(
            RolloutTree(
                problem,
                token_array(tree["prompt"]),
                token_array(tree["kept"]),
                tuple(_branch(entry, take) for entry in tree["branches"]),
            )
            for tree in record["trees"]
        )
        key = Key(bytes.fromhex(record["key"]))
        entries.append(Stored(record["index"], key, record["budget"], forest, record["ended"]))
    return entries


def _described(branch: Branch) -> Plain:
    verdict, attention = branch.verdict, branch.attention
    return {
        "parent": branch.parent,
        "fork": branch.fork,
        "tokens": len(branch.token_ids),
        "finish": branch.finish_reason,
        "verdict": None
        if verdict is None
        else [verdict.reward, verdict.status, verdict.detail, None, list(verdict.singles)],
        "learns": branch.learns,
        "signals": [name for name in _SIGNALS if getattr(branch, name) is not None],
        "attention": None if attention is None else [len(attention.ends), len(attention.cells)],
    }


def _branch(entry: Plain, take: Callable[[str, int], NDArray[Any]]) -> Branch:
    count, sizes = entry["tokens"], entry.get("attention")
    signals: dict[str, Any] = {name: take(name, count) if name in entry["signals"] else None for name in _SIGNALS}
    return Branch(
        entry["parent"],
        entry["fork"],
        token_array(take(_TOKENS, count)),
        take("logprobs", count),
        take("sampler_logprobs", count),
        entry["finish"],
        None if entry["verdict"] is None else _verdict(*entry["verdict"]),
        learns=entry.get("learns", True),
        attention=None if sizes is None else StepAttention.of_cells(take(_ENDS, sizes[0]), take(_CELLS, sizes[1])),
        **signals,
    )


def _verdict(
    reward: float | None, status: Status, detail: str, answer: None = None, singles: Sequence[float | None] = ()
) -> Verdict:
    return Verdict(reward, status, detail, answer, tuple(singles))
