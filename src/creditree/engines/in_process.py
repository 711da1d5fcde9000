"""The in-process engine: samples from the very weights that learn, and computes each unique prefix once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.engines.draw import draw
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.store import PrefixStore, StorePlan
from creditree.errors import DataError
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.tree import FloatArray, IntArray, token_array


@dataclass(slots=True)
class _Live:
    """Completions still being sampled, as parallel arrays [m]; the rows [n] they stand on are unique prefixes.

    `which` [m]: index among all completions of the call;  `row` [m], ascending;  `slot` [n]: of each row's last token;
    `read` [n, T]: slots of all its tokens, padded with slot 0;  `length` [n].
    """

    which: IntArray
    row: IntArray
    slot: IntArray
    read: Tensor
    length: IntArray


class InProcessEngine:
    """Decodes with the transformers model, all requests of a call together.

    - A context is prefilled once, and only where its prefix is not stored: n completions share it, a fork reuses it.
    - Completions whose tokens are still identical stand on one row, decoded once; a row splits when they differ.
    - Finished rows leave the batch.

    `max_rows` completions are decoded together; `prefill_tokens` bounds one prefill pass (padding included).
    """

    def __init__(self, model: Model, max_rows: int = 512, prefill_tokens: int = 8192) -> None:
        self.model = model
        self.store = PrefixStore(model.transformer)
        self._max_rows = max_rows
        self.prefill_tokens = prefill_tokens

    @property
    def max_rows(self) -> int:
        """How many completions are decoded together."""
        return self._max_rows

    def forget(self) -> None:
        """Drop all stored keys and values."""
        self.store.clear()

    @torch.no_grad()
    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> tuple[list[list[Sample]], Ledger]:
        """Return each request's samples in the order of its keys. Raises DataError for a context that does not fit."""
        self._check(requests)
        ledger = Ledger()
        flat = [(index, key) for index, request in enumerate(requests) for key in request.keys]
        found: list[list[Sample]] = [[] for _ in requests]
        for start in range(0, len(flat), self.max_rows):
            chunk = flat[start : start + self.max_rows]
            uniforms = [key.uniforms(requests[index].max_new_tokens) for index, key in chunk]
            samples = _Decoding(self, requests, [index for index, _ in chunk], uniforms, sampling, ledger).run()
            for (index, _), sample in zip(chunk, samples, strict=True):
                found[index].append(sample)
        return found, ledger

    def _check(self, requests: Sequence[SampleRequest]) -> None:
        limit = self.model.transformer.max_positions
        for request in requests:
            if len(request.context_ids) + request.max_new_tokens > limit:
                raise DataError(
                    f"a prompt of {len(request.context_ids)} tokens and {request.max_new_tokens} new ones exceed the "
                    f"context of {limit} tokens of model '{self.model.name}'; shorten the prompt or lower "
                    "sampling.max_new_tokens."
                )


