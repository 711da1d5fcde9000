"""The in-process engine: samples from the very weights that learn, and computes each unique prefix once."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.decoder import Decoder, TorchDecoder
from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.influence import score
from creditree.engines.memory import AtOnce
from creditree.engines.native.decoder import Native
from creditree.engines.pulse import Heart, Told
from creditree.engines.requests import PREFILL_TOKENS, check_requests, no_distribution
from creditree.engines.static.decoder import StaticDecoder
from creditree.engines.static.record import Recorder
from creditree.engines.store import ROOT, PrefixStore
from creditree.errors import NonFiniteError
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.tree import IntArray


class InProcessEngine(Engine):
    """Decodes all requests of a call together, by native code where the model and the machine allow, else by torch.

    - A context is prefilled once, and only where its prefix is not stored: n completions share it, a fork reuses it.
    - Completions whose tokens are still identical stand on one row, decoded once; a row splits when they differ.
    - Finished rows leave the batch.

    `max_rows` completions are decoded together; `prefill_tokens` bounds one prefill pass (padding included);
    `keep_layer`: the layer whose inputs are kept for `trunk`; `native` False: torch even where native code would do;
    `static`: steps of fixed shapes where neither native code nor the model is in the way (None: on CUDA);
    `stored_tokens`: where more could be stored than these, what is stored is forgotten first (None: within `forget`s
    everything is kept).
    """

    def __init__(
        self,
        model: Model,
        max_rows: int = 512,
        prefill_tokens: int = PREFILL_TOKENS,
        keep_layer: int | None = None,
        native: bool = True,
        static: bool | None = None,
        stored_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.store = PrefixStore(model.transformer, keep_layer)
        self._at_once = AtOnce(max_rows, prefill_tokens, stored_tokens)
        self._torch = TorchDecoder(model, self.store, prefill_tokens)
        self._native = Native(model, self.store) if native else None
        static = model.transformer.device.type == "cuda" if static is None else static
        self._static = StaticDecoder(model, self.store, self._torch) if static else None
        self._warned = False

    @property
    def max_rows(self) -> int:
        """How many completions are decoded together."""
        return self._at_once.rows

    @property
    def recorder(self) -> Recorder | None:
        """Who records the steps of static decoding, and counts them; None where decoding is not static."""
        return None if self._static is None else self._static.recorder

    def forget(self) -> None:
        """Drop all stored keys and values."""
        self.store.clear()

    def trunk(self, handles: IntArray) -> Tensor | None:
        """Return the inputs of layer `keep_layer` for tokens, or None where any of them is not stored."""
        return self.store.trunk(handles)

    @torch.no_grad()
    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Return each request's samples in the order of its keys.

        Where memory runs out, fewer completions are decoded together, now and later. Raises DataError for a context
        that does not fit; NonFiniteError where logits are NaN or infinite, before any token is drawn from them: nothing
        is stored then; ModelError where one completion is too much for the memory.
        """
        if not requests:
            return [], Ledger()
        check_requests(self.model, requests)
        count = sum(len(request.keys) for request in requests)
        try:
            return self._at_once.fitting(count, lambda: self._sample(requests, sampling, told), self._give_back)
        except NonFiniteError:
            self.forget()
            raise no_distribution(self.model) from None

    def _give_back(self) -> int:
        """Free all that is stored, and return how many tokens it was."""
        stored = self.store.used
        self.store.release()
        if self._static is not None:
            self._static = StaticDecoder(self.model, self.store, self._torch)
        return stored

    def _sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None
    ) -> tuple[list[list[Sample]], Ledger]:
        decoder = self._decoder(max(len(request.context_ids) + request.max_new_tokens for request in requests))
        self._torch.prefill_tokens = self._at_once.prefill_tokens
        ledger = Ledger()
        flat = [(index, key) for index, request in enumerate(requests) for key in request.keys]
        samples: list[list[Sample]] = [[] for _ in requests]
        chunks = [flat[start : start + self.max_rows] for start in range(0, len(flat), self.max_rows)]
        positions = [max(requests[index].max_new_tokens for index, _ in chunk) for chunk in chunks]
        heart = Heart(len(flat), sum(positions), told)
        for chunk, longest in zip(chunks, positions, strict=True):
            completions = Completions(requests, chunk, sampling, heart)
            self._make_room(completions)
            live = self._prefill(decoder, completions, ledger, heart)
            completions.beat()
            decoder.decode(completions, live, ledger)
            if self._static is not None and decoder is self._torch:
                ledger.eager += int(completions.drawn.max()) - 1  # one step for each token after the first
            heart.ended(len(chunk), int(completions.drawn.sum()), longest)
            if completions.influence is not None:
                score(self.store, completions, self._at_once.prefill_tokens, ledger)
            for place, index in enumerate(completions.owner):
                samples[index].append(completions.sample(place, self.store.handles(completions.path(place))))
        return samples, ledger

    def _make_room(self, completions: Completions) -> None:
        """Forget what is stored where the limit could be passed: contexts that are needed are forwarded again."""
        most = self._at_once.stored_tokens
        if most is None:
            return
        contexts = [completions.requests[index].context_ids for index in np.unique(completions.owner)]
        tokens = sum({ids.tobytes(): len(ids) for ids in contexts}.values())
        if self.store.used + tokens + completions.slots_at_most > most:
            self.store.clear()

    def _decoder(self, positions: int = 1) -> Decoder:
        native = self._native.decoder(positions) if self._native else None
        if native is not None:
            return native
        if self._static is None:
            return self._torch
        reason = self._static.misfit()
        if reason is None:
            return self._static
        self._warn(reason)
        return self._torch

    def _warn(self, reason: str) -> None:
        """Say once that decoding is several times as slow as it could be."""
        if not self._warned:
            warnings.warn(
                f"the model is decoded kernel by kernel, which is several times as slow as by CUDA graphs, because "
                f"{reason}.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._warned = True

    def _prefill(self, decoder: Decoder, completions: Completions, ledger: Ledger, heart: Heart) -> Live:
        """Forward what is not stored of each context; return the first rows, one for each different context."""
        which, row, different = completions.first_rows()
        tokens = sum(len(ids) for ids in different)
        self.store.reserve(tokens, tokens + completions.slots_at_most)
        handles: dict[int, IntArray | None] = {}
        for member, place in zip(which, row, strict=True):
            handles.setdefault(int(place), completions.requests[completions.owner[member]].handles)
        contexts = [self._context(ids, handles[place]) for place, ids in enumerate(different)]
        for member, place in zip(which, row, strict=True):
            completions.context[member] = contexts[place].slots
        last = np.array([context.slots[-1] for context in contexts], dtype=np.int64)
        new = [contexts[place] for place in np.flatnonzero(~self.store.is_decoded(last))]
        if new:
            heart.reads(sum(context.new for context in new))
            decoder.prefill(new, heart.has_read)
        ledger.decoded += len(new)
        ledger.prefilled += sum(context.new for context in new)
        length = np.array([len(ids) for ids in different], dtype=np.int64)
        read = np.zeros((len(different), int(length.max()) + 16), dtype=np.int64)
        for place, context in enumerate(contexts):
            read[place, : length[place]] = context.slots
        return Live(which, row, last, read, length)

    def _context(self, token_ids: IntArray, handles: IntArray | None) -> Context:
        slots = [] if handles is None else self.store.known(handles, token_ids)
        slots += self.store.find(token_ids[len(slots) :], slots[-1] if slots else ROOT)
        stored = min(len(slots), len(token_ids) - 1)
        before = slots[-1] if slots else ROOT
        for token in token_ids[len(slots) :].tolist():
            before = self.store.slot(before, token)
            slots.append(before)
        return Context(token_ids, np.array(slots, dtype=np.int64), stored)
