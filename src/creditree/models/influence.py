"""Forward context influence (FCI) of the steps of sequences, by streaming column sums: no T x T matrix is ever held."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.errors import ConfigError
from creditree.models.network import Network
from creditree.models.step_maps import StepMaps
from creditree.models.transformer import Transformer
from creditree.models.whole import WholeModel
from creditree.signals import InfluenceSpec
from creditree.steps import Step
from creditree.tree import FloatArray, IntArray

Past = Callable[[int, int], tuple[Tensor, Tensor]]
"""Keys and values [N, H_kv, first, D] of the tokens before those of a pass, for (layer, H_kv)."""

BLOCK_BYTES = 8 << 20
"""Scores held at once; their softmax takes as much again."""


@dataclass(frozen=True, eq=False, slots=True)
class StepTable:
    """The steps of N sequences, padded to T tokens; step 0 is the prompt.

    `step` [N, T]: which of at most K steps holds each token (padding: K);  `size` [N, K + 1]: tokens of each, at least
    1;  `weight` [N, T]: 1 / |step| (padding: 0);  `reach` [N, T]: a query counts for so many first tokens, those of the
    steps that lie `delta` or more before its own, and not after itself;  `least`, `most` [T]: the range of `reach` over
    the sequences that have such a token.
    """

    step: Tensor
    size: Tensor
    weight: Tensor
    reach: Tensor
    least: list[int]
    most: list[int]
    delta: int

    @classmethod
    def of(cls, steps: Sequence[Sequence[Step]], delta: int, device: torch.device, dtype: torch.dtype) -> "StepTable":
        """Lay out the steps [start, stop) that tile each sequence."""
        count, longest = len(steps), max(step[-1][1] for step in steps)
        last = max(map(len, steps))
        step, size = np.full((count, longest), last, dtype=np.int64), np.ones((count, last + 1))
        weight, reach = np.zeros((count, longest)), np.zeros((count, longest), dtype=np.int64)
        for row, steps_of_row in enumerate(steps):
            for index, (start, stop) in enumerate(steps_of_row):
                step[row, start:stop], size[row, index] = index, max(1, stop - start)
                weight[row, start:stop] = 1 / max(1, stop - start)
                if index >= delta:
                    reach[row, start:stop] = np.minimum(steps_of_row[index - delta][1], np.arange(start, stop) + 1)
        inside = weight > 0
        least = np.where(inside, reach, longest).min(axis=0)
        return cls(
            torch.from_numpy(step).to(device),
            torch.from_numpy(size).to(device, dtype),
            torch.from_numpy(weight).to(device, dtype),
            torch.from_numpy(reach).to(device),
            least.tolist(),
            reach.max(axis=0).tolist(),
            delta,
        )

    def maps(self, sizes: Mapping[int, int]) -> StepMaps | None:
        """Return maps to fill of some sequences, by their number of steps; None for none."""
        if not sizes:
            return None
        return StepMaps(list(sizes), max(sizes.values()), self.step, self.weight, self.delta)


class InfluencePlan:
    """Causal attention over the tokens from `first` on, which sums its own columns on the way.

    With A = softmax(scaling Q K^T) of a layer and head, |j| tokens in step j and w_i = 1 / |step(i)|,

        c_t = sum of w_i A[i, t] over queries i with step(i) >= step(t) + delta
        y_k = mean of c_t over the tokens t of step k

    and `scores` [N, K + 1] is the maximum of y_k over layers and heads (arXiv 2509.26628, equations 5 and 6). Computed
    in float32 at least, a block of queries after the other; keys that no query of a block counts for are not summed.
    Memory: two blocks of scores, the layer's keys and values in that precision, and c [N, H, T]. `maps` are filled.
    """

    def __init__(
        self,
        table: StepTable,
        layers: tuple[int, ...] | None,
        heads: tuple[int, ...] | None,
        past: Past | None = None,
        maps: StepMaps | None = None,
    ) -> None:
        self.table, self.maps = table, maps
        self.scores = torch.zeros_like(table.size)
        self._layers, self._heads, self._past = layers, heads, past

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [N, H, Q, D]."""
        if self._past is not None:
            before = self._past(layer, key.shape[1])
            key, value = (torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True))
        kind = self.scores.dtype
        keys, values = key.to(kind).contiguous(), value.to(kind).contiguous()
        count, heads, length, _ = query.shape
        wanted = self._layers is None or layer in self._layers
        sums = torch.zeros(count, heads, keys.shape[2], dtype=kind, device=query.device) if wanted else None
        first, out = keys.shape[2] - length, torch.empty_like(query)
        block = max(1, BLOCK_BYTES // (count * heads * keys.shape[2] * kind.itemsize))
        for start in range(0, length, block):
            stop = min(length, start + block)
            width = first + stop
            share = _shares(query[:, :, start:stop].to(kind) * scaling, keys[:, :, :width])
            folded = share.view(count, keys.shape[1], -1, width)
            out[:, :, start:stop] = torch.matmul(folded, values[:, :, :width]).view_as(out[:, :, start:stop])
            if sums is not None:
                self._add(sums, share, first + start, width)
        if sums is not None:
            self._keep(sums)
        return out

    def observe(self, layer: int, share: Tensor) -> None:
        """Take the attention weights [N, H, T, T] of a whole layer, as a model gives them."""
        if self._layers is None or layer in self._layers:
            sums = share.new_zeros(share.shape[0], share.shape[1], share.shape[3], dtype=self.scores.dtype)
            self._add(sums, share.to(self.scores.dtype), 0, share.shape[3])
            self._keep(sums)

    def _add(self, sums: Tensor, share: Tensor, start: int, stop: int) -> None:
        """Add the queries [start, stop) with softmaxes `share` [N, H, Q, stop] to the column sums [N, H, T]."""
        if self.maps is not None:
            self.maps.add(share, start)
        most = max(self.table.most[start:stop])
        least = min(min(self.table.least[start:stop]), most)
        weight = self.table.weight[:, start:stop]
        if least > 0:
            rows = weight[:, None, None].expand(-1, share.shape[1], 1, -1)
            sums[..., :least] += torch.matmul(rows, share[..., :least])[:, :, 0]
        if most > least:
            column = torch.arange(least, most, device=sums.device)
            counts = (column < self.table.reach[:, start:stop, None]) * weight[..., None]
            sums[..., least:most] += share[..., least:most].mul_(counts[:, None]).sum(dim=2)

    def _keep(self, sums: Tensor) -> None:
        if self.maps is not None:
            self.maps.close(self._heads)
        count, heads, length = sums.shape
        by_step = sums.new_zeros(count, heads, self.scores.shape[1])
        by_step.scatter_add_(2, self.table.step[:, None, :length].expand(-1, heads, -1), sums)
        chosen = by_step if self._heads is None else by_step[:, list(self._heads)]
        self.scores = torch.maximum(self.scores, chosen.amax(dim=1) / self.table.size)


def _shares(query: Tensor, key: Tensor) -> Tensor:
    """Return the softmaxes [N, H, Q, T] of scaled queries, those of the last Q tokens, over the keys of all T."""
    count, heads, length, size = query.shape
    folded = query.reshape(count, key.shape[1], -1, size)
    scores = torch.matmul(folded, key.transpose(-1, -2)).view(count, heads, length, -1)
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores[..., -length:].masked_fill_(later, -torch.inf)
    return torch.softmax(scores, dim=-1)


def whole_steps(prompt_tokens: int, steps: Sequence[Step]) -> list[Step]:
    """Return the steps of prompt and completion: step 0 is the prompt."""
    return [(0, prompt_tokens), *((start + prompt_tokens, stop + prompt_tokens) for start, stop in steps)]


def first_query(steps: Sequence[Step], delta: int) -> int | None:
    """Return the first token whose attention counts for a step, or None where none does: the FCI is 0 everywhere."""
    return steps[delta][0] if len(steps) > delta else None


@dataclass(frozen=True, eq=False, slots=True)
class StepScores:
    """Of a sequence's S steps and its prompt: the raw FCI of each, and the map of them where it was asked for."""

    influence: FloatArray
    attention: FloatArray | None = None


@torch.no_grad()
def influence(
    transformer: Transformer,
    token_ids: Sequence[IntArray],
    steps: Sequence[Sequence[Step]],
    spec: InfluenceSpec,
    first: int = 0,
    past: Past | None = None,
    mapped: Collection[int] = (),
) -> list[StepScores]:
    """Return the raw FCI of each step of N sequences, prompt first: `InfluencePlan`, in one forward pass of them all.

    `steps` tile each sequence (`whole_steps`). With `past`, only the tokens from `first` on are forwarded: no more than
    `first_query` of any sequence, else what earlier queries count for is missing. `mapped`: the sequences of which the
    attention from step to step is told as well (`StepMaps`).
    """
    device, dtype = transformer.device, torch.promote_types(transformer.dtype, torch.float32)
    table = StepTable.of(steps, spec.delta, device, dtype)
    ids = np.zeros((len(token_ids), table.step.shape[1] - first), dtype=np.int64)
    for row, whole in zip(ids, token_ids, strict=True):
        row[: len(whole) - first] = whole[first:]
    maps = table.maps({index: len(steps[index]) for index in mapped})
    plan = InfluencePlan(table, spec.layers, spec.heads, past, maps)
    hidden = transformer.embed(torch.from_numpy(ids).to(device))
    rope = transformer.rope(hidden, torch.arange(first, table.step.shape[1], device=device)[None])
    transformer.layers(hidden, rope, plan, 0, None if spec.layers is None else max(spec.layers) + 1)
    return _found(plan, steps, mapped)


@torch.no_grad()
def influence_of_whole(
    model: WholeModel,
    token_ids: Sequence[IntArray],
    steps: Sequence[Sequence[Step]],
    spec: InfluenceSpec,
    mapped: Collection[int] = (),
) -> list[StepScores]:
    """Return what `influence` does, from the attention weights that a model's own forward pass gives.

    All layers' weights are there at once. Raises ConfigError where the model gives none.
    """
    table = StepTable.of(steps, spec.delta, model.device, torch.promote_types(model.dtype, torch.float32))
    maps = table.maps({index: len(steps[index]) for index in mapped})
    plan = InfluencePlan(table, spec.layers, spec.heads, maps=maps)
    for layer, share in enumerate(model.attentions(token_ids)):
        plan.observe(layer, share)
    return _found(plan, steps, mapped)


def _found(plan: InfluencePlan, steps: Sequence[Sequence[Step]], mapped: Collection[int]) -> list[StepScores]:
    maps = {} if plan.maps is None else dict(zip(mapped, plan.maps.maps(), strict=True))
    scores = []
    for index, (row, own) in enumerate(zip(plan.scores.double().cpu().numpy(), steps, strict=True)):
        size = len(own)
        scores.append(StepScores(row[:size], maps[index][:size, :size] if index in maps else None))
    return scores


def check_observed(spec: InfluenceSpec, network: Network) -> None:
    """Raise ConfigError where the influence of steps cannot be had of a model at all, or not as `spec` says."""
    check_influence(spec, network)
    network.check_attention()


def check_influence(spec: InfluenceSpec, network: Network) -> None:
    """Raise ConfigError where `spec` names layers or heads that the model does not have, or none, or delta < 0."""
    if spec.delta < 0:
        raise ConfigError(f"influence.delta is {spec.delta}: a step counts from 0 or more steps after it.")
    for name, chosen, have in (
        ("layers", spec.layers, network.num_layers),
        ("heads", spec.heads, network.num_heads),
    ):
        if chosen is not None and (not chosen or not all(0 <= index < have for index in chosen)):
            raise ConfigError(
                f"influence.{name} is {list(chosen)}: name one or more of 0 to {have - 1}, or leave it out for all."
            )