class _Decoding:
    """One batch of completions, from prefill to the last token."""

    def __init__(
        self,
        engine: InProcessEngine,
        requests: Sequence[SampleRequest],
        owner: list[int],
        uniforms: list[FloatArray],
        sampling: Sampling,
        ledger: Ledger,
    ) -> None:
        self.model = engine.model
        self.store = engine.store
        self.prefill_tokens = engine.prefill_tokens
        self.requests = requests
        self.owner = np.array(owner, dtype=np.int64)
        self.budget = np.array([requests[index].max_new_tokens for index in owner], dtype=np.int64)
        self.sampling = sampling
        self.ledger = ledger
        longest = int(self.budget.max())
        self.uniform = np.zeros((len(owner), longest))
        for row, numbers in zip(self.uniform, uniforms, strict=True):
            row[: len(numbers)] = numbers
        shape = (len(owner), longest)
        self.tokens = np.zeros(shape, dtype=np.int64)
        self.logprobs, self.sampler_logprobs = np.zeros(shape), np.zeros(shape)
        self.entropies = np.zeros(shape) if sampling.entropies else None
        self.drawn = np.zeros(len(owner), dtype=np.int64)
        self.stopped = np.zeros(len(owner), dtype=np.bool_)

    def run(self) -> list[Sample]:
        live = self._prefill()
        step = 0
        while len(live.which):
            tokens = self._draw(live, step)
            step += 1
            stopped = tokens == self.model.eos_id
            self.stopped[live.which] = stopped
            live = self._advance(live, tokens, ~stopped & (step < self.budget[live.which]))
        return [self._sample(index) for index in range(len(self.owner))]

    def _draw(self, live: _Live, step: int) -> IntArray:
        transformer = self.model.transformer
        logits = transformer.logits(transformer.norm(self.store.hidden(live.slot)))
        device = logits.device
        row = torch.from_numpy(live.row).to(device)
        drawn = draw(logits, row, torch.from_numpy(self.uniform[live.which, step]).to(device), self.sampling)
        tokens = np.asarray(drawn.token.cpu().numpy(), dtype=np.int64)
        self.tokens[live.which, step] = tokens
        self.logprobs[live.which, step] = drawn.logprob.double().cpu().numpy()
        self.sampler_logprobs[live.which, step] = drawn.sampler_logprob.double().cpu().numpy()
        if self.entropies is not None and drawn.entropy is not None:
            self.entropies[live.which, step] = drawn.entropy.double().cpu().numpy()[live.row]
        self.drawn[live.which] = step + 1
        return tokens

    def _advance(self, live: _Live, tokens: IntArray, going: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Live:
        """Move the completions that go on to the rows of their new prefixes, and append a slot to each row."""
        vocabulary = self.model.transformer.vocab_size
        prefix, row = np.unique(live.row[going] * vocabulary + tokens[going], return_inverse=True)
        before, token = np.divmod(prefix, vocabulary)
        length = live.length[before]
        device = live.read.device
        read = live.read.index_select(0, torch.from_numpy(before).to(device))
        if len(length) and int(length.max()) == read.shape[1]:
            read = torch.nn.functional.pad(read, (0, 16))
        slots = [self.store.slot(int(slot), int(t)) for slot, t in zip(live.slot[before], token, strict=True)]
        read[torch.arange(len(length)), torch.from_numpy(length)] = torch.tensor(
            slots, dtype=torch.int64, device=device
        )
        order = np.argsort(row, kind="stable")
        self.store.reserve()
        self._decode(np.array(slots, dtype=np.int64), token, read, length + 1)
        return _Live(live.which[going][order], row[order], np.array(slots, dtype=np.int64), read, length + 1)

    def _decode(self, slots: IntArray, token: IntArray, read: Tensor, lengths: IntArray) -> None:
        """Forward the rows whose last slot is not decoded yet."""
        new = np.flatnonzero(~self.store.is_decoded(slots))
        if len(new) == 0:
            return
        device = read.device
        length = torch.from_numpy(lengths[new]).to(device)
        read = read.index_select(0, torch.from_numpy(new).to(device))[:, : int(lengths[new].max())]
        mask = (torch.arange(read.shape[1], device=device) < length[:, None])[:, None, None, :]
        plan = StorePlan(self.store, read.gather(1, (length - 1)[:, None]), read, mask)
        ids = torch.from_numpy(token[new]).to(device)[:, None]
        self.store.keep_hidden(slots[new], self._forward(ids, (length - 1)[:, None], plan)[:, 0])
        self.ledger.decoded += len(new)

    def _forward(self, ids: Tensor, positions: Tensor, plan: StorePlan) -> Tensor:
        transformer = self.model.transformer
        hidden = transformer.embed(ids)
        return transformer.layers(hidden, transformer.rope(hidden, positions), plan)

    def _prefill(self) -> _Live:
        """Forward what is not stored of each context; return the first rows, one for each different context."""
        contexts: dict[bytes, tuple[int, IntArray]] = {}
        for index in np.unique(self.owner):
            ids = self.requests[index].context_ids
            contexts.setdefault(ids.tobytes(), (len(contexts), ids))
        row = np.array(
            [contexts[self.requests[index].context_ids.tobytes()][0] for index in self.owner], dtype=np.int64
        )
        order = np.argsort(row, kind="stable")
        lengths = np.array([len(ids) for _, ids in contexts.values()], dtype=np.int64)
        read = torch.zeros(len(contexts), int(lengths.max()) + 16, dtype=torch.int64)
        stored, last = np.zeros(len(contexts), dtype=np.int64), np.zeros(len(contexts), dtype=np.int64)
        for place, ids in contexts.values():
            slots = self.store.find(ids)
            stored[place] = min(len(slots), len(ids) - 1)
            for token in ids[len(slots) :].tolist():
                slots.append(self.store.slot(slots[-1] if slots else None, token))
            read[place, : len(slots)] = torch.tensor(slots)
            last[place] = slots[-1]
        self.store.reserve()
        read = read.to(self.model.transformer.device)
        new = np.flatnonzero(~self.store.is_decoded(last))
        ids_of = [ids for _, ids in contexts.values()]
        for piece in self._pieces((lengths - stored)[new]):
            rows = new[piece]
            hidden = self._prefill_rows([ids_of[place] for place in rows], read[rows], lengths[rows], stored[rows])
            self.store.keep_hidden(last[rows], hidden)
        self.ledger.decoded += len(new)
        self.ledger.prefilled += int((lengths - stored)[new].sum())
        return _Live(order, row[order], last, read, lengths)

    def _pieces(self, new: IntArray) -> Iterator[IntArray]:
        """Split the contexts, in order, into passes of at most `prefill_tokens`, padding included."""
        start = 0
        for stop in range(1, len(new) + 1):
            full = stop < len(new) and int(new[start : stop + 1].max()) * (stop + 1 - start) > self.prefill_tokens
            if full or stop == len(new):
                yield np.arange(start, stop)
                start = stop

    def _prefill_rows(self, contexts: list[IntArray], read: Tensor, lengths: IntArray, stored: IntArray) -> Tensor:
        device = read.device
        new = torch.from_numpy(lengths - stored).to(device)
        width, longest = int(new.max()), int(lengths.max())
        query = torch.arange(width, device=device)
        positions = torch.from_numpy(stored).to(device)[:, None] + query
        real = query < new[:, None]
        ids = torch.zeros(len(contexts), width, dtype=torch.int64)
        for place, (context, start) in enumerate(zip(contexts, stored, strict=True)):
            ids[place, : len(context) - start] = torch.tensor(context[start:])
        write = read.gather(1, positions.clamp(max=longest - 1)) * real
        mask = torch.arange(longest, device=device) <= positions[:, :, None]
        plan = StorePlan(self.store, write, read[:, :longest], mask[:, None])
        hidden = self._forward(ids.to(device), positions.clamp(max=longest - 1), plan)
        return hidden[torch.arange(len(contexts), device=device), new - 1]

    def _sample(self, index: int) -> Sample:
        stop = int(self.drawn[index])
        return Sample(
            token_ids=token_array(self.tokens[index, :stop]),
            logprobs=self.logprobs[index, :stop].copy(),
            sampler_logprobs=self.sampler_logprobs[index, :stop].copy(),
            finish_reason="stop" if self.stopped[index] else "length",
            entropies=None if self.entropies is None else self.entropies[index, :stop].copy(),
        )
