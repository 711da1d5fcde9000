"""Influence of steps from decoding itself: each decoded token's attention row is there, and is summed step by step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.engines.completions import Completions, Live
from creditree.engines.store import StorePlan
from creditree.models.transformer import Transformer
from creditree.signals import InfluenceSpec
from creditree.tree import FloatArray, IntArray


class StepSums:
    """Attention of rows to the steps of their own prefixes; step 0 is the prompt, of P tokens.

    `seen` [n]: whether all attention that counts was seen, for there to be a score;  `step` [n]: the step that the next
    token belongs to;  `step_of` [n, T]: that of each token so far;  `now`, `total` [layers, n, heads, S]: what the
    tokens of the present step, and the means of those before it, give to each step. Memory is O(layers heads S) a row.

    Steps end with tokens of the first level of separators: a completion without any has other steps, and is left to the
    pass, as is one whose tokens in a step from `delta` on were not decoded here (stored before, or in the context).
    """

    def __init__(self, completions: Completions, live: Live, spec: InfluenceSpec, transformer: Transformer) -> None:
        self._completions, self._spec = completions, spec
        vocabulary = transformer.vocab_size
        self._ends = np.zeros(vocabulary, dtype=np.bool_)
        for level in spec.separators.levels[:1]:
            self._ends[[token for token in level if token < vocabulary]] = True
        self._layers = frozenset(range(transformer.num_layers) if spec.layers is None else spec.layers)
        self._heads = list(range(transformer.num_heads) if spec.heads is None else spec.heads)
        count = len(live.slot)
        self.seen = np.zeros(count, dtype=np.bool_)
        self.step, self.prompt = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.step_of = np.zeros_like(live.read)
        for member, row in zip(live.which[::-1], live.row[::-1], strict=True):  # the first of a row is the last here
            if completions.observed[member]:
                self._begin(int(row), int(member))
        kind = torch.promote_types(transformer.dtype, torch.float32)
        shape = (len(self._layers), count, len(self._heads), int(self.step.max(initial=0)) + 1)
        self.now, self.total = (torch.zeros(shape, dtype=kind, device=transformer.device) for _ in range(2))
        self._place = {layer: place for place, layer in enumerate(sorted(self._layers))}

    @classmethod
    def of(cls, completions: Completions, live: Live, transformer: Transformer) -> "StepSums | None":
        """Return sums for these rows, or None where nobody wants them."""
        if completions.spec is None or not completions.observed[live.which].any():
            return None
        return cls(completions, live, completions.spec, transformer)

    def _begin(self, row: int, member: int) -> None:
        """Take the steps of a row's context; its own tokens were forwarded unseen, so they must count for nothing."""
        ids = self._completions.requests[self._completions.owner[member]].context_ids
        prompt = int(self._completions.prompt_tokens[member])
        own = self._ends[ids[prompt:]].astype(np.int64)
        before = 1 + np.cumsum(own) - own
        self.step_of[row, :prompt], self.step_of[row, prompt : len(ids)] = 0, before
        self.step[row], self.prompt[row] = 1 + int(own.sum()), prompt
        self.seen[row] = (int(before[-1]) if len(own) else 0) < self._spec.delta

    def wants(self, live: Live) -> NDArray[np.bool_]:
        """Return which members [m] need their last token forwarded as well, for its attention."""
        counts = self.seen & (self.step >= self._spec.delta)
        return self._mine(live) & counts[live.row]

    def _mine(self, live: Live) -> NDArray[np.bool_]:
        """Members that are observed, and mean the same prompt as the first one on their row."""
        completions = self._completions
        same: NDArray[np.bool_] = completions.prompt_tokens[live.which] == self.prompt[live.row]
        return completions.observed[live.which] & same

    def move(self, before: IntArray, live: Live, new: IntArray) -> None:
        """Follow rows to their new prefixes: row i of `live` was row before[i], and has one token more.

        Of these tokens those of rows `new` are forwarded now: the others are stored, so they are not seen.
        """
        self.keep(before)
        wider = live.read.shape[1] - self.step_of.shape[1]
        if wider:
            self.step_of = np.pad(self.step_of, ((0, 0), (0, wider)))
        self.step_of[np.arange(len(before)), live.length - 1] = self.step
        self.seen &= (self.step < self._spec.delta) | np.isin(np.arange(len(before)), new)

    def keep(self, rows: IntArray) -> None:
        """Keep these rows, in this order; a row may be taken more than once."""
        if np.array_equal(rows, np.arange(len(self.seen))):
            return
        self.seen, self.step, self.prompt = self.seen[rows], self.step[rows], self.prompt[rows]
        self.step_of = self.step_of[rows]
        where = torch.from_numpy(rows).to(self.now.device)
        self.now, self.total = self.now.index_select(1, where), self.total.index_select(1, where)

    def plan(self, plan: StorePlan, new: IntArray) -> "StorePlan | ObservedPlan":
        """Return `plan` for the rows `new`, one that sums their attention where it counts."""
        chosen = np.flatnonzero((self.seen & (self.step >= self._spec.delta))[new])
        if not len(chosen):
            return plan
        rows, device = new[chosen], self.now.device
        picked, places = (torch.from_numpy(indices).to(device) for indices in (chosen, rows))
        step_of = torch.from_numpy(self.step_of[rows, : plan.read.shape[1]]).to(device)
        return ObservedPlan(plan, self, picked, places, step_of)

    def add(self, layer: int, rows: Tensor, step_of: Tensor, share: Tensor) -> None:
        """Add attention rows [r, H, T] of a layer, whose keys are of steps [r, T]."""
        if layer not in self._layers:
            return
        chosen = share if len(self._heads) == share.shape[1] else share[:, self._heads]
        sums = torch.zeros(chosen.shape[:2] + self.now.shape[3:], dtype=self.now.dtype, device=self.now.device)
        sums.scatter_add_(2, step_of[:, None].expand(chosen.shape), chosen.to(sums.dtype))
        self.now[self._place[layer]].index_add_(0, rows, sums)

    def close(self, live: Live, token: IntArray) -> None:
        """End the step under way of the rows whose new token is a separator."""
        rows = np.flatnonzero(self._ends[token])
        if not len(rows):
            return
        if int(self.step[rows].max()) + 1 >= self.now.shape[3]:
            more = self.now.shape[3]
            self.now, self.total = (torch.nn.functional.pad(sums, (0, more)) for sums in (self.now, self.total))
        where = torch.from_numpy(rows).to(self.now.device)
        self.total.index_add_(1, where, self._means(live, rows))
        self.now.index_fill_(1, where, 0.0)
        self.step[rows] += 1

    def _means(self, live: Live, rows: IntArray) -> Tensor:
        """What the step under way gives, [layers, r, heads, S]: to the steps `delta` or more before it alone."""
        inside = np.arange(self.step_of.shape[1]) < live.length[rows, None]
        size = ((self.step_of[rows] == self.step[rows, None]) & inside).sum(axis=1)
        counts = np.arange(self.now.shape[3]) <= self.step[rows, None] - self._spec.delta
        scale = torch.from_numpy(counts / np.maximum(1, size)[:, None]).to(self.now)
        return self.now[:, torch.from_numpy(rows).to(self.now.device)] * scale[None, :, None]

    def finish(self, live: Live, ended: NDArray[np.bool_]) -> None:
        """Score the members of `live` that ended with the tokens of their rows."""
        ended = ended & self._mine(live) & self.seen[live.row] & (self.step[live.row] > 1)
        rows = np.unique(live.row[ended])
        if not len(rows):
            return
        taken = torch.from_numpy(rows).to(self.now.device)
        influence = (self.total[:, taken] + self._means(live, rows)).amax(dim=(0, 2)).double().cpu().numpy()
        completions = self._completions
        assert completions.influence is not None
        for row, sums in zip(rows, influence, strict=True):
            of_token = self.step_of[row, : live.length[row]]
            scores: FloatArray = sums / np.maximum(1, np.bincount(of_token, minlength=len(sums)))[: len(sums)]
            for member in live.which[ended & (live.row == row)]:
                drawn = int(completions.drawn[member])
                completions.influence[member, :drawn] = scores[of_token[len(of_token) - drawn :]]
                completions.scored[member] = True


@dataclass(frozen=True, eq=False, slots=True)
class ObservedPlan:
    """`plan`, with the attention of its rows `chosen` [r] summed: rows `rows` [r] of `sums`, keys of steps [r, T].

    The outputs are those of `plan` to the bit: what is drawn does not depend on who looks.
    """

    plan: StorePlan
    sums: StepSums
    chosen: Tensor
    rows: Tensor
    step_of: Tensor

    @property
    def write(self) -> Tensor:
        """Slots of this pass's tokens."""
        return self.plan.write

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [B, H, 1, D]."""
        out = self.plan.attend(layer, query, key, value, scaling)
        kind = self.sums.now.dtype
        keys, _ = self.plan.store.read(layer, self.plan.read[self.chosen], key.shape[1])
        count, heads, _, size = query[self.chosen].shape
        folded = query[self.chosen].to(kind).reshape(count, keys.shape[1], -1, size) * scaling
        scores = torch.matmul(folded, keys.to(kind).transpose(-1, -2))
        scores = scores.masked_fill(~self.plan.mask[self.chosen], -torch.inf)
        self.sums.add(layer, self.rows, self.step_of, torch.softmax(scores, dim=-1).view(count, heads, -1))
        return out
