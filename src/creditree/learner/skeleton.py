"""Forward a batch's skeleton and send its loss back: every token once each way, stretch by stretch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from creditree.batch import Batch
from creditree.learner.head import Predictions, head_loss, token_logprobs
from creditree.learner.passes import Passes
from creditree.learner.stretches import Stretch, stretches_of
from creditree.models.trained import Trained
from creditree.models.transformer import Rope
from creditree.models.tree_attention import KeysValues, TreePlan, TreeShape, TreeTokens
from creditree.objective.base import Objective
from creditree.tree import IntArray


@dataclass(frozen=True, eq=False, slots=True)
class _Level:
    """A stretch that others stand on: its tokens, and their keys and values by layer, for policy and reference."""

    tokens: TreeTokens
    policy: dict[int, KeysValues] = field(default_factory=dict)
    reference: dict[int, KeysValues] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class _Passage:
    """A stretch on its way: token ids, inputs of the first adapted layer, angles, rows asked for, whom tokens see."""

    ids: Tensor
    trunk: Tensor
    rope: Rope
    rows: Tensor
    plan: TreePlan
    base_plan: TreePlan


class Skeleton(Passes):
    """A batch and the passes over it, layer by layer, in stretches.

    The layers below the first adapted one are the same for policy and reference: they run once, without autograd, or
    not at all where `trunk` [N, hidden] has their outputs.
    """

    def __init__(self, trained: Trained, objective: Objective, batch: Batch, trunk: Tensor | None = None) -> None:
        super().__init__(trained, objective, batch)
        self._transformer = trained.model.transformer
        self._shared = self._transformer.num_heads // self._transformer.num_kv_heads
        self._trunk = trunk
        self._tree = TreeTokens(batch.enter, batch.exit)
        self._order = np.argsort(batch.row, kind="stable")

    def gradient(self, max_tokens: int) -> float:
        """Add the gradient of the loss to the trained matrices; return the loss."""
        return self._total(max_tokens, learns=True)

    def loss(self, max_tokens: int) -> float:
        """Return the loss, without gradient."""
        return self._total(max_tokens, learns=False)

    @torch.no_grad()
    def states(self, max_tokens: int, *, base: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the states after the final norm that predict each term [M, width]: the policy's, and the base's."""
        shape = self.batch.num_terms, self._transformer.hidden_size
        states = torch.empty(shape, dtype=self._transformer.dtype, device=self._transformer.device)
        of_base = torch.empty_like(states) if base else None
        for terms, predictions, passage in self._passages(stretches_of(self.batch, max_tokens)):
            if of_base is not None:
                with self.trained.off():
                    of_base[terms] = self._transformer.norm(self._base(passage))[0][predictions.row]
            states[terms] = self._transformer.norm(self._policy(passage))[0][predictions.row]
        return states, of_base

    @torch.no_grad()
    def logprobs(self, max_tokens: int, temperature: float = 1.0) -> Tensor:
        """Return log softmax(logits / temperature)[token] of each term [M], at least in float32."""
        kind = torch.promote_types(self._transformer.dtype, torch.float32)
        logprobs = torch.empty(self.batch.num_terms, dtype=kind, device=self._transformer.device)
        for terms, predictions, passage in self._passages(stretches_of(self.batch, max_tokens)):
            logprobs[terms] = token_logprobs(self._transformer, self._policy(passage)[0], predictions, temperature)
        return logprobs

    def _total(self, max_tokens: int, *, learns: bool) -> float:
        losses = [
            loss for stretch in stretches_of(self.batch, max_tokens) for loss in self._walk(stretch, (), learns=learns)
        ]
        return sum(torch.stack(losses).tolist()) if losses else 0.0

    def _walk(self, stretch: Stretch, above: tuple[_Level, ...], *, learns: bool) -> list[Tensor]:
        """Go through a stretch, then those that stand on it, then back through it; return losses, to be summed.

        Nothing here waits for the device, which is always behind: it has its next stretch when it is done with one.
        """
        level = _Level(self._tree.at(stretch.tokens))
        terms, predictions, passage = self._begin(stretch, above, level, learns=learns)
        reference = self._reference(passage, predictions) if self.objective.kl > 0 else None
        with torch.set_grad_enabled(learns):
            hidden = self._policy(passage)
        del passage  # or what the backward pass does not need would be held beside the logits
        loss_of, temperature = self._loss_of(terms, reference), self.objective.loss_temperature
        losses, grad = head_loss(
            self._transformer, hidden[0].detach(), predictions, temperature, loss_of, learns=learns
        )
        sent = [(hidden, grad[None])]
        if stretch.below:
            leaves = {layer: _leaves(pair) for layer, pair in level.policy.items()}
            standing = (*above, _Level(level.tokens, leaves, level.reference))
            losses += [loss for part in stretch.below for loss in self._walk(part, standing, learns=learns)]
            sent += [
                (tensor, leaf.grad)
                for layer, pair in level.policy.items()
                for tensor, leaf in zip(pair, leaves[layer], strict=True)
                if leaf.grad is not None
            ]
        if learns:
            torch.autograd.backward([out for out, _ in sent], [received for _, received in sent])
        return losses

    def _passages(
        self, stretches: Sequence[Stretch], above: tuple[_Level, ...] = ()
    ) -> Iterator[tuple[Tensor, Predictions, _Passage]]:
        """Yield each stretch's terms, what they ask for, and its passage, without gradient.

        A stretch comes before those that stand on it: it must have gone through the layers before the next is taken.
        """
        for stretch in stretches:
            level = _Level(self._tree.at(stretch.tokens))
            terms, predictions, passage = self._begin(stretch, above, level, learns=False)
            yield self._tensor(terms), predictions, passage
            yield from self._passages(stretch.below, (*above, level))

    def _begin(
        self, stretch: Stretch, above: tuple[_Level, ...], level: _Level, *, learns: bool
    ) -> tuple[IntArray, Predictions, _Passage]:
        """Return the terms that stand on a stretch, what they ask for, and its passage."""
        terms = self._terms(stretch.tokens)
        rows, of_row = np.unique(np.searchsorted(stretch.tokens, self.batch.row[terms]), return_inverse=True)
        predictions = Predictions.of(of_row, self.batch.token[terms], self._transformer.device)
        shape = TreeShape(level.tokens, rows, [upper.tokens for upper in above], self._shared)
        return terms, predictions, self._passage(stretch, shape, self._tensor(rows), above, level, learns=learns)

    def _passage(
        self,
        stretch: Stretch,
        shape: TreeShape,
        rows: Tensor,
        above: tuple[_Level, ...],
        level: _Level,
        *,
        learns: bool,
    ) -> _Passage:
        """Return what policy and base model have in common in a stretch, up to the first adapted layer."""
        transformer, first = self._transformer, self.trained.first_layer
        kept = (level.policy, level.reference) if stretch.below else (None, None)
        plan = TreePlan(shape, [upper.policy for upper in above], kept[0])
        base_plan = TreePlan(shape, [upper.reference for upper in above], kept[1])
        with torch.no_grad():
            ids, positions = (
                self._tensor(array[stretch.tokens])[None] for array in (self.batch.token_ids, self.batch.position)
            )
        with torch.set_grad_enabled(learns and first == 0):
            trunk = transformer.embed(ids) if self._trunk is None else self._trunk[self._tensor(stretch.tokens)][None]
        with torch.no_grad():
            rope = transformer.rope(trunk, positions)
            if self._trunk is None and first > 0:
                trunk = transformer.layers(trunk, rope, plan, 0, first)
        return _Passage(ids, trunk, rope, rows, plan, base_plan)

    def _policy(self, passage: _Passage) -> Tensor:
        """Return the rows' states after the last layer [1, R, hidden]."""
        first = self.trained.first_layer
        return self._transformer.layers(passage.trunk, passage.rope, passage.plan, first, rows=passage.rows)

    def _base(self, passage: _Passage) -> Tensor:
        """Return the same of the base model, which must be switched on."""
        first = self.trained.first_layer
        start = passage.trunk if first > 0 else self._transformer.embed(passage.ids)
        return self._transformer.layers(start, passage.rope, passage.base_plan, first, rows=passage.rows)

    @torch.no_grad()
    def _reference(self, passage: _Passage, predictions: Predictions) -> Tensor:
        """Return the terms' reference log-probabilities."""
        with self.trained.off():
            base = self._base(passage)[0]
            return token_logprobs(self._transformer, base, predictions, self.objective.loss_temperature)

    def _terms(self, tokens: IntArray) -> IntArray:
        """Return the terms that stand on some tokens, by row."""
        if len(tokens) == self.batch.num_tokens:
            return self._order
        return self._order[np.isin(self.batch.row[self._order], tokens)]


def _leaves(pair: KeysValues) -> KeysValues:
    """Return keys and values as others receive them: the gradients that these send stay there until all have."""
    key, value = (tensor.detach().requires_grad_(tensor.requires_grad) for tensor in pair)
    return key, value
