"""Memory that sampling needs besides the store: of native code by formula, of torch by what is alive at once."""

from dataclasses import replace

import numpy as np

from creditree.engines.requests import PREFILL_TOKENS
from creditree.engines.static.grid import Traffic, arrange
from creditree.engines.static.kernels.tiles import FEWEST_BYTES, MOST_ROWS, MOST_SPLITS, row_block
from creditree.models.footprint import weight_bytes
from creditree.models.products import FEWEST_ROWS, OUTPUTS, ROWS
from creditree.models.quantise import QUANTISATIONS
from creditree.plan.store import EngineCall, carried
from creditree.plan.workload import Workload

FORWARDED_AT_ONCE = 256
"""Rows that native code takes through the layers together (`Decoder::AT_ONCE` in model.h)."""
LOGITS_AT_ONCE = 64
"""Rows whose logits native code holds together (`Sampling::AT_ONCE` in decode.cpp)."""


def table_bytes(work: Workload, calls: list[EngineCall]) -> int:
    """Numbers of each sampled token, outside torch: 5 of 8 bytes while it is drawn, 3 for as long as the step lasts.

    With c completions of T tokens decoded together, of C in all, behind contexts of P tokens: c T (5 + e) 8 + C T (3 +
    e) 8 + C (P + T) 16; e counts entropies and influence, where they are asked for. Off-policy, the group that was
    sampled a step before is among the C. The last term: the engine's handle of each token, and its node in the trie.
    """
    numbers = 8 * (work.entropies + (work.influence is not None))
    drawn = max((min(call.completions, work.max_rows) * call.budget for call in calls), default=0)
    kept = carried(work, calls) + sum(call.completions * call.budget for call in calls)
    placed = sum(call.completions * (call.length + call.budget) for call in calls)
    return drawn * (40 + numbers) + kept * (24 + numbers) + placed * 16


def native_bytes(work: Workload, calls: list[EngineCall]) -> int:
    """Buffers of native decoding, which no allocator of torch's sees.

    With n = min(rows or prefilled tokens, 256), b bytes of a sum and s of an activation:
    n (hidden + queries + 2 keys + 2 mlp + inputs of the widest adapted matrix + rank) b + n (hidden + queries + mlp) s
    for the layers;  min(rows, 64) (V b + hidden (b + s)) + threads V b for logits and shares;  positions 2 D b for
    angles;  and the slots of each row's prefix (int32), twice while rows split.
    """
    shape, sums = work.shape, work.sum_item
    rows = max((min(call.completions, work.max_rows) for call in calls), default=0)
    longest = max((call.length + call.budget for call in calls), default=0)
    new = max((_prefilled(work, call) for call in calls), default=0)
    n = min(FORWARDED_AT_ONCE, max(rows, new))
    widest = max(((shape.projection(name) or (shape.hidden_size, 0))[0] for name in work.targets), default=0)
    in_sums = shape.hidden_size + work.queries + 2 * work.keys + 2 * shape.intermediate_size
    in_sums += 0 if work.all_weights else widest + work.rank
    layers = n * (in_sums * sums + (shape.hidden_size + work.queries + shape.intermediate_size) * work.item)
    logits = min(rows, LOGITS_AT_ONCE) * (shape.vocab_size * sums + shape.hidden_size * (sums + work.item))
    shares = work.threads * shape.vocab_size * sums
    angles = longest * 2 * shape.head_dim * sums
    return layers + logits + shares + angles + 2 * rows * longest * 4


def _prefilled(work: Workload, call: EngineCall) -> int:
    """Tokens of contexts that are not stored, of those decoded together."""
    return replace(call, contexts=min(call.contexts, work.max_rows)).fresh


