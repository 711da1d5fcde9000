"""Sampling by a model's own forward pass: any causal language model of transformers, correctly if more slowly."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions
from creditree.engines.draw import draw_into
from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.influence import Wanted, mapped, score_by
from creditree.engines.memory import AtOnce
from creditree.engines.pulse import Heart, Told
from creditree.engines.requests import PREFILL_TOKENS, check_requests, no_distribution
from creditree.errors import NonFiniteError
from creditree.ledger import Ledger
from creditree.models.influence import StepScores, influence_of_whole
from creditree.models.load import Model
from creditree.models.whole import WholeModel, moved
from creditree.rng import Key
from creditree.signals import InfluenceSpec
from creditree.tree import IntArray

ATTENTION_BYTES = 1 << 28
"""Attention weights of all layers that are held at once, to be summed; or those of one completion."""
Member = tuple[int, Key]
"""A completion: the index of its request, and its key."""


def engine_for(
    model: Model, max_rows: int = 512, keep_layer: int | None = None, stored_tokens: int | None = None
) -> "InProcessEngine | WholeEngine":
    """Return the engine that samples from a model in this process, in the way in which it is run."""
    if model.whole is not None:
        return WholeEngine(model, model.whole, max_rows)
    return InProcessEngine(model, max_rows, keep_layer=keep_layer, stored_tokens=stored_tokens)


class WholeEngine(Engine):
    """Decodes by `WholeModel`: rows that are padded before their first token, and a cache whose rows are copied.

    Different contexts of a batch are forwarded once each, whole: nothing is kept between calls. Completions whose
    tokens are still identical stand on one row, and finished rows leave, as in `InProcessEngine`. `max_rows`
    completions are decoded together, fewer where their contexts, padding included, are more than `prefill_tokens`.
    """

    def __init__(
        self, model: Model, network: WholeModel, max_rows: int = 512, prefill_tokens: int = PREFILL_TOKENS
    ) -> None:
        self.model = model
        self._network = network
        self._at_once = AtOnce(max_rows, prefill_tokens)

    @property
    def max_rows(self) -> int:
        """How many completions are decoded together."""
        return self._at_once.rows

    def forget(self) -> None:
        """Do nothing: nothing is stored between calls."""

    def trunk(self, handles: IntArray) -> Tensor | None:
        """Return None: no inputs of a layer are stored."""
        return None

    @torch.no_grad()
    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Return each request's samples in the order of its keys.

        Where memory runs out, fewer completions are decoded together, now and later. Raises DataError for a context
        that does not fit; NonFiniteError where logits are NaN or infinite; ModelError where one completion is too much
        for the memory.
        """
        check_requests(self.model, requests)
        count = sum(len(request.keys) for request in requests)
        return self._at_once.fitting(count, lambda: self._sample(requests, sampling, told), lambda: 0)

    def _sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None
    ) -> tuple[list[list[Sample]], Ledger]:
        ledger, samples = Ledger(), list[list[Sample]]([] for _ in requests)
        batches = list(self._batches(requests))
        positions = [max(requests[index].max_new_tokens for index, _ in members) for members in batches]
        heart = Heart(sum(map(len, batches)), sum(positions), told)
        for members, longest in zip(batches, positions, strict=True):
            completions = Completions(requests, members, sampling, heart)
            try:
                self._decode(completions, ledger, heart)
            except NonFiniteError:
                raise no_distribution(self.model) from None
            heart.ended(len(members), int(completions.drawn.sum()), longest)
            if completions.influence is not None:
                self._score(completions, ledger)
            for place, index in enumerate(completions.owner):
                samples[index].append(completions.sample(place))
        return samples, ledger

    def _batches(self, requests: Sequence[SampleRequest]) -> Iterator[list[Member]]:
        """Yield the completions that are decoded together: of contexts of about the same length, or the same."""
        members: list[Member] = []
        contexts: set[bytes] = set()
        shortest = 0
        for index in sorted(range(len(requests)), key=lambda index: len(requests[index].context_ids)):
            context = requests[index].context_ids
            for key in requests[index].keys:
                now = contexts | {context.tobytes()}
                full = len(members) == self.max_rows or len(now) * len(context) > self._at_once.prefill_tokens
                if members and (full or (len(context) > shortest and not self._network.pads)):
                    yield members
                    members, now = [], {context.tobytes()}
                shortest = shortest if members else len(context)
                members.append((index, key))
                contexts = now
        if members:
            yield members

    def _decode(self, completions: Completions, ledger: Ledger, heart: Heart) -> None:
        """Draw a token for each completion, split the rows that differ, forward each new prefix once; until all end."""
        which, row, contexts = completions.first_rows()
        tokens_read = sum(map(len, contexts))
        heart.reads(tokens_read)
        logits, mask, cache = self._network.begin(contexts)
        heart.has_read(tokens_read)
        completions.beat()
        ledger.decoded += len(contexts)
        ledger.prefilled += tokens_read
        step = 0
        while True:
            tokens = draw_into(completions, which, row, logits, step)
            step += 1
            stopped = np.isin(tokens, self.model.eos_ids)
            completions.stopped[which] = stopped
            completions.beat()
            going = ~stopped & (step < completions.budget[which])
            if not going.any():
                return
            before, token, which, row = self._split(which[going], row[going], tokens[going])
            mask = moved(mask, cache, torch.from_numpy(before).to(mask.device))
            ledger.decoded += len(token)
            logits = self._network.go_on(torch.from_numpy(token).to(mask.device), mask, cache)

    def _split(self, which: IntArray, row: IntArray, tokens: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Return of each new prefix the row before it and its last token, then the completions and their new rows."""
        vocabulary = self._network.vocab_size
        prefix, place = np.unique(row * vocabulary + tokens, return_inverse=True)
        before, token = np.divmod(prefix, vocabulary)
        order = np.argsort(place, kind="stable")
        return before, token, which[order], place[order]

    def _score(self, completions: Completions, ledger: Ledger) -> None:
        network = self._network
        item = max(4, network.dtype.itemsize)

        def scored(wanted: Sequence[Wanted], spec: InfluenceSpec) -> Sequence[StepScores]:
            ids = [completion.token_ids for completion in wanted]
            ledger.influence_tokens += sum(map(len, ids))
            return influence_of_whole(network, ids, [completion.steps for completion in wanted], spec, mapped(wanted))

        of_one = network.num_layers * network.num_heads * item
        score_by(scored, completions, lambda longest: ATTENTION_BYTES // (of_one * longest**2))
