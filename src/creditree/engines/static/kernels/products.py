"""Triton kernel of a skinny product y = x W^T for at most 128 rows: W is read once, and what follows it is fused.

A program computes one tile of BLOCK_N outputs for all rows, over all inputs or one of SPLITS parts of them. Partial
sums are then added by the program that comes last, always in the same order: results do not vary between replays.

Rows are padded: every buffer has BLOCK_M of them, and what stands in the unused ones is never looked at. RMS norms cost
no pass: whoever writes hidden states h also writes h * weight of the norm to come, and each tile's sums of h^2; the
product with h * weight is divided by sqrt(mean(h^2) + eps) in the end.
"""

import triton
import triton.language as tl

from creditree.engines.static.kernels.ends import add_residual, arrived, gathered, write_logits
from creditree.engines.static.kernels.gates import wait
from creditree.engines.static.kernels.low_rank import adapter, dot_parts, widened


@triton.jit
def product(
    x,
    weight,
    bias,
    squares,
    lora_a,
    lora_b,
    out,
    scaled,
    next_norm,
    next_squares,
    kept,
    column,
    stats,
    partial,
    tickets,
    epsilon,
    scaling,
    temperature,
    a_second,
    a_third,
    b_second,
    b_third,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BIAS: tl.constexpr,
    PARTS: tl.constexpr,
    KEPT_LENGTH: tl.constexpr,
    LORA: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    PREFETCH: tl.constexpr,
    PDL: tl.constexpr,
):
    """Compute a tile of one of four kinds of products (KIND).

    "heads": out = (x W^T + LoRA) / norm + bias.  "gated": W [2 OUTPUTS, INPUTS], out = silu(gate) * up of that.
    "residual": out += x W^T + LoRA + bias, and `scaled`, `next_squares` for the norm to come; with KEPT_LENGTH also
    written to `kept` [rows, KEPT_LENGTH, OUTPUTS] at `column`.  "logits": as heads, with `stats` of each row and tile:
    largest logit, sums of exp(l - largest), of exp((l - largest) / temperature), of exp(l - largest) (l - largest).
    """
    part_of_product(
        tl.program_id(0),
        tl.program_id(1),
        x,
        weight,
        bias,
        squares,
        lora_a,
        lora_b,
        out,
        scaled,
        next_norm,
        next_squares,
        kept,
        column,
        stats,
        partial,
        tickets,
        epsilon,
        scaling,
        temperature,
        a_second,
        a_third,
        b_second,
        b_third,
        0,
        KIND,
        ROWS,
        INPUTS,
        OUTPUTS,
        BIAS,
        PARTS,
        KEPT_LENGTH,
        LORA,
        BLOCK_M,
        BLOCK_N,
        BLOCK_K,
        SPLITS,
        STAGES,
        PREFETCH,
        PDL,
        (tickets, 0, tickets),
        0,
    )


