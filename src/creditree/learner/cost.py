"""Counted work of an update: floating-point operations by a formula, which a test holds to what torch counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from creditree.batch import Batch
from creditree.learner.stretches import Stretch, stretches_of
from creditree.models.shapes import Shape
from creditree.models.tree_attention import TreeTokens, blocks_of

QUERY, KEY, VALUE, OUTPUT, GATE, UP, DOWN = (f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down"))


@dataclass(frozen=True, slots=True)
class UpdateWork:
    """What goes through the model in an update.

    `tokens`: of the skeleton;  `rows`: different tokens that predict something, the only ones that the last layer and
    the head are asked for;  `pairs`: queries x keys of attention in each layer but the last, padding included;
    `last_pairs`: in the last.
    """

    tokens: int
    rows: int
    pairs: int
    last_pairs: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """Where the adapter is: layers in ascending order, projections, rank."""

    layers: tuple[int, ...]
    targets: tuple[str, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class UpdateFlops:
    """Operations of an update by part; a product of [n, m] and [m, k] is 2 n m k, all else counts nothing."""

    trunk: int
    layers: int
    adapters: int
    attention: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.trunk + self.layers + self.adapters + self.attention + self.head


def work_of(batch: Batch, max_tokens: int) -> UpdateWork:
    """Return what an update of a batch forwards, in stretches of `max_tokens`."""
    tree, pairs, last = TreeTokens(batch.enter, batch.exit), 0, 0
    for above, stretch in _walk(stretches_of(batch, max_tokens), np.zeros(0, dtype=np.int64)):
        keys = tree.at(np.concatenate([above, stretch.tokens]))
        rows = np.unique(batch.row[np.isin(batch.row, stretch.tokens)])
        pairs += _pairs(tree.at(stretch.tokens), keys)
        last += _pairs(tree.at(rows), keys)
    return UpdateWork(batch.num_tokens, len(np.unique(batch.row)), pairs, last)


def update_flops(
    shape: Shape, adapted: Adapted, work: UpdateWork, *, reference: bool, stored_trunk: bool = False
) -> UpdateFlops:
    """Return the operations of an update of a Llama-family model.

    `reference`: with a KL penalty, the adapted layers and the head run once more, without adapter and gradient;
    `stored_trunk`: the inputs of the first adapted layer are at hand. Base weights are frozen: the backward pass of a
    product is one product, not two, and none where its input needs no gradient (queries, keys and values of the first
    adapted layer). Nothing is computed twice, except that attention's backward pass computes its weights again.
    """
    first, last = adapted.layers[0], shape.num_layers - 1
    trunk = layers = adapters = attention = 0
    each = 4 * shape.num_heads * shape.head_dim  # of a pair of query and key: their product, and weight times value
    for layer in range(shape.num_layers):
        rows = work.rows if layer == last else work.tokens
        pairs = work.last_pairs if layer == last else work.pairs
        counts = dict.fromkeys((QUERY, OUTPUT, GATE, UP, DOWN), rows) | dict.fromkeys((KEY, VALUE), work.tokens)
        forward = sum(2 * count * _size(shape, name) for name, count in counts.items())
        if layer < first:
            trunk += 0 if stored_trunk else forward
            attention += 0 if stored_trunk else each * pairs
            continue
        targets = adapted.targets if layer in adapted.layers else ()
        wanted = _wanted(targets, has_gradient=layer > first)
        layers += forward * (2 if reference else 1)
        layers += sum(2 * count * _size(shape, name) for name, count in counts.items() if name in wanted)
        adapters += sum(_adapter(shape, adapted.rank, name, counts[name], name in wanted) for name in targets)
        heads_learn = layer > first or any(name in targets for name in (QUERY, KEY, VALUE))
        attention += each * pairs * (2 if reference else 1) + (5 * each * pairs // 2 if heads_learn else 0)
    head = 2 * work.rows * shape.vocab_size * shape.hidden_size * (3 if reference else 2)
    return UpdateFlops(trunk, layers, adapters, attention, head)


def full_update_flops(shape: Shape, work: UpdateWork, *, reference: bool) -> UpdateFlops:
    """Return the operations of an update of all weights of a Llama-family model.

    Of each product the gradients of its input and of its weights are one product each: three in all, and a fourth for
    the `reference` of a KL penalty. Every layer is asked for all tokens, the last one too.
    """
    names = (QUERY, KEY, VALUE, OUTPUT, GATE, UP, DOWN)
    times = 4 if reference else 3
    forward = 2 * work.tokens * sum(_size(shape, name) for name in names)
    each = 4 * shape.num_heads * shape.head_dim
    attention = each * work.pairs * (2 if reference else 1) + 5 * each * work.pairs // 2
    head = 2 * work.rows * shape.vocab_size * shape.hidden_size
    return UpdateFlops(
        trunk=0,
        layers=times * shape.num_layers * forward,
        adapters=0,
        attention=shape.num_layers * attention,
        head=times * head,
    )


def _wanted(targets: Sequence[str], *, has_gradient: bool) -> set[str]:
    """Return the projections whose input receives a gradient: in the first adapted layer, those above an adapter."""
    if has_gradient:
        return {QUERY, KEY, VALUE, OUTPUT, GATE, UP, DOWN}
    below = (({QUERY, KEY, VALUE}, {OUTPUT, GATE, UP, DOWN}), ({OUTPUT}, {GATE, UP, DOWN}), ({GATE, UP}, {DOWN}))
    return next((above for names, above in below if names & set(targets)), set())


def _adapter(shape: Shape, rank: int, name: str, count: int, wanted: bool) -> int:
    inputs, outputs = _sides(shape, name)
    forward = inputs + outputs
    back = 2 * outputs + inputs + (inputs if wanted else 0)
    return 2 * count * rank * (forward + back)


def _sides(shape: Shape, name: str) -> tuple[int, int]:
    sides = shape.projection(name)
    assert sides is not None
    return sides


def _size(shape: Shape, name: str) -> int:
    inputs, outputs = _sides(shape, name)
    return inputs * outputs


def _pairs(queries: TreeTokens, keys: TreeTokens) -> int:
    if len(queries) == 0:
        return 0
    return blocks_of(queries, keys, 1, torch.empty(0, device="meta")).bias.numel()


def _walk(
    stretches: Sequence[Stretch], above: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> Iterator[tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Stretch]]:
    for stretch in stretches:
        yield above, stretch
        yield from _walk(stretch.below, np.concatenate([above, stretch.tokens]))
