"""The one place that knows how transformers lays out a decoder: embedding, rotary angles, layers, norm, head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from creditree.errors import ModelError
from creditree.models.attention import ATTENTION, AttentionPlan, CausalPlan, KeptPlan, one_by_one
from creditree.models.head import Head
from creditree.models.layout import NotLayeredError, check_layout, check_sizes, check_windows, kind_of
from creditree.models.lean import LeanLayer, turn_of
from creditree.models.lean_weights import lean_layer
from creditree.models.network import Network
from creditree.models.norm import Norm
from creditree.models.products import is_widened, wide_product
from creditree.models.reading import one_sentence, reason_of

Rope = tuple[Tensor, Tensor]


class Transformer(Network):
    """Layer-wise access to a decoder-only model of transformers (embedding -> layers -> norm -> head).

    Works for every architecture whose forward pass is exactly that chain, with full attention and rotary positions, and
    whose layers hand their keywords on to the attention function (Qwen2, Qwen3, Llama, Mistral, ...). Checked on the
    model itself when it is wrapped, on ten tokens: a prompt in one pass, two branches from its end in another, against
    the model's own forward pass of the two sequences. Raises NotLayeredError otherwise, and wherever attention is
    called without a plan.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        check_layout(model)
        check_windows(kind_of(model), self.config)
        decoder: Any = model.model
        self._decoder = decoder
        self._head: Any = model.lm_head
        self._lean: list[LeanLayer | None] = [None] * len(decoder.layers)
        self._norm: Norm | None = None
        self._lean_head: Head | None = None
        with one_sentence(
            lambda error: NotLayeredError(f"{kind_of(model)} cannot be run layer by layer ({reason_of(error)})")
        ):
            self._check()
            self.link()

    @property
    def num_layers(self) -> int:
        """How many decoder layers there are."""
        return len(self._decoder.layers)

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
    def lean_ends(self) -> tuple[Norm | None, Head | None]:
        """The final norm and the head in lean form, None where one runs as the module it is."""
        return self._norm, self._lean_head

    @property
    def kv_width(self) -> int:
        """Numbers in one token's keys and values of one layer."""
        return 2 * self.head_dim * self.num_kv_heads

    @property
    def embedding(self) -> Any:
        """The module that embeds tokens."""
        return self._decoder.embed_tokens

    @property
    def head(self) -> Any:
        """The module that predicts tokens."""
        return self._head

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
            wanted_rows = rows if index == stop - 1 else None
            if lean is not None:
                hidden = lean(hidden, turn, plan, wanted_rows)
                continue
            hidden = self._module(index, hidden, rope, plan)
            hidden = hidden if wanted_rows is None else hidden.index_select(1, wanted_rows)
        return hidden if rows is None or stop > start else hidden.index_select(1, rows)

    def _module(self, index: int, hidden: Tensor, rope: Rope, plan: AttentionPlan) -> Tensor:
        with one_by_one():
            layer: Any = self._decoder.layers[index]
            return layer(hidden, attention_mask=None, position_embeddings=rope, plan=plan)  # type: ignore[no-any-return]

    def norm(self, hidden: Tensor) -> Tensor:
        """Apply the final norm."""
        if self._norm is None:
            return self._decoder.norm(hidden)  # type: ignore[no-any-return]
        return self._norm.with_gradient(hidden) if hidden.requires_grad else self._norm(hidden)

    def logits(self, normed: Tensor) -> Tensor:
        """Return the next-token logits of normed hidden states."""
        if self._lean_head is not None and is_widened(normed) and not normed.requires_grad:
            return wide_product(normed, self._lean_head.weight)
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
        ids = self._some_ids(8)
        hidden = self.embed(ids)
        rope = self.rope(hidden, torch.arange(ids.shape[1], device=self.device).unsqueeze(0))
        for index, module in enumerate(self._decoder.layers):
            out = self._module(index, hidden, rope, CausalPlan())
            lean = lean_layer(module)
            same = lean is not None and self._adds_the_same(lean(hidden, turn_of(*rope), CausalPlan()), out, hidden)
            self._lean[index] = lean if same else None
            hidden = out
        norm = Norm.read(self._decoder.norm)
        same = norm is not None and self._agree(norm(hidden), self._decoder.norm(hidden))
        self._norm = norm if same and not self._decoder.norm._forward_hooks else None
        self._lean_head = Head.read(self._head)
        self.model.train(was_training)

    def _adds_the_same(self, ours: Tensor, theirs: Tensor, before: Tensor) -> bool:
        """Whether two layers add the same to the states `before`, but for rounding.

        What a layer adds may be far smaller than what it is added to: pretrained models hold states of a thousand,
        which bfloat16 rounds to multiples of 8. So two units in the last place of the sum are allowed besides.
        """
        added = (theirs - before).abs()
        rounding = 2 * torch.finfo(self.dtype).eps * theirs.abs()
        allowed = self._tolerance * (added.max() + added) + rounding
        return bool(((ours - theirs).abs() <= allowed).all())

    @torch.no_grad()
    def _check(self) -> None:
        """Raise ModelError unless this chain, in two passes with a tree's plan, gives what the model's forward gives.

        A prompt goes first, and is kept; then two branches from its end share a pass, neither of which sees the other.
        What plain causal attention over a pass cannot tell is thereby told: a layer that attends to something else.
        """
        if self.config._attn_implementation != ATTENTION:
            self.model.set_attn_implementation(ATTENTION)
        check_sizes(self._sizes())
        if self.num_embeddings != self.vocab_size:
            raise NotLayeredError(
                f"{kind_of(self.model)} embeds {self.num_embeddings} tokens and predicts {self.vocab_size}"
            )
        was_training = self.model.training
        self.model.eval()
        prompt, branch = 4, 3
        ids = self._some_ids(prompt + 2 * branch)
        first = torch.cat([ids[:, : prompt + branch], torch.cat([ids[:, :prompt], ids[:, prompt + branch :]], dim=1)])
        theirs = self.model(first, use_cache=False).logits
        plan = KeptPlan()
        positions = torch.arange(prompt + branch, device=self.device)
        shared = self._chain(ids[:, :prompt], positions[:prompt], plan)
        plan.branches = 2
        forked = self._chain(ids[:, prompt:], positions[prompt:].repeat(2), plan).view(2, branch, -1)
        ours = torch.cat([shared.expand(2, -1, -1), forked], dim=1)
        self.model.train(was_training)
        if not (ours.isfinite().all() and theirs.isfinite().all()):
            raise ModelError(
                f"{kind_of(self.model)} computes logits that are NaN or infinite for a few tokens, though its weights "
                "are finite; its config.json (rotary angles, epsilon of the norms) may belong to other weights."
            )
        if not self._agree(ours, theirs):
            raise NotLayeredError(
                f"{kind_of(self.model)} does more than embedding, layers, norm and head, so its layers cannot be run "
                "one by one"
            )

    def _sizes(self) -> dict[str, int]:
        """What sampling and learning will read, now: an architecture may lack any of it."""
        float(self.scaling)
        return {
            "layers": self.num_layers,
            "attention heads": self.num_heads,
            "key and value heads": self.num_kv_heads,
            "numbers in a head": self.head_dim,
            "numbers in a hidden state": self.hidden_size,
            "tokens": self.vocab_size,
            "positions": self.max_positions,
        }

    def _chain(self, ids: Tensor, positions: Tensor, plan: AttentionPlan) -> Tensor:
        hidden = self.embed(ids)
        return self.logits(self.norm(self.layers(hidden, self.rope(hidden, positions[None]), plan)))
