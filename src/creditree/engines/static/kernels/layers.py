"""Triton kernel of whole decoder layers: as many programs as run at once go through five phases of each layer together.

The phases are the kernels that `products` and `attention` hold, each cut into units that programs take in turn. A
program that has done its units of a phase says so in a counter of that layer and phase; one that has units of the next
phase first asks for their weights, which depend on nothing, and then waits until all have said so. A phase begins only
when the whole phase before it has ended, so memory between phases can be used again as if each were a launch.

Counters are zero when a step begins (`embed` sees to that). All programs must be resident, which a cooperative launch
makes sure of. Should one wait too long all the same, it goes on, and leaves word in `late`: the embedding of the next
step is then no number, which is noticed.
"""

import triton
import triton.language as tl

from creditree.engines.static.kernels.attention import ask_for_keys, part_of_attention
from creditree.engines.static.kernels.gates import arrive, mark
from creditree.engines.static.kernels.products import ask_for_weights, part_of_product

FIELDS = (
    "heads.weight", "output.weight", "gate_up.weight", "down.weight",
    "heads.bias", "output.bias", "gate_up.bias", "down.bias",
    "heads.lora_a", "heads.lora_b", "output.lora_a", "output.lora_b",
    "gate_up.lora_a", "gate_up.lora_b", "down.lora_a", "down.lora_b",
    "heads.a_second", "heads.a_third", "heads.b_second", "heads.b_third",
    "output.a_second", "output.a_third", "output.b_second", "output.b_third",
    "gate_up.a_second", "gate_up.a_third", "gate_up.b_second", "gate_up.b_third",
    "down.a_second", "down.a_third", "down.b_second", "down.b_third",
    "output.next_norm", "down.next_norm", "attention.head_norm", "down.kept", "down.KEPT_LENGTH",
    "attention.context_keys", "attention.context_values", "attention.keys", "attention.values",
)  # fmt: skip
"""What differs from layer to layer, in the order of a row of `table`: how many numbers a tensor lies behind that of the
first layer, or a number. The kernel's columns are these places."""
ROW = 48
"""Numbers of a row of the table."""
PHASES = ("heads", "attention", "output", "gate_up", "down")
APART = 32
"""Numbers from one counter to the next: a line of memory for each."""
_ROW = tl.constexpr(ROW)
_APART = tl.constexpr(APART)


