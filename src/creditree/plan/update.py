"""Memory that an update needs: what each layer keeps for the backward pass, and what is alive beside it."""

from dataclasses import dataclass

from creditree.learner.head import rows_per_chunk
from creditree.plan.sampling import down_bytes, gate_up_bytes, widened_bytes
from creditree.plan.skeleton import PlannedStretch, attention_size
from creditree.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class UpdateSize:
    """Bytes of an update beside weights, adapter and store: kept activations, head, attention, what else is alive.

    `gradients`: those of all weights, as far as they are there; an adapter's count as held.
    """

    activations: int
    head: int
    attention: int
    temporaries: int
    gradients: int = 0

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.activations + self.head + self.attention + self.temporaries + self.gradients


def update_size(work: Workload, stack: list[PlannedStretch]) -> UpdateSize:
    """Return the parts of an update's peak: activations of a whole stack, the larger of head and backward pass.

    The backward pass of the last layer is of its rows only; that of the layers below begins when its own activations
    are gone. The head is done with before either.
    """
    activations = sum(layer_bytes(work, stretch) + last_bytes(work, stretch) for stretch in stack)
    attention = sum(mask_bytes(work, stretch) for stretch in stack)
    head = max(head_bytes(work, stretch) for stretch in stack)
    back = 0
    for stretch in stack:
        below = backward_bytes(work, stretch.tokens) - last_bytes(work, stretch) if work.layers_below else 0
        back = max(back, backward_bytes(work, stretch.rows), below)
    back += beside_products(work, max(s.tokens if work.layers_below else s.rows for s in stack))
    return UpdateSize(activations, head, attention, max(0, back - head))


def layer_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """Activations that the layers between the first adapted one and the last keep of n tokens.

    Each its input, the state between attention and MLP, gate and up values, queries, keys and values before and after
    rotation, and the outputs of attention: n (2 hidden + 2 mlp + 4 queries + 3 keys) s; sums of attention, n heads 4;
    and of each adapter n rank 4.
    """
    keys = 3 * work.keys * work.item
    return work.layers_below * stretch.tokens * (_kept_of_query(work) + keys + _kept_of_adapters(work))


def last_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """Activations that the last layer keeps: of r rows as above, of all n tokens n (hidden + 3 keys) s."""
    each = (work.shape.hidden_size + 3 * work.keys) * work.item + _kept_of_adapters(work)
    return stretch.rows * _kept_of_query(work) + stretch.tokens * each


def _kept_of_query(work: Workload) -> int:
    shape = work.shape
    numbers = 2 * shape.hidden_size + 2 * shape.intermediate_size + 4 * work.queries
    return numbers * work.item + 4 * shape.num_heads


def _kept_of_adapters(work: Workload) -> int:
    return 4 * work.rank * len(work.targets)


def mask_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """The mask of attention, s bytes a pair: blocks x heads for each head of keys x queries x keys."""
    size = attention_size(stretch)
    shared = work.shape.num_heads // work.shape.num_kv_heads
    return size.blocks * shared * size.queries * size.keys * work.item


def head_bytes(work: Workload, stretch: PlannedStretch) -> int:
    """Logits of a chunk of c rows, and probabilities where they need another type: c V (s, and 4 if s < 4).

    And the gradient of r rows, r hidden s;  where products are widened, what that takes (`widened_bytes`).
    """
    vocabulary = work.shape.vocab_size
    chunk = rows_per_chunk(vocabulary, stretch.rows, on_host=work.on_host)
    each = work.item + (4 if work.item < 4 else 0)
    hidden = work.shape.hidden_size
    widened = widened_bytes(work, chunk, hidden, vocabulary)
    return chunk * vocabulary * each + stretch.rows * hidden * work.item + widened


def beside_products(work: Workload, tokens: int) -> int:
    """What products need in the backward pass of n tokens, beside what `backward_bytes` counts.

    While down's goes back, the gradients of gate and up are not there yet, n 2 mlp s;  and what scales those of int8,
    n mlp 4, is gone when they are widened.
    """
    mlp = tokens * work.shape.intermediate_size
    gone = 4 * mlp if work.widened and work.dtype == "int8" else 0
    return max(gate_up_bytes(work, tokens) - gone, down_bytes(work, tokens) - 2 * mlp * work.item)


def backward_bytes(work: Workload, tokens: int) -> int:
    """What the backward pass of one layer holds of n tokens: gradients of gate, up and product, silu(gate), states.

    n 4 mlp s, and n hidden 3 s; or, where sums are of another type, n hidden (2 s + 12). In int8 gradients are
    scaled in float32 before they are multiplied: n mlp (s + 4) more.
    """
    shape, s = work.shape, work.item
    states = shape.hidden_size * (3 * s if s >= 4 else 2 * s + 12)
    scaled = shape.intermediate_size * (s + 4) if work.dtype == "int8" else 0
    return tokens * (4 * shape.intermediate_size * s + states + scaled)
