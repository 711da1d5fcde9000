"""What is searched for among the completions of a run."""

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from creditree.errors import ConfigError
from creditree.text import shown

Mask = NDArray[np.bool_]
MOST = 100
"""Completions of an answer."""
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Query:
    """Limits on completions and on their tokens; None, and "": any.

    `problem`: in its id or question;  `text`: in the completion (both in any case);  `status`: of the verdict;
    `cut`: cut off at the limit.  Of tokens, at least one: `advantage_least` or more, `advantage_most` or less,
    `surprisal_least` or more;  `selected_least`: as many that learn. The answer begins with number `first`.
    """

    problem: str = ""
    text: str = ""
    status: str = ""
    cut: bool | None = None
    step_least: float | None = None
    step_most: float | None = None
    reward_least: float | None = None
    reward_most: float | None = None
    tokens_least: float | None = None
    advantage_least: float | None = None
    advantage_most: float | None = None
    surprisal_least: float | None = None
    selected_least: float | None = None
    first: int = 0
    most: int = MOST

    @classmethod
    def of(cls, words: Mapping[str, Sequence[str]]) -> "Query":
        """Return the query of a web address. Raises ConfigError for a word that it does not know, or no number."""
        known = {field.name: field.default for field in fields(cls)}
        values: dict[str, object] = {}
        for name, given in words.items():
            if name not in known:
                raise ConfigError(f"a search has nothing called {shown(name)}.")
            values[name] = _value(name, given[-1], known[name])
        query = cls(**values)  # type: ignore[arg-type]
        if query.first < 0 or not 0 < query.most <= MOST:
            raise ConfigError(f"first is at least 0, and most from 1 to {MOST}.")
        return query

    def mask(self, table: pa.Table) -> Mask:
        """Return which rows of an index are asked for. A number that is not known is within no limit."""
        mask = np.ones(len(table), dtype=np.bool_)
        for column, least, most in (
            ("step", self.step_least, self.step_most),
            ("reward", self.reward_least, self.reward_most),
            ("tokens", self.tokens_least, None),
            ("advantage_most", self.advantage_least, None),
            ("advantage_least", None, self.advantage_most),
            ("surprisal_most", self.surprisal_least, None),
            ("selected", self.selected_least, None),
        ):
            if least is not None or most is not None:
                values = table[column].to_numpy().astype(np.float64)
                mask &= values >= (-np.inf if least is None else least)
                mask &= values <= (np.inf if most is None else most)
        if self.cut is not None:
            mask &= table["cut"].to_numpy() == self.cut
        for column, part in (("asked", self.problem), ("lowered", self.text)):
            if part:
                mask &= _holds(table[column], part.lower())
        if self.status:
            mask &= pc.equal(table["status"], self.status).to_numpy()
        return mask


def _holds(column: pa.ChunkedArray, part: str) -> Mask:
    """Return which texts hold a part: a hundred thousand of them take a moment where all cores look.

    As an expression, because Arrow's search for a plain part looks at every byte, and that for an expression skips.
    """
    expression, count = re.escape(part), max(1, -(-len(column) // CORES))
    slices = [column.slice(first, count) for first in range(0, len(column), count)]
    with ThreadPoolExecutor(CORES) as pool:
        answers = pool.map(lambda texts: pc.match_substring_regex(texts, expression).to_numpy(), slices)
        return np.concatenate([np.zeros(0, dtype=np.bool_), *answers])


def _value(name: str, text: str, default: object) -> object:
    """Return the value of a word, of the kind that its default is."""
    if isinstance(default, str):
        return text
    if name == "cut":
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise ConfigError(f"{name} is {shown(text)}: it is a number.")
    return int(number) if isinstance(default, int) else number
