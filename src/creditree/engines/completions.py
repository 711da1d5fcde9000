"""The completions of one engine call, as arrays: what was asked, and what has been drawn so far."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.pulse import Heart
from creditree.rng import Key
from creditree.signals import InfluenceSpec
from creditree.step_attention import StepAttention
from creditree.tree import NO_TOKENS, IntArray, token_array


class Completions:
    """Completions sampled together, [m] of at most `longest` tokens.

    `owner` [m]: index of each one's request;  `budget` [m]: tokens at most;  `uniform` [m, longest]: its random
    numbers;  `tokens`, `logprobs`, `sampler_logprobs`, `entropies`, `influence` [m, longest]: filled up to `drawn` [m].

    `context` [m]: of each one's context the slots in the store;  `slots` [m, longest]: of its tokens; the root's where
    a token was not forwarded, as the last one of a completion.

    `observed` [m]: whose attention a decoder may sum while it decodes, for `spec`, if it can;  `scored` [m]: whose
    `influence` is there. Whoever fills the rest reads `prompt_tokens` [m], and may fill `attention`, by completion, of
    those that are the first of all below their prompt (`begins` [m]).
    """

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        members: Sequence[tuple[int, Key]],
        sampling: Sampling,
        heart: Heart | None = None,
    ) -> None:
        self.requests = requests
        self._heart = heart
        self.owner = np.array([index for index, _ in members], dtype=np.int64)
        owners = [requests[index] for index in self.owner]
        entropies = sampling.entropies or any(request.signals.entropies for request in owners)
        self.sampling = replace(sampling, entropies=entropies)
        self._every_entropy = sampling.entropies
        self.budget = np.array([requests[index].max_new_tokens for index, _ in members], dtype=np.int64)
        shape = (len(members), int(self.budget.max()))
        self.uniform = np.zeros(shape)
        for row, (index, key) in zip(self.uniform, members, strict=True):
            row[: requests[index].max_new_tokens] = key.uniforms(requests[index].max_new_tokens)
        self.tokens = np.zeros(shape, dtype=np.int64)
        self.slots = np.zeros(shape, dtype=np.int64)
        self.context: list[IntArray] = [NO_TOKENS] * len(members)
        self.logprobs, self.sampler_logprobs = np.zeros(shape), np.zeros(shape)
        self.entropies = np.zeros(shape) if entropies else None
        self.prompt_tokens = np.array([request.prompt_length for request in owners], dtype=np.int64)
        specs = [request.signals.influence for request in owners]
        self.influence = None if all(spec is None for spec in specs) else np.zeros(shape)
        # one sum of attention for all: another spec in the same call is left to the pass
        self.spec: InfluenceSpec | None = next((s for s in specs if s is not None and s.source == "decoding"), None)
        self.observed = np.array([spec is not None and spec == self.spec for spec in specs], dtype=np.bool_)
        self.begins = [
            key == request.keys[0] and len(request.context_ids) == request.prompt_length
            for request, (_, key) in zip(owners, members, strict=True)
        ]
        self.attention: dict[int, StepAttention] = {}
        self.scored = np.zeros(len(members), dtype=np.bool_)
        self.drawn = np.zeros(len(members), dtype=np.int64)
        self.stopped = np.zeros(len(members), dtype=np.bool_)

    def __len__(self) -> int:
        """How many completions there are."""
        return len(self.owner)

    def beat(self, *counts: int) -> None:
        """Tell how far they are drawn, if anybody listens; decoders call it at every position, or every moment.

        `counts`: ended completions, tokens, and the position, where a decoder keeps them elsewhere while it runs.
        """
        if self._heart is not None and self._heart.listens:
            ended = self.stopped | (self.drawn >= self.budget)
            self._heart.drew(*(counts or (int(ended.sum()), int(self.drawn.sum()), int(self.drawn.max()))))

    @property
    def slots_at_most(self) -> int:
        """Different prefixes that drawing them can lead to."""
        return int(self.budget.sum())

    def first_rows(self) -> tuple[IntArray, IntArray, list[IntArray]]:
        """Return the completions [m], the rows [m] that they begin on, ascending, and the different contexts of these.

        A completion's row is that of its context, in the order in which contexts come up.
        """
        places: dict[bytes, int] = {}
        contexts: list[IntArray] = []
        row = np.zeros(len(self), dtype=np.int64)
        for member, index in enumerate(self.owner):
            ids = self.requests[index].context_ids
            row[member] = places.setdefault(ids.tobytes(), len(contexts))
            if row[member] == len(contexts):
                contexts.append(ids)
        which = np.argsort(row, kind="stable")
        return which, row[which], contexts

    def path(self, index: int) -> IntArray:
        """Return the slots of a completion and its context; empty where no store has any."""
        own = self.slots[index, : self.drawn[index]]
        return np.concatenate([self.context[index], own]) if len(self.context[index]) else NO_TOKENS

    def sample(self, index: int, handles: IntArray | None = None) -> Sample:
        """Return one finished completion, with the engine's handles of its path."""
        stop = int(self.drawn[index])
        signals = self.requests[self.owner[index]].signals
        entropies = self.entropies if self._every_entropy or signals.entropies else None
        influence = None if signals.influence is None else self.influence
        return Sample(
            token_ids=token_array(self.tokens[index, :stop]),
            logprobs=self.logprobs[index, :stop].copy(),
            sampler_logprobs=self.sampler_logprobs[index, :stop].copy(),
            finish_reason="stop" if self.stopped[index] else "length",
            entropies=None if entropies is None else entropies[index, :stop].copy(),
            influence=None if influence is None else influence[index, :stop].copy(),
            attention=self.attention.get(index),
            handles=handles,
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
