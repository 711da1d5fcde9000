"""The completions of one engine call, as arrays: what was asked, and what has been drawn so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.rng import Key
from creditree.tree import IntArray, token_array


class Completions:
    """Completions sampled together, [m] of at most `longest` tokens.

    `owner` [m]: index of each one's request;  `budget` [m]: tokens at most;  `uniform` [m, longest]: its random
    numbers;  `tokens`, `logprobs`, `sampler_logprobs`, `entropies` [m, longest]: filled up to `drawn` [m].
    """

    def __init__(
        self, requests: Sequence[SampleRequest], members: Sequence[tuple[int, Key]], sampling: Sampling
    ) -> None:
        self.requests = requests
        self.sampling = sampling
        self.owner = np.array([index for index, _ in members], dtype=np.int64)
        self.budget = np.array([requests[index].max_new_tokens for index, _ in members], dtype=np.int64)
        shape = (len(members), int(self.budget.max()))
        self.uniform = np.zeros(shape)
        for row, (index, key) in zip(self.uniform, members, strict=True):
            row[: requests[index].max_new_tokens] = key.uniforms(requests[index].max_new_tokens)
        self.tokens = np.zeros(shape, dtype=np.int64)
        self.logprobs, self.sampler_logprobs = np.zeros(shape), np.zeros(shape)
        self.entropies = np.zeros(shape) if sampling.entropies else None
        self.drawn = np.zeros(len(members), dtype=np.int64)
        self.stopped = np.zeros(len(members), dtype=np.bool_)

    def __len__(self) -> int:
        """How many completions there are."""
        return len(self.owner)

    @property
    def slots_at_most(self) -> int:
        """Different prefixes that drawing them can lead to."""
        return int(self.budget.sum())

    def sample(self, index: int) -> Sample:
        """Return one finished completion."""
        stop = int(self.drawn[index])
        return Sample(
            token_ids=token_array(self.tokens[index, :stop]),
            logprobs=self.logprobs[index, :stop].copy(),
            sampler_logprobs=self.sampler_logprobs[index, :stop].copy(),
            finish_reason="stop" if self.stopped[index] else "length",
            entropies=None if self.entropies is None else self.entropies[index, :stop].copy(),
        )


@dataclass(slots=True)
class Live:
    """Completions still being sampled, as parallel arrays [m]; the rows [n] they stand on are unique prefixes.

    `which` [m]: index among all completions;  `row` [m], ascending;  `slot` [n]: of each row's last token;
    `read` [n, T]: slots of all its tokens, padded with the root;  `length` [n].
    """

    which: IntArray
    row: IntArray
    slot: IntArray
    read: IntArray
    length: IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    """Tokens to continue: the first `stored` of its `slots` hold their keys and values already."""

    token_ids: IntArray
    slots: IntArray
    stored: int

    @property
    def new(self) -> int:
        """Tokens to forward."""
        return len(self.token_ids) - self.stored