@triton.jit(do_not_specialize=["first", "count", "patience", "zero", "used", "each", "context", "length"])
def layers(
    table,
    first,
    count,
    arrivals,
    late,
    patience,
    times,
    zero,
    scaled,
    states,
    squares,
    middle_squares,
    heads,
    attended,
    opened,
    heads_weight,
    output_weight,
    gate_up_weight,
    down_weight,
    heads_bias,
    output_bias,
    gate_up_bias,
    down_bias,
    heads_a,
    heads_b,
    output_a,
    output_b,
    gate_up_a,
    gate_up_b,
    down_a,
    down_b,
    heads_scaling,
    output_scaling,
    gate_up_scaling,
    down_scaling,
    output_norm,
    down_norm,
    head_norm,
    kept,
    cos,
    sin,
    start,
    column,
    context_keys,
    context_values,
    keys,
    values,
    partial,
    tickets,
    heads_epsilon,
    gate_up_epsilon,
    attention_epsilon,
    attention_scaling,
    used,
    each,
    context,
    length,
    WIDTH: tl.constexpr,
    MIDDLE: tl.constexpr,
    QUERIES: tl.constexpr,
    KV: tl.constexpr,
    SIZE: tl.constexpr,
    FOLD: tl.constexpr,
    HEAD_NORM: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BIASES: tl.constexpr,
    HEADS_LORA: tl.constexpr,
    OUTPUT_LORA: tl.constexpr,
    GATE_UP_LORA: tl.constexpr,
    DOWN_LORA: tl.constexpr,
    HEADS: tl.constexpr,
    OUTPUT: tl.constexpr,
    GATE_UP: tl.constexpr,
    DOWN: tl.constexpr,
    LOOKS: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    TIMED: tl.constexpr,
):
    """Do phases FIRST to LAST (of 0 to 4) of `count` layers from `first` on, whose tensors `table` finds.

    Several layers need all phases. Tiles of products are (BLOCK_N, BLOCK_K, SPLITS, STAGES, LINES), LOOKS (BLOCK_T,
    SPLITS, STAGES, LINES); LINES of 64 numbers of each column are asked for ahead of a wait.
    """
    TOGETHER: tl.constexpr = FIRST < LAST
    PDL: tl.constexpr = ("timed" if TIMED else "counter") if TOGETHER else "none"
    ATTEND: tl.constexpr = QUERIES * SIZE
    OUTPUTS: tl.constexpr = (QUERIES + 2 * KV) * SIZE
    HEADS_UNITS: tl.constexpr = (OUTPUTS + HEADS[0] - 1) // HEADS[0] * HEADS[2]
    OUTPUT_UNITS: tl.constexpr = (WIDTH + OUTPUT[0] - 1) // OUTPUT[0] * OUTPUT[2]
    GATE_UP_UNITS: tl.constexpr = (MIDDLE + GATE_UP[0] - 1) // GATE_UP[0]
    DOWN_UNITS: tl.constexpr = (WIDTH + DOWN[0] - 1) // DOWN[0] * DOWN[2]
    program = tl.program_id(0)
    programs = tl.num_programs(0)
    looks = used * (KV * LOOKS[1])
    for layer in range(first, first + count):
        row = table + layer * _ROW
        counter = arrivals + layer * (5 * _APART)
        is_next = layer > first
        clock = times + (layer * programs + program) * 20
        next_row = table + tl.minimum(layer + 1, first + count - 1) * _ROW
        if FIRST == 0:
            if program < HEADS_UNITS:
                before = tl.where(is_next, tl.minimum(programs, DOWN_UNITS), 0)
                patience = _product(
                    "heads", HEADS_UNITS, row, zero, 0, scaled, heads_weight, heads_bias, squares, heads_a, heads_b, heads,
                    scaled, output_norm, squares, kept, column, partial, tickets, heads_epsilon, heads_scaling, 0,
                    used, WIDTH, OUTPUTS, BIASES, PARTS, BLOCK_M, HEADS_LORA, HEADS, PDL,
                    (counter - _APART, before, clock + 0), patience,
                )  # fmt: skip
                if TOGETHER:
                    mark(clock + 2, TIMED)
                    arrive(counter)
                    mark(clock + 3, TIMED)
        if TOGETHER and LOOKS[3] > 0:
            if program < looks:
                ask_for_keys(
                    program // (KV * LOOKS[1]), program // LOOKS[1] % KV, start, column, there(context_keys, row, 37),
                    there(context_values, row, 38), there(keys, row, 39), there(values, row, 40), each, context, length,
                    KV, SIZE, LOOKS[3],
                )  # fmt: skip
        if TOGETHER and GATE_UP[4] > 0:
            if program < GATE_UP_UNITS:
                _ask("gated", there(gate_up_weight, row, 2), program, WIDTH, MIDDLE, GATE_UP)
        if FIRST <= 1 and LAST >= 1:
            if program < looks:
                context_keys_at = there(context_keys, row, 37)
                context_values_at = there(context_values, row, 38)
                keys_at = there(keys, row, 39)
                values_at = there(values, row, 40)
                for turn in range(0, (looks - program + programs - 1) // programs):
                    unit = program + turn * programs
                    patience = part_of_attention(
                        unit // (KV * LOOKS[1]), unit // LOOKS[1] % KV, unit % LOOKS[1], heads, cos, sin, start,
                        column, context_keys_at, context_values_at, keys_at, values_at, there(head_norm, row, 34),
                        attended, partial, tickets, attention_scaling, attention_epsilon, each, context, length,
                        QUERIES, KV, SIZE, FOLD, HEAD_NORM, LOOKS[0], LOOKS[1], LOOKS[2], 0, PDL,
                        (counter, tl.where(turn == 0, tl.minimum(programs, HEADS_UNITS), 0), clock + 4), patience,
                    )  # fmt: skip
                if TOGETHER:
                    mark(clock + 6, TIMED)
                    arrive(counter + _APART)
                    mark(clock + 7, TIMED)
        if FIRST <= 2 and LAST >= 2:
            if program < OUTPUT_UNITS:
                patience = _product(
                    "residual", OUTPUT_UNITS, row, zero, 1, attended, output_weight, output_bias, squares, output_a,
                    output_b, states, scaled, there(output_norm, row, 32), middle_squares, kept, column, partial,
                    tickets, heads_epsilon, output_scaling, 0, used, ATTEND, WIDTH, BIASES, PARTS, BLOCK_M,
                    OUTPUT_LORA, OUTPUT, PDL,
                    (counter + _APART, tl.minimum(programs, looks), clock + 8), patience,
                )  # fmt: skip
                if TOGETHER:
                    mark(clock + 10, TIMED)
                    arrive(counter + 2 * _APART)
                    mark(clock + 11, TIMED)
        if FIRST <= 3 and LAST >= 3:
            if program < GATE_UP_UNITS:
                patience = _product(
                    "gated", GATE_UP_UNITS, row, zero, 2, scaled, gate_up_weight, gate_up_bias, middle_squares, gate_up_a,
                    gate_up_b, opened, scaled, output_norm, squares, kept, column, partial, tickets,
                    gate_up_epsilon, gate_up_scaling, 0, used, WIDTH, MIDDLE, BIASES, PARTS, BLOCK_M, GATE_UP_LORA,
                    GATE_UP, PDL,
                    (counter + 2 * _APART, tl.minimum(programs, OUTPUT_UNITS), clock + 12), patience,
                )  # fmt: skip
                if TOGETHER:
                    mark(clock + 14, TIMED)
                    arrive(counter + 3 * _APART)
                    mark(clock + 15, TIMED)
        if LAST == 4:
            if program < DOWN_UNITS:
                if TOGETHER:
                    if DOWN[4] > 0:
                        _ask("residual", there(down_weight, row, 3), program, MIDDLE, WIDTH, DOWN)
                patience = _product(
                    "residual", DOWN_UNITS, row, zero, 3, opened, down_weight, down_bias, squares, down_a, down_b, states,
                    scaled, there(down_norm, row, 33), squares, there(kept, row, 35), column, partial, tickets,
                    heads_epsilon, down_scaling, tl.load(row + 36), used, MIDDLE, WIDTH, BIASES, PARTS, BLOCK_M,
                    DOWN_LORA, DOWN, PDL,
                    (counter + 3 * _APART, tl.minimum(programs, GATE_UP_UNITS), clock + 16), patience,
                )  # fmt: skip
                if TOGETHER:
                    mark(clock + 18, TIMED)
                    arrive(counter + 4 * _APART)
                    mark(clock + 19, TIMED)
            if TOGETHER and HEADS[4] > 0:
                if program < HEADS_UNITS:
                    _ask("heads", there(heads_weight, next_row, 0), program, WIDTH, OUTPUTS, HEADS)
            if TOGETHER and OUTPUT[4] > 0:
                if program < OUTPUT_UNITS:
                    _ask("residual", there(output_weight, next_row, 1), program, ATTEND, WIDTH, OUTPUT)
    if TOGETHER:
        if patience <= 0:
            tl.store(late, 1)


@triton.jit
def _product(
    KIND: tl.constexpr,
    UNITS: tl.constexpr,
    row,
    zero,
    NUMBER: tl.constexpr,
    x,
    weight,
    bias,
    squares,
    lora_a,
    lora_b,
    out,
    scaled,
    norm,
    next_squares,
    kept,
    column,
    partial,
    tickets,
    epsilon,
    scaling,
    kept_length,
    used,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BIASES: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    LORA: tl.constexpr,
    TILES: tl.constexpr,
    PDL: tl.constexpr,
    gate,
    patience,
):
    """Do this program's units of product number NUMBER of a layer."""
    program = tl.program_id(0)
    programs = tl.num_programs(0)
    for turn in range(0, (UNITS - program + programs - 1) // programs):
        unit = program + turn * programs
        patience = part_of_product(
            unit // TILES[2], unit % TILES[2], x, there(weight, row, NUMBER), there(bias, row, 4 + NUMBER), squares,
            there(lora_a, row, 8 + 2 * NUMBER), there(lora_b, row, 9 + 2 * NUMBER), out, scaled, norm, next_squares,
            kept, column, partial, partial, tickets, epsilon, scaling, 1.0, tl.load(row + 16 + 4 * NUMBER),
            tl.load(row + 17 + 4 * NUMBER), tl.load(row + 18 + 4 * NUMBER), tl.load(row + 19 + 4 * NUMBER), zero, KIND, used,
            INPUTS, OUTPUTS, BIASES[NUMBER], PARTS, kept_length, LORA, BLOCK_M, TILES[0], TILES[1], TILES[2], TILES[3],
            0, PDL, (gate[0], tl.where(turn == 0, gate[1], 0), gate[2]), patience,
        )  # fmt: skip
    return patience


@triton.jit
def _ask(KIND: tl.constexpr, weight, unit, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, TILES: tl.constexpr):
    """Ask for the first LINES lines of each column of a unit."""
    PART: tl.constexpr = (INPUTS + TILES[1] * TILES[2] - 1) // (TILES[1] * TILES[2]) * TILES[1]
    columns = unit // TILES[2] * TILES[0] + tl.arange(0, TILES[0])
    begin = unit % TILES[2] * PART
    ask_for_weights(weight, columns, begin, INPUTS, OUTPUTS, TILES[4])
    if KIND == "gated":
        ask_for_weights(weight + OUTPUTS * INPUTS, columns, begin, INPUTS, OUTPUTS, TILES[4])


@triton.jit
def there(base, row, FIELD: tl.constexpr):
    """Return where a layer's tensor is: so many numbers behind that of the first layer, a multiple of 16."""
    return base + tl.multiple_of(tl.load(row + FIELD), 16)
