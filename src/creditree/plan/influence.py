"""Bytes and operations that the influence of steps takes: by a pass over completions, or summed while decoding."""

from creditree.engines.requests import PREFILL_TOKENS
from creditree.models.influence import BLOCK_BYTES
from creditree.plan.store import EngineCall
from creditree.plan.workload import Workload
from creditree.signals import InfluenceSpec

STEP_TOKENS = 8
"""Tokens of a step, as assumed: the sums of decoding grow with the number of steps. Ours: a short line."""


def pass_bytes(work: Workload, calls: list[EngineCall], *, expected: bool) -> int:
    """What is alive in the pass over N completions of T tokens, prompt included, of which Q are forwarded.

    N T is 8192 at most, or N is 1. At attention, with b bytes of a sum: N Q (hidden + 3 queries + 3 keys) s;
    N (2 T - Q) 2 keys s for keys and values as they are stored and joined, and N T 2 keys b where b is not s;
    N T heads b of column sums, and two blocks of scores of 8 MiB, or of one row.  At the MLP instead:
    N Q (3 hidden + 3 mlp + 3 queries + 3 keys) s.  And N T (16 + b) for the steps.
    """
    return max((_pass(work, call, expected=expected) for call in calls if _is_passed(work, call, expected)), default=0)


def sum_bytes(work: Workload, calls: list[EngineCall]) -> int:
    """What decoding holds to sum attention, for n rows and S steps: of the present step, and of those before it.

    2 n layers heads S b; native code keeps room for twice as many steps, torch for the next power of two.
    """
    spec = work.influence
    if spec is None or spec.source == "pass" or work.static:
        return 0
    shape, largest = work.shape, 0
    for call in calls:
        if not call.observed or call.sharing is not None:
            continue
        steps = 2 + call.budget // STEP_TOKENS
        layers = shape.num_layers if spec.layers is None or work.native else len(spec.layers)
        heads = shape.num_heads if spec.heads is None or work.native else len(spec.heads)
        room = 2 * steps if work.native else 1 << (steps - 1).bit_length()
        largest = max(largest, 2 * min(call.completions, work.max_rows) * layers * heads * room * work.sum_item)
    return largest


def influence_flops(work: Workload, calls: list[EngineCall], forward: int, *, expected: bool) -> int:
    """Operations for influence alone: the tokens of its pass, or of decoding the last one of each completion.

    `forward`: of one token's products in all layers;  and for each token seen, in each layer, 4 queries, in the pass
    2 heads more for the column sums.
    """
    spec, shape = work.influence, work.shape
    if spec is None:
        return 0
    total = 0
    for call in calls:
        if not call.observed:
            continue
        tokens, layers, pair = 1, shape.num_layers, 4 * work.queries
        if _is_passed(work, call, expected):
            tokens, layers, pair = _forwarded(work, call, expected), _layers(work, spec), pair + 2 * shape.num_heads
        seen = call.length + call.budget - (tokens - 1) / 2
        total += call.completions * tokens * (forward * layers // shape.num_layers + int(pair * layers * seen))
    return total


def _is_passed(work: Workload, call: EngineCall, expected: bool) -> bool:
    """Decoding leaves forks to the pass, all that is decoded in static shapes, and completions without a separator."""
    spec = work.influence
    if spec is None or not call.observed:
        return False
    return spec.source == "pass" or work.static or call.sharing is not None or not expected


def _layers(work: Workload, spec: InfluenceSpec) -> int:
    return work.shape.num_layers if spec.layers is None else max(spec.layers) + 1


def _forwarded(work: Workload, call: EngineCall, expected: bool) -> int:
    """Tokens from step `delta` on, the prompt being step 0; a step has one token at least."""
    delta = work.influence.delta if work.influence else 0
    before = (delta - 1) * (STEP_TOKENS if expected else 1)
    return max(1, call.length + call.budget - work.prompt_tokens - before)


def _pass(work: Workload, call: EngineCall, *, expected: bool) -> int:
    shape, s, b = work.shape, work.item, work.sum_item
    total, new = call.length + call.budget, _forwarded(work, call, expected)
    count = min(call.completions, work.max_rows, max(1, PREFILL_TOKENS // total))
    heads = 3 * work.queries + 3 * work.keys
    row = count * shape.num_heads * total * b
    attention = count * new * (shape.hidden_size + heads) * s + count * (2 * total - new) * 2 * work.keys * s
    attention += (count * total * 2 * work.keys * b if b != s else 0) + row
    attention += 2 * row * min(new, max(1, BLOCK_BYTES // row))
    mlp = count * new * (3 * shape.hidden_size + 3 * shape.intermediate_size + heads) * s
    return max(attention, mlp) + count * total * (16 + b)
