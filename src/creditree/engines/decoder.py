"""What forwards tokens for the in-process engine: torch anywhere, native code where it can."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.draw import draw_into
from creditree.engines.step_sums import ObservedPlan, StepSums
from creditree.engines.store import PrefixStore, StorePlan
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.tree import IntArray

BoolArray = NDArray[np.bool_]


class Decoder(Protocol):
    """Forwards contexts into the store, and decodes completions from there to their ends."""

    def prefill(self, contexts: Sequence[Context], read: Callable[[int], None] | None = None) -> None:
        """Store keys, values and last hidden states of the contexts' new tokens; earlier contexts come first.

        `read` is told how many tokens were forwarded, pass by pass.
        """
        ...

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw every completion to its end, with a beat (`Completions.beat`) now and then. Adds to `ledger.decoded`."""
        ...


class TorchDecoder:
    """Decodes with torch operations, on any device and for any model that `Transformer` takes.

    `prefill_tokens` bounds one prefill pass (padding included).
    """

    def __init__(self, model: Model, store: PrefixStore, prefill_tokens: int) -> None:
        self.model = model
        self.store = store
        self.prefill_tokens = prefill_tokens

    def prefill(self, contexts: Sequence[Context], read: Callable[[int], None] | None = None) -> None:
        """Forward the new tokens of contexts of any lengths, padded to a pass."""
        for start, stop in self._passes([context.new for context in contexts]):
            self._pass(contexts[start:stop])
            if read is not None:
                read(sum(context.new for context in contexts[start:stop]))

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw a token for each completion, split the rows that differ, forward each new prefix once; until all end."""
        sums = StepSums.of(completions, live, self.model.transformer)
        step = 0
        while len(live.which):
            tokens = self._draw(completions, live, step)
            step += 1
            stopped = np.isin(tokens, self.model.eos_ids)
            completions.stopped[live.which] = stopped
            completions.beat()
            going = ~stopped & (step < completions.budget[live.which])
            left = int((completions.budget[live.which] - step)[going].sum())
            if sums is None:
                self.store.reserve(int(going.sum()), left)
                live, _, token = self._split(completions, live, tokens, going)
                ledger.decoded += self._decode(live, token, self._new(live), None)
                continue
            last = ~going & sums.wants(live)
            self.store.reserve(int((going | last).sum()), left + int(last.sum()))
            live = self._observed(completions, live, tokens, going, last, sums, ledger)

    def _passes(self, new: Sequence[int]) -> Iterator[tuple[int, int]]:
        start = 0
        for stop in range(1, len(new) + 1):
            full = stop < len(new) and max(new[start : stop + 1]) * (stop + 1 - start) > self.prefill_tokens
            if full or stop == len(new):
                yield start, stop
                start = stop

    def _pass(self, contexts: Sequence[Context]) -> None:
        width = max(context.new for context in contexts)
        longest = max(len(context.token_ids) for context in contexts)
        ids, write, position = (np.zeros((len(contexts), width), dtype=np.int64) for _ in range(3))
        read = np.zeros((len(contexts), longest), dtype=np.int64)
        for place, context in enumerate(contexts):
            ids[place, : context.new] = context.token_ids[context.stored :]
            write[place, : context.new] = context.slots[context.stored :]
            position[place] = np.minimum(context.stored + np.arange(width), longest - 1)
            read[place, : len(context.slots)] = context.slots
        device = self.model.transformer.device
        where, positions, slots = (torch.from_numpy(array).to(device) for array in (write, position, read))
        mask = torch.arange(longest, device=device) <= positions[:, :, None]
        plan = StorePlan(self.store, where, slots, mask[:, None])
        hidden = self._forward(torch.from_numpy(ids).to(device), positions, plan)
        last = torch.tensor([context.new - 1 for context in contexts], device=device)
        ends = np.array([context.slots[-1] for context in contexts], dtype=np.int64)
        self.store.keep_hidden(ends, hidden[torch.arange(len(contexts), device=device), last])

    def _draw(self, completions: Completions, live: Live, step: int) -> IntArray:
        transformer = self.model.transformer
        logits = transformer.logits(transformer.norm(self.store.hidden(live.slot)))
        return draw_into(completions, live.which, live.row, logits, step)

    def _observed(
        self,
        completions: Completions,
        live: Live,
        tokens: IntArray,
        going: BoolArray,
        last: BoolArray,
        sums: StepSums,
        ledger: Ledger,
    ) -> Live:
        """Advance, the `last` tokens of completions too, and sum attention; return the completions that go on."""
        ended = live.which[last]
        live, before, token = self._split(completions, live, tokens, going | last)
        new = self._new(live)
        sums.move(before, live, new)
        over = np.isin(live.which, ended)
        rows, row = np.unique(live.row[~over], return_inverse=True)
        # apart from each other, so that those that go on are computed as if nobody looked
        ledger.decoded += self._decode(live, token, np.intersect1d(new, rows), sums)
        ledger.influence_tokens += self._decode(live, token, np.setdiff1d(new, rows), sums)
        sums.close(live, token)
        sums.finish(live, over)
        sums.keep(rows)
        return Live(live.which[~over], row, live.slot[rows], live.read[rows], live.length[rows])

    def _new(self, live: Live) -> IntArray:
        """Return the rows whose last slot is not decoded yet."""
        return np.flatnonzero(~self.store.is_decoded(live.slot))

    def _split(
        self, completions: Completions, live: Live, tokens: IntArray, going: BoolArray
    ) -> tuple[Live, IntArray, IntArray]:
        """Move the completions that go on to the rows of their new prefixes, and append a slot to each row.

        Return them, and for each row the one that it was before and its new token.
        """
        vocabulary = self.model.transformer.vocab_size
        prefix, row = np.unique(live.row[going] * vocabulary + tokens[going], return_inverse=True)
        before, token = np.divmod(prefix, vocabulary)
        length = live.length[before]
        read = live.read[before]
        if len(length) and int(length.max()) == read.shape[1]:
            read = np.pad(read, ((0, 0), (0, 16)))
        slots = np.array(
            [self.store.slot(int(slot), int(t)) for slot, t in zip(live.slot[before], token, strict=True)],
            dtype=np.int64,
        )
        read[np.arange(len(length)), length] = slots
        which = live.which[going]
        completions.slots[which, completions.drawn[which] - 1] = slots[row]
        order = np.argsort(row, kind="stable")
        grown = Live(which[order], row[order], slots, read, length + 1)
        return grown, before, token

    def _decode(self, live: Live, token: IntArray, new: IntArray, sums: StepSums | None) -> int:
        """Forward the rows `new`; return how many."""
        if not len(new):
            return 0
        device = self.model.transformer.device
        longest = int(live.length[new].max())
        length = torch.from_numpy(live.length[new]).to(device)
        read = torch.from_numpy(live.read[new, :longest]).to(device)
        mask = (torch.arange(longest, device=device) < length[:, None])[:, None, None, :]
        plain = StorePlan(self.store, read.gather(1, (length - 1)[:, None]), read, mask)
        plan = plain if sums is None else sums.plan(plain, new)
        ids = torch.from_numpy(token[new]).to(device)[:, None]
        self.store.keep_hidden(live.slot[new], self._forward(ids, (length - 1)[:, None], plan)[:, 0])
        return len(new)

    def _forward(self, ids: Tensor, positions: Tensor, plan: StorePlan | ObservedPlan) -> Tensor:
        transformer = self.model.transformer
        hidden = transformer.embed(ids)
        rope = transformer.rope(hidden, positions)
        keep = self.store.keep_layer
        if keep is not None:
            hidden = transformer.layers(hidden, rope, plan, 0, keep)
            self.store.keep_trunk(plan.write.reshape(-1), hidden.reshape(-1, hidden.shape[-1]))
        return transformer.layers(hidden, rope, plan, keep or 0)
