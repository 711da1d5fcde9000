"""Any causal language model of transformers, by its own forward pass: slower than layer by layer, and as exact.

Rows of different lengths are padded: before their first token where they are continued, as `generate` does, and behind
the last where they are whole, with tokens that nothing before them sees. Forks copy rows of the cache; what is kept of
an earlier call is forwarded again.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from creditree.errors import ConfigError, ModelError
from creditree.models.layout import check_sizes
from creditree.models.network import Network
from creditree.models.reading import one_sentence, reason_of
from creditree.tree import IntArray

NEEDED = ("input_ids", "attention_mask", "use_cache")
CACHE = ("cache", "past_key_values")
"""What forward passes call the cache, since transformers 5.24 and before."""


class WholeModel(Network):
    """A causal language model that is run by `forward` alone, with a mask, positions and transformers' own cache.

    `reason`: why it is not run layer by layer. Checked on the model itself, on a few tokens: whole rows of two lengths,
    and rows that are continued from a cache after they were copied, against each sequence alone. Raises ModelError
    where these differ. `pads`: whether rows of different lengths are continued together, where that gives the same: in
    float64 with attention of the model's own, a token before a row's first is NaN. `made` makes each pass: at once, or
    when other processes are ready for it too.
    """

    def __init__(self, model: PreTrainedModel, reason: str) -> None:
        super().__init__(model)
        self.reason = reason
        self.made: Callable[[Callable[[], Any]], Any] = lambda forward: forward()
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        self.name = type(model).__name__
        check_cache(self.name, self.config)
        caches = [name for name in CACHE if name in self._takes]
        missing = [name for name in NEEDED if name not in self._takes] + ([] if caches else ["past_key_values"])
        if missing:
            raise ModelError(f"the forward pass of {self.name} takes no {missing[0]}, so it cannot be continued.")
        self._cache = caches[0]
        self.pads = True
        if self.dtype == torch.float64 and hasattr(model, "set_experts_implementation"):
            model.set_experts_implementation("eager")  # grouped products have no float64
        with one_sentence(
            lambda error: f"{self.name} cannot be run on rows of tokens with a cache ({reason_of(error)})."
        ):
            self._check()

    def check_attention(self) -> None:
        """Raise ConfigError where the model gives no attention weights of its layers."""
        for _ in self.attentions([self._some_ids(4)[0].cpu().numpy()]):
            pass

    def logits(self, rows: Sequence[IntArray], keep: IntArray) -> Tensor:
        """Return the logits [B, K, V] at the positions `keep` [K] of whole sequences, with gradient if it is on."""
        ids, _ = self._padded(rows, before=False)
        places = torch.from_numpy(keep).to(self.device)
        logits: Tensor = self._forward(ids, torch.ones_like(ids), places, use_cache=False).logits
        return logits

    def begin(self, rows: Sequence[IntArray]) -> tuple[Tensor, Tensor, DynamicCache]:
        """Forward contexts; return the logits [B, V] behind each, their mask [B, T], and the cache to go on from."""
        ids, mask = self._padded(rows, before=True)
        cache = DynamicCache(config=self.config)
        return self._last(ids, mask, cache), mask, cache

    def go_on(self, token: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Forward one token a row [B], of the sequences that `mask` [B, T] says; return the logits [B, V] behind it."""
        return self._last(token[:, None], mask, cache)

    @torch.no_grad()
    def states(self, rows: Sequence[IntArray]) -> Tensor:
        """Return the inputs of the head [B, T, width]: the states after the final norm."""
        inputs_of_head: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, inputs: inputs_of_head.append(inputs[0]))
        try:
            ids, _ = self._padded(rows, before=False)
            self._forward(ids, torch.ones_like(ids), None, use_cache=False)
        finally:
            hook.remove()
        return inputs_of_head[0]

    @torch.no_grad()
    def attentions(self, rows: Sequence[IntArray]) -> Iterator[Tensor]:
        """Yield the attention weights [B, H, T, T] of each layer. Raises ConfigError where the model gives none."""
        ids, _ = self._padded(rows, before=False)
        with self._eager():
            out = self._forward(ids, torch.ones_like(ids), None, use_cache=False, output_attentions=True)
        attentions = out.attentions
        if (
            not attentions
            or len(attentions) != self.num_layers
            or any(weights is None or weights.dim() != 4 for weights in attentions)
        ):
            raise ConfigError(
                f"{self.name} gives no attention weights of its layers, so no influence of steps can be had of it; "
                "take a method without influence (method.explore)."
            )
        yield from attentions

    @contextmanager
    def _eager(self) -> Iterator[None]:
        """Run the block with attention that holds its weights."""
        before = self.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.model.set_attn_implementation(before)

    def _padded(self, rows: Sequence[IntArray], *, before: bool) -> tuple[Tensor, Tensor]:
        """Return ids and mask [B, T] of sequences; padding holds each row's first token, whatever that is."""
        longest = max(map(len, rows))
        ids, mask = np.empty((len(rows), longest), dtype=np.int64), np.zeros((len(rows), longest), dtype=np.int64)
        for place, row in enumerate(rows):
            where = slice(longest - len(row), None) if before else slice(len(row))
            ids[place], mask[place, where] = row[0], 1
            ids[place, where] = row
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _last(self, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        last = torch.tensor([ids.shape[1] - 1], device=ids.device)
        logits: Tensor = self._forward(ids, mask, last, use_cache=True, **{self._cache: cache}).logits
        return logits[:, -1]

    def _forward(self, ids: Tensor, mask: Tensor, keep: Tensor | None, **more: Any) -> Any:
        if "position_ids" in self._takes:
            more["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        cuts = keep is not None and "logits_to_keep" in self._takes
        if cuts:
            more["logits_to_keep"] = keep
        out: Any = self.made(lambda: self.model(input_ids=ids, attention_mask=mask, **more))
        if keep is not None and not cuts:
            out.logits = out.logits.index_select(1, keep)
        return out

    @torch.no_grad()
    def _check(self) -> None:
        sizes = {"layers": self.num_layers, "attention heads": self.num_heads, "tokens": self.vocab_size}
        check_sizes(sizes | {"positions": self.max_positions})
        if self.vocab_size > self.num_embeddings:
            raise ModelError(
                f"{self.name} predicts {self.vocab_size} tokens and embeds {self.num_embeddings}, so what it says "
                "cannot be continued; use one whose embedding and head have the same tokens."
            )
        was_training = self.model.training
        self.model.eval()
        ids = self._some_ids(15)[0].cpu().numpy()
        rows = ids[:7], ids[7:14], np.append(ids[:5], ids[14])
        alone = [self._alone(row) for row in rows]
        if not all(bool(states.isfinite().all()) for states in alone):
            raise ModelError(
                f"{self.name} computes logits that are NaN or infinite for a few tokens, though its weights are "
                "finite; its config.json may belong to other weights."
            )
        whole = self.logits([rows[0], rows[1][:4]], np.arange(7))
        same = self._agree(whole[0], alone[0]) and self._agree(whole[1, :4], alone[1][:4])
        self.pads = self._continues(rows, alone, 3)
        if not (same and (self.pads or self._continues(rows, alone, 5))):
            raise ModelError(
                f"{self.name} predicts other tokens on rows with a cache than on each sequence alone, so completions "
                "cannot be sampled from it; use another model."
            )
        self.model.train(was_training)

    def _continues(self, rows: Sequence[IntArray], alone: Sequence[Tensor], kept: int) -> bool:
        """Whether five tokens of a row, `kept` of the next, and a fork of the first go on as each of them alone."""
        first, second, forked = rows
        hidden, mask, cache = self.begin([first[:5], second[:kept]])
        begun = torch.stack([alone[0][4], alone[1][kept - 1]])
        mask = moved(mask, cache, torch.tensor([1, 0, 0], device=self.device))
        tokens = torch.from_numpy(np.array([second[kept], first[5], forked[5]])).to(self.device)
        gone_on = torch.stack([alone[1][kept], alone[0][5], alone[2][5]])
        return self._agree(hidden, begun) and self._agree(self.go_on(tokens, mask, cache), gone_on)

    def _alone(self, row: IntArray) -> Tensor:
        ids: Any = torch.from_numpy(row).to(self.device)[None]
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits[0]


def moved(mask: Tensor, cache: Any, rows: Tensor) -> Tensor:
    """Copy rows of a cache to where they are continued, one as often as is asked; return their mask, a token longer."""
    cache.reorder_cache(rows)
    return torch.nn.functional.pad(mask.index_select(0, rows), (0, 1), value=1)


def check_cache(name: str, config: Any) -> None:
    """Raise ModelError for a model that remembers more than keys and values: such a state has no rows of tokens."""
    kinds = {type(layer).__name__ for layer in DynamicCache(config=config).layers}
    other = sorted(kinds - {DynamicLayer.__name__, DynamicSlidingWindowLayer.__name__})
    if other:
        raise ModelError(
            f"{name} keeps a state besides keys and values ({', '.join(other)}), which a batch of padded rows cannot "
            "be continued from; use a model whose layers all attend."
        )