@triton.jit
def part_of_product(
    tile,
    split,
    x,
    weight,
    bias,
    squares,
    lora_a,
    lora_b,
    out,
    scaled,
    next_norm,
    next_squares,
    kept,
    column,
    stats,
    partial,
    tickets,
    epsilon,
    scaling,
    temperature,
    a_second,
    a_third,
    b_second,
    b_third,
    zero,
    KIND: tl.constexpr,
    used,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BIAS: tl.constexpr,
    PARTS: tl.constexpr,
    kept_length,
    LORA: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    PREFETCH: tl.constexpr,
    PDL: tl.constexpr,
    gate,
    patience,
):
    """Compute part number `split` of a tile of a product, as `product` describes it, for `used` rows.

    `zero`: 0, known only when it runs where the steps are not to be unrolled.
    """
    LORAS: tl.constexpr = LORA[0]
    RANK: tl.constexpr = LORA[1]
    RANK_BLOCK: tl.constexpr = LORA[2]
    GATED: tl.constexpr = KIND == "gated"
    rows = tl.arange(0, BLOCK_M)
    columns = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = columns < OUTPUTS
    STEPS: tl.constexpr = (INPUTS + BLOCK_K * SPLITS - 1) // (BLOCK_K * SPLITS)
    EVEN: tl.constexpr = INPUTS == STEPS * BLOCK_K * SPLITS
    WHOLE: tl.constexpr = OUTPUTS % BLOCK_N == 0
    first = split * (STEPS * BLOCK_K)
    if PREFETCH > 0:
        ask_for_weights(weight, columns, first, INPUTS, OUTPUTS, PREFETCH)
        if GATED:
            ask_for_weights(weight + OUTPUTS * INPUTS, columns, first, INPUTS, OUTPUTS, PREFETCH)
    if PDL == "counter" or PDL == "timed":
        patience = wait(gate, patience, PDL == "timed")
    elif PDL != "none":
        tl.extra.cuda.gdc_wait()
    if PDL == "early":
        tl.extra.cuda.gdc_launch_dependents()
    inner = tl.arange(0, BLOCK_K)
    x_at = x + rows[:, None] * INPUTS + (first + inner)[None, :]
    w_first = weight + (tile.to(tl.int64) * (BLOCK_N * INPUTS) + first)
    w_at = w_first + (tl.arange(0, BLOCK_N)[None, :] * INPUTS + inner[:, None])
    if KIND != "residual":
        part = tl.arange(0, PARTS)
        sums = tl.load(squares + part[:, None] * BLOCK_M + rows[None, :])
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    up = acc
    rank = tl.arange(0, RANK_BLOCK)
    low = tl.zeros((BLOCK_M, RANK_BLOCK), dtype=tl.float32)
    low_up = low
    if LORAS > 0:
        a_from, b_from, is_on, b_row = adapter(
            tile * BLOCK_N,
            a_second,
            a_third,
            b_second,
            b_third,
            LORA,
        )
        a_at = lora_a + a_from + rank[None, :] * INPUTS + (first + inner)[:, None]
        a_mask = (rank < RANK)[None, :] & is_on
        if GATED:
            a_from, b_from_up, is_on_up, b_row_up = adapter(
                OUTPUTS + tile * BLOCK_N,
                a_second,
                a_third,
                b_second,
                b_third,
                LORA,
            )
            a_at_up = lora_a + a_from + rank[None, :] * INPUTS + (first + inner)[:, None]
            a_mask_up = (rank < RANK)[None, :] & is_on_up
    for step in tl.range(STEPS + zero, num_stages=STAGES):
        left = INPUTS - first - step * BLOCK_K
        known = inner < left
        if EVEN:
            value = tl.load(x_at + step * BLOCK_K)
        else:
            value = tl.load(x_at + step * BLOCK_K, mask=known[None, :], other=0.0)
        if EVEN and WHOLE:
            matrix = tl.load(w_at + step * BLOCK_K)
        else:
            matrix = tl.load(w_at + step * BLOCK_K, mask=inside[None, :] & known[:, None], other=0.0)
        acc = tl.dot(value, matrix, acc, input_precision="ieee")
        if GATED:
            w_up = w_at + step * BLOCK_K + OUTPUTS * INPUTS
            if EVEN and WHOLE:
                matrix_up = tl.load(w_up)
            else:
                matrix_up = tl.load(w_up, mask=inside[None, :] & known[:, None], other=0.0)
            up = tl.dot(value, matrix_up, up, input_precision="ieee")
        if LORAS > 0:
            narrow = tl.load(a_at + step * BLOCK_K, mask=a_mask & known[:, None], other=0.0)
            low = dot_parts(value, narrow, low)
            if GATED:
                narrow_up = tl.load(a_at_up + step * BLOCK_K, mask=a_mask_up & known[:, None], other=0.0)
                low_up = dot_parts(value, narrow_up, low_up)
    if PDL == "late":
        tl.extra.cuda.gdc_launch_dependents()
    if LORAS > 0:
        kind: tl.constexpr = x.dtype.element_ty
        acc += scaling * widened(low, lora_b + b_from, b_row + tl.arange(0, BLOCK_N), rank, inside & is_on, RANK, kind)
        if GATED:
            b_rows = b_row_up + tl.arange(0, BLOCK_N)
            up += scaling * widened(low_up, lora_b + b_from_up, b_rows, rank, inside & is_on_up, RANK, kind)
    if SPLITS > 1:
        last = arrived(acc, partial, tickets, tile, split, BLOCK_M, BLOCK_N, SPLITS)
    else:
        last = True
    if last:
        if SPLITS > 1:
            acc = gathered(partial, tickets, tile, BLOCK_M, BLOCK_N, SPLITS)
        if KIND != "residual":
            factor = 1.0 / tl.sqrt(tl.sum(sums, axis=0) / INPUTS + epsilon)
            acc = acc * factor[:, None]
        if BIAS:
            acc += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
        target = rows[:, None] * OUTPUTS + columns[None, :]
        if KIND == "heads":
            tl.store(out + target, acc.to(out.dtype.element_ty), mask=inside[None, :])
        if GATED:
            up = up * factor[:, None]
            if BIAS:
                up += tl.load(bias + OUTPUTS + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
            opened = acc / (1.0 + tl.exp(-acc)) * up
            tl.store(out + target, opened.to(out.dtype.element_ty), mask=inside[None, :])
        if KIND == "residual":
            add_residual(
                acc,
                out,
                scaled,
                next_norm,
                next_squares,
                kept,
                column,
                tile,
                rows,
                columns,
                used,
                OUTPUTS,
                kept_length,
                BLOCK_M,
            )
        if KIND == "logits":
            write_logits(acc, out, stats, temperature, tile, rows, columns, used, OUTPUTS, BLOCK_M, BLOCK_N)
    return patience


@triton.jit
def ask_for_weights(weight, columns, first, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, PREFETCH: tl.constexpr):
    """Ask for the first PREFETCH lines of 64 numbers of each column, before the states to multiply with are there."""
    line = tl.minimum(first + tl.arange(0, PREFETCH) * 64, INPUTS - 1)
    safe = tl.minimum(columns, OUTPUTS - 1).to(tl.int64)
    at = weight + safe[:, None] * INPUTS + line[None, :]
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [at], dtype=tl.int32, is_pure=False, pack=1
    )
