"""Memory that an update of all weights needs: layers run as transformers' modules, and autograd keeps what it keeps."""

from creditree.learner.head import rows_per_chunk
from creditree.plan.skeleton import PlannedStretch, attention_size
from creditree.plan.update import UpdateSize, mask_bytes
from creditree.plan.workload import Workload


def full_update_size(work: Workload, stack: list[PlannedStretch], *, alone: bool) -> UpdateSize:
    """Return the parts of the peak of an update of all weights, besides weights, base and moments.

    The gradient grows while the activations go, so the peak is one of four moments: at the head, when the backward pass
    of the last layer or of the first is under way, or when the gradient of the embedding is added. `alone`: there is no
    other stretch; else the whole gradient may be there from the start, and what is added to it exists twice.
    """
    shape, s, top = work.shape, work.item, stack[-1]
    everything, ends = s * shape.num_parameters, s * shape.vocab_size * shape.hidden_size
    matrix = s * shape.hidden_size * shape.intermediate_size
    kept = sum(work.shape.num_layers * layer_bytes(work, stretch) for stretch in stack)
    highest, below = layer_bytes(work, top), sum(work.shape.num_layers * layer_bytes(work, part) for part in stack[:-1])
    masks = sum(mask_bytes(work, stretch) for stretch in stack)
    chunk = rows_per_chunk(shape.vocab_size, top.rows, on_host=work.on_host)
    head = head_bytes(work, top)
    states = 2 * s * top.rows * shape.hidden_size
    back = backward_bytes(work, top.tokens)
    begun = ends if alone else everything
    twice = not alone or chunk < top.rows
    moments = (
        UpdateSize(kept, head, masks, ends * twice, begun),
        UpdateSize(kept, states, masks, back + matrix * (not alone), begun),
        UpdateSize(
            below + highest, 0, masks, back + matrix * (not alone), everything - ends * (alone and not shape.tied)
        ),
        UpdateSize(below, 0, masks, ends * (shape.tied or not alone), everything),
    )
    return max(moments, key=lambda size: size.total)


def layer_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """Activations that autograd keeps of one layer, for n tokens in B blocks of Q queries and K keys.

    n (6 hidden + 4 mlp + queries) s: inputs of both norms, what they multiply with their weight, and their outputs;
    gate, silu(gate), up and their product; the input of the output projection.  B (2 Q queries + 2 K keys) s: what
    attention reads, and its outputs;  B Q heads s of its sums, n 2 s of the norms.  With norms of queries and keys
    n (2 queries + 2 keys + heads + keys' heads) s more. Of a stretch that others stand on n 2 keys s more: gradients
    that these send.
    """
    shape, n, size = work.shape, stretch.tokens, attention_size(stretch)
    numbers = n * (6 * shape.hidden_size + 4 * shape.intermediate_size + work.queries + 2)
    numbers += size.blocks * (size.queries * (2 * work.queries + shape.num_heads) + size.keys * 2 * work.keys)
    if shape.qk_norm:
        numbers += n * (2 * work.queries + 2 * work.keys + shape.num_heads + shape.num_kv_heads)
    return work.item * (numbers + n * 2 * work.keys * stretch.stands)


def head_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """The head with r rows in chunks of c: logits twice, in a buffer and as autograd keeps them, 2 c V s.

    And states of the rows, their norm and gradients: (2 r + 4 c) hidden s.
    """
    shape = work.shape
    chunk = rows_per_chunk(shape.vocab_size, stretch.rows, on_host=work.on_host)
    states = (2 * stretch.rows + 4 * chunk) * shape.hidden_size
    return work.item * (2 * chunk * shape.vocab_size + states)


def backward_bytes(work: Workload, tokens: int) -> int:
    """What the backward pass of one layer adds for n tokens: n (2 mlp + 2 hidden) s.

    Gradients of product, silu(gate) and up are there when the product itself, which was kept, is gone.
    """
    return tokens * 2 * (work.shape.intermediate_size + work.shape.hidden_size) * work.item
