"""The one place that knows how transformers lays out a decoder: embedding, rotary angles, layers, norm, head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from creditree.errors import ModelError
from creditree.models.attention import ATTENTION, AttentionPlan
from creditree.models.head import Head
from creditree.models.lean import LeanLayer, turn_of
from creditree.models.lean_weights import lean_layer
from creditree.models.norm import Norm

Rope = tuple[Tensor, Tensor]


class CausalPlan:
    """Plain causal attention over the tokens of this pass alone."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return causal attention, [B, H, Q, D]."""
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)


class Transformer:
    """Layer-wise access to a decoder-only model of transformers (embedding -> layers -> norm -> head).

    Works for every architecture whose forward pass is exactly that chain, with full attention and rotary positions
    (Qwen2, Qwen3, Llama, Mistral, ...); this is checked on the model itself when it is wrapped. Raises ModelError
    otherwise.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.config: Any = model.config
        decoder = getattr(model, "model", None)
        parts = ("embed_tokens", "layers", "norm", "rotary_emb")
        if decoder is None or not all(hasattr(decoder, part) for part in parts) or not hasattr(model, "lm_head"):
            raise ModelError(
                f"{_name(model)} is not laid out as embedding, layers, norm and head; use a Qwen2, Qwen3 or Llama."
            )
        layer_types = set(getattr(self.config, "layer_types", None) or ["full_attention"])
        if layer_types != {"full_attention"}:
            raise ModelError(
                f"{_name(model)} has layers of type {sorted(layer_types)}; only full attention is supported."
            )
        window = getattr(self.config, "sliding_window", None)
        if not hasattr(self.config, "layer_types") and window is not None and window < self.max_positions:
            raise ModelError(
                f"{_name(model)} attends to the last {window} tokens only; only full attention is supported, "
                "so use a model without a sliding window."
            )
        self._decoder: Any = decoder
        self._head: Any = model.lm_head
        self._lean: list[LeanLayer | None] = [None] * len(decoder.layers)
        self._norm: Norm | None = None
        self._lean_head: Head | None = None
        self._check()
        self.link()

    @property
    def num_layers(self) -> int:
        """How many decoder layers there are."""
        return len(self._decoder.layers)

    @property
    def num_heads(self) -> int:
        """Query heads of a layer."""
        return int(self.config.num_attention_heads)

    @property
    def num_kv_heads(self) -> int:
        """Key and value heads of a layer."""
        return int(self.config.num_key_value_heads)

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return int(self._decoder.layers[0].self_attn.head_dim)

    @property
    def scaling(self) -> float:
        """What queries times keys are multiplied by."""
        return float(self._decoder.layers[0].self_attn.scaling)

    @property
    def decoder_layers(self) -> list[Any]:
        """The modules of the layers, for whoever reads their weights."""
        return list(self._decoder.layers)

    @property
    def lean_layers(self) -> tuple[LeanLayer | None, ...]:
        """The layers in lean form, None where one runs as the module it is; other objects after every `link`."""
        return tuple(self._lean)

    @property
    def ends(self) -> tuple[Any, Any, Any]:
        """The modules around the layers: embedding, final norm, head."""
        return self._decoder.embed_tokens, self._decoder.norm, self._head

    @property
    def kv_width(self) -> int:
        """Numbers in one token's keys and values of one layer."""
        return 2 * self.head_dim * self.num_kv_heads

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        """The base weights' data type."""
        return self._decoder.embed_tokens.weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._decoder.embed_tokens.weight.device  # type: ignore[no-any-return]

    @property
    def vocab_size(self) -> int:
        """Rows of the output head."""
        return int(self._head.weight.shape[0])

    @property
    def num_embeddings(self) -> int:
        """Rows of the embedding: token ids from 0 up to here exist."""
        return int(self._decoder.embed_tokens.weight.shape[0])

    @property
    def max_positions(self) -> int:
        """The model's context length, in tokens."""
        return int(self.config.max_position_embeddings)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the embeddings [B, Q, hidden] of token ids [B, Q]."""
        return self._decoder.embed_tokens(token_ids)  # type: ignore[no-any-return]

    def rope(self, hidden: Tensor, positions: Tensor) -> Rope:
        """Return the rotary cosines and sines for positions [B, Q]."""
        return self._decoder.rotary_emb(hidden, positions)  # type: ignore[no-any-return]

    def layers(
        self,
        hidden: Tensor,
        rope: Rope,
        plan: AttentionPlan,
        start: int = 0,
        stop: int | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Run layers[start:stop] on hidden states [B, Q, hidden], attending as `plan` says.

        With `rows` [R], return the outputs at these positions only, [B, R, hidden]. Layers in lean form then compute
        keys and values of all positions in the last layer, and everything else of `rows` alone: `plan` is asked for
        the attention of R queries there.
        """
        stop = self.num_layers if stop is None else stop
        turn = turn_of(*rope)
        for index in range(start, stop):
            lean = self._lean[index]
            asked = rows if index == stop - 1 else None
            if lean is not None:
                hidden = lean(hidden, turn, plan, asked)
                continue
            hidden = self._decoder.layers[index](hidden, attention_mask=None, position_embeddings=rope, plan=plan)
            hidden = hidden if asked is None else hidden.index_select(1, asked)
        return hidden if rows is None or stop > start else hidden.index_select(1, rows)

    def norm(self, hidden: Tensor) -> Tensor:
        """Apply the final norm."""
        if self._norm is None:
            return self._decoder.norm(hidden)  # type: ignore[no-any-return]
        return self._norm.with_gradient(hidden) if hidden.requires_grad else self._norm(hidden)

    def logits(self, normed: Tensor) -> Tensor:
        """Return the next-token logits of normed hidden states."""
        return self._head(normed)  # type: ignore[no-any-return]

    def head_rows(self, count: int) -> int:
        """Return how many rows of a buffer `predict` needs for `count` states."""
        return count if self._lean_head is None else self._lean_head.rows(count)

    def predict(self, hidden: Tensor, out: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the logits [n, vocabulary] of states [n, hidden] after the last layer, and the way back.

        The logits may be written into the first rows of `out` (`head_rows` of them are needed), and the caller may
        overwrite them. The way back takes their gradient to that of the states, and adds those of the weights, where
        these learn. Neither needs autograd.
        """
        norm, head = self._norm, self._lean_head
        if norm is not None and head is not None:
            logits = head.logits(norm(hidden), out)
            return logits, lambda grad: norm.back(head.back(grad), hidden).to(hidden.dtype)
        with torch.enable_grad():
            leaf = hidden.detach().requires_grad_()
            kept = self.logits(self.norm(leaf))

        def back(grad: Tensor) -> Tensor:
            kept.backward(grad)
            assert leaf.grad is not None
            return leaf.grad

        return kept.detach(), back

    @torch.no_grad()
    def link(self) -> None:
        """Read the layers' weights again, as an adapter changes the modules that hold them.

        A layer of the Llama family then runs in a lean form, if that computes what its module does: compared here on a
        few tokens. Whatever else it may be runs as the module it is.
        """
        was_training = self.model.training
        self.model.eval()
        ids = self._some_ids()
        hidden = self.embed(ids)
        rope = self.rope(hidden, torch.arange(ids.shape[1], device=self.device).unsqueeze(0))
        for index, module in enumerate(self._decoder.layers):
            out = module(hidden, attention_mask=None, position_embeddings=rope, plan=CausalPlan())
            lean = lean_layer(module)
            same = lean is not None and self._agree(lean(hidden, turn_of(*rope), CausalPlan()) - hidden, out - hidden)
            self._lean[index] = lean if same else None
            hidden = out
        norm = Norm.read(self._decoder.norm)
        same = norm is not None and self._agree(norm(hidden), self._decoder.norm(hidden))
        self._norm = norm if same and not self._decoder.norm._forward_hooks else None
        self._lean_head = Head.read(self._head)
        self.model.train(was_training)

    def _some_ids(self) -> Tensor:
        return (torch.arange(8, device=self.device) * 7 % min(self.vocab_size, 97)).unsqueeze(0)

    def _agree(self, ours: Tensor, theirs: Tensor) -> bool:
        tolerance = 0.05 if self.dtype in (torch.bfloat16, torch.float16) else 1e-4
        return torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))

    @torch.no_grad()
    def _check(self) -> None:
        """Compare this chain with the model's own forward pass on a few tokens."""
        if self.config._attn_implementation != ATTENTION:
            self.model.set_attn_implementation(ATTENTION)
        was_training = self.model.training
        self.model.eval()
        ids = self._some_ids()
        hidden = self.embed(ids)
        rope = self.rope(hidden, torch.arange(ids.shape[1], device=self.device).unsqueeze(0))
        ours = self.logits(self.norm(self.layers(hidden, rope, CausalPlan())))
        theirs = self.model(ids, use_cache=False).logits
        self.model.train(was_training)
        if not self._agree(ours, theirs):
            raise ModelError(
                f"{_name(self.model)} does more than embedding, layers, norm and head, so its layers cannot be run one "
                "by one; use a Qwen2, Qwen3 or Llama."
            )


def _name(model: PreTrainedModel) -> str:
    return type(model).__name__