def torch_bytes(work: Workload, calls: list[EngineCall]) -> int:
    """Largest of what is alive at once in a pass of torch: a prefill, a decoded layer, or the drawing of tokens.

    - drawing, n rows: n V (s + 2 * 4 + 2 * 8): logits, log-probabilities twice, their exponentials and running sums in
      float64;  4 more where logits are converted to float32;  with a nucleus 3 * 4 + 8 more.
    - decoding, n rows at length L: n L 2 keys s for the prefixes read;  n (hidden 3 + 3 mlp) s.
    - prefill of t tokens, L wide: t (3 hidden + 3 mlp + 2 (queries + 2 keys)) s + t L (heads / keys' heads) s of mask.
    """
    shape, s = work.shape, work.item
    rows = max((min(call.completions, work.max_rows) for call in calls), default=0)
    longest = max((call.length + call.budget for call in calls), default=0)
    each = s + 8 + 16 + (4 if s < 4 else 0) + (20 if work.nucleus else 0)
    drawing = rows * shape.vocab_size * each
    width = 3 * shape.hidden_size + 3 * shape.intermediate_size
    decoding = rows * (longest * 2 * work.keys + width) * s
    prefill = 0
    for call in calls:
        tokens = min(PREFILL_TOKENS, _prefilled(work, call))
        shared = shape.num_heads // shape.num_kv_heads
        prefill = max(prefill, tokens * ((width + 2 * (work.queries + 2 * work.keys)) * s + call.length * (1 + shared)))
    beside = max(gate_up_bytes(work, PREFILL_TOKENS), down_bytes(work, PREFILL_TOKENS))
    return max(drawing, decoding, prefill) + beside


def static_bytes(work: Workload, calls: list[EngineCall]) -> int:
    """What decoding in static shapes holds from its first call on, for its largest grid (`StaticDecoder`).

    With B rows of T tokens and C copies of contexts of P: (B T + C P) layers 2 keys s for keys and values, and two
    hidden states of each new token, B T 2 hidden s; and what Triton's kernels hold (`triton_bytes`).
    """
    if not work.static:
        return 0
    token = work.shape.num_layers * 2 * work.keys * work.item
    traffic = Traffic(40 * work.shape.vocab_size, token)
    largest = 0
    for call in calls:
        rows = min(call.completions, work.max_rows)
        each = call.completions // call.contexts
        grid = arrange(np.arange(rows) // each, call.length, call.budget, traffic).grid
        tokens = grid.rows * grid.length
        size = (tokens + grid.copies * grid.context) * token + tokens * 2 * work.shape.hidden_size * work.item
        largest = max(largest, size + triton_bytes(work, grid.rows))
    return largest


def triton_bytes(work: Workload, rows: int) -> int:
    """What the Triton form of a step keeps between its kernels, for `rows` rows and all smaller numbers of them.

    For M padded rows: M (V + 2 hidden + 2 queries + 2 keys + mlp) s, and at most 16 partial sums, M 16 hidden 4. A
    room for each power of two of rows up to M: together less than twice the last. None for a quantised base or a small
    model.
    """
    shape = work.shape
    if work.dtype in ("int8", "nf4") or weight_bytes(shape, work.dtype) < FEWEST_BYTES:
        return 0
    padded = row_block(min(rows, MOST_ROWS))
    states = shape.vocab_size + 2 * shape.hidden_size + 2 * work.queries + 2 * work.keys + shape.intermediate_size
    return 2 * padded * (states * work.item + MOST_SPLITS * shape.hidden_size * 4)


def gate_up_bytes(work: Workload, tokens: int) -> int:
    """What the products of `tokens` states with gate and up need beside both: one matrix, unless it is quantised."""
    together = 1 if work.dtype in QUANTISATIONS else 2
    return _product_bytes(work, tokens, work.shape.hidden_size, together * work.shape.intermediate_size)


def down_bytes(work: Workload, tokens: int) -> int:
    """The same of the product that leads back to hidden states."""
    return _product_bytes(work, tokens, work.shape.intermediate_size, work.shape.hidden_size)


def _product_bytes(work: Workload, tokens: int, inputs: int, outputs: int) -> int:
    """The dequantised matrix, inputs outputs s;  where products are widened, `widened_bytes`, from int8 at once."""
    whole = work.dtype in QUANTISATIONS and not (work.widened and work.dtype == "int8")
    return whole * inputs * outputs * work.item + widened_bytes(work, tokens, inputs, outputs)


def widened_bytes(work: Workload, tokens: int, inputs: int, outputs: int) -> int:
    """States, a block of the matrix and their product in float32, where products are widened (`models/products.py`).

    With r = min(tokens, 1024) and o = min(outputs, 1024): 4 (r inputs + o inputs + r o).
    """
    if not work.widened or tokens < FEWEST_ROWS:
        return 0
    rows, block = min(tokens, ROWS), min(outputs, OUTPUTS)
    return 4 * (rows * inputs + block * inputs + rows * block)
