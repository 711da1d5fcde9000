"""The completions of a run as columns, so that a search over a hundred thousand of them takes a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from creditree.runs.directory import RunDirectory, rollouts_name
from creditree.view.query import Query

SNIPPET = 140
"""Characters of a completion in a list."""
READ = (
    "problem_id", "tree", "branch", "question", "token_ids", "logprobs", "text", "finish_reason", "reward", "status",
    "advantages", "weights",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """Completions that a query asks for: how many there are, and the first of them, newest step first."""

    total: int
    rows: list[dict[str, Any]]


class CompletionIndex:
    """Grows as the run keeps steps; reading and searching may go on in different threads.

    Held of each completion: the step, its problem's place in it, tree and branch, reward, status, tokens, question and
    text in lower case, and of its tokens the largest and the least advantage, the largest surprisal, and how many have
    a weight.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._parts: dict[int, pa.Table] = {}
        self._whole: pa.Table | None = None
        self._failed: dict[int, str] = {}
        self._lock = Lock()

    @property
    def steps(self) -> list[int]:
        """The steps that are read."""
        return sorted(self._parts)

    @property
    def num_completions(self) -> int:
        """How many completions are read."""
        return sum(len(part) for part in list(self._parts.values()))

    @property
    def failed(self) -> Mapping[int, str]:
        """What is wrong with steps that cannot be read."""
        return dict(self._failed)

    def refresh(self, most: int | None = None) -> int:
        """Read steps that are new, the newest first, `most` at most; return how many.

        Steps that the run took back are dropped.
        """
        kept = self._run.rollout_steps()
        new = [step for step in reversed(kept) if step not in self._parts and step not in self._failed][:most]
        parts: dict[int, pa.Table] = {}
        for step in new:
            try:
                parts[step] = _columns(step, pq.read_table(self._run.path / rollouts_name(step), columns=list(READ)))
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                self._failed[step] = " ".join(str(error).split())
        gone = set(self._parts) - set(kept)
        if parts or gone:
            with self._lock:
                self._parts = {step: part for step, part in (self._parts | parts).items() if step not in gone}
                self._whole = None
        return len(new)

    def search(self, query: Query) -> Match:
        """Return the completions that a query asks for."""
        table = self._table()
        if table is None:
            return Match(0, [])
        places = np.flatnonzero(query.mask(table))
        first = places[query.first : query.first + query.most]
        columns = table.select([name for name in table.column_names if name not in ("lowered", "asked")])
        return Match(len(places), columns.take(pa.array(first)).to_pylist())

    def _table(self) -> pa.Table | None:
        with self._lock:
            if self._whole is None and self._parts:
                ordered = [self._parts[step] for step in sorted(self._parts, reverse=True)]
                self._whole = pa.concat_tables(ordered).combine_chunks()
            return self._whole


def _columns(step: int, table: pa.Table) -> pa.Table:
    """Return the columns of the index for a step's rollouts."""
    table = table.combine_chunks()
    begins = (table["tree"].to_numpy() == 0) & (table["branch"].to_numpy() == 0)
    places = np.cumsum(begins) - 1
    advantages, weights = table["advantages"], table["weights"]
    text = pc.fill_null(table["text"], "")
    asked = pc.binary_join_element_wise(table["problem_id"], table["question"], " ")
    return pa.table(
        {
            "step": np.full(len(table), step, dtype=np.int32),
            "place": places.astype(np.int32),
            "problem": table["problem_id"].cast(pa.string()),
            "tree": table["tree"],
            "branch": table["branch"],
            "reward": table["reward"],
            "status": pc.fill_null(table["status"], "not judged"),
            "cut": pc.equal(table["finish_reason"], "length"),
            "tokens": pc.fill_null(pc.list_value_length(table["token_ids"]), 0),
            "advantage_most": _of_lists(advantages, np.fmax),
            "advantage_least": _of_lists(advantages, np.fmin),
            "surprisal_most": -_of_lists(table["logprobs"], np.fmin),
            "selected": np.nan_to_num(_of_lists(weights, np.add, lambda values: (values != 0).astype(float))),
            "snippet": pc.utf8_slice_codeunits(text, 0, SNIPPET),
            "lowered": pc.utf8_lower(text),
            "asked": pc.utf8_lower(asked),
        }
    )


def _of_lists(column: pa.ChunkedArray, reduce: np.ufunc, of: Any = lambda values: values) -> NDArray[np.float64]:
    """Return a number for each list: what `reduce` makes of its values; NaN where it has none."""
    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], column.type)
    offsets = lists.offsets.to_numpy()
    values = of(lists.values.to_numpy(zero_copy_only=False).astype(np.float64))
    out = np.full(len(lists), np.nan)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    if len(filled):
        out[filled] = reduce.reduceat(values[: offsets[-1]], offsets[:-1][filled])
    return out
