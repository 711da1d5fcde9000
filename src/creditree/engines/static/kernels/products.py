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
from creditree.engines.static.kernels.prefetch import ask_ahead


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
    ahead,
    ahead_second,
    ahead_numbers,
    ahead_second_numbers,
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
    LORAS: tl.constexpr,
    RANK: tl.constexpr,
    RANK_BLOCK: tl.constexpr,
    START_1: tl.constexpr,
    STOP_1: tl.constexpr,
    START_2: tl.constexpr,
    STOP_2: tl.constexpr,
    START_3: tl.constexpr,
    STOP_3: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    PREFETCH: tl.constexpr,
    AHEAD: tl.constexpr,
    PRELOAD: tl.constexpr,
    PDL: tl.constexpr,
):
    """Compute a tile of one of four kinds of products (KIND).

    "heads": out = (x W^T + LoRA) / norm + bias.  "gated": W [2 OUTPUTS, INPUTS], out = silu(gate) * up of that.
    "residual": out += x W^T + LoRA + bias, and `scaled`, `next_squares` for the norm to come; with KEPT_LENGTH also
    written to `kept` [rows, KEPT_LENGTH, OUTPUTS] at `column`.  "logits": as heads, with `stats` of each row and tile:
    largest logit, sums of exp(l - largest), of exp((l - largest) / temperature), of exp(l - largest) (l - largest).
    The first PRELOAD blocks of weights are loaded before what is multiplied with them is there.
    """
    GATED: tl.constexpr = KIND == "gated"
    tile = tl.program_id(0)
    split = tl.program_id(1)
    rows = tl.arange(0, BLOCK_M)
    columns = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = columns < OUTPUTS
    STEPS: tl.constexpr = (INPUTS + BLOCK_K * SPLITS - 1) // (BLOCK_K * SPLITS)
    EVEN: tl.constexpr = INPUTS == STEPS * BLOCK_K * SPLITS
    WHOLE: tl.constexpr = OUTPUTS % BLOCK_N == 0
    first = split * (STEPS * BLOCK_K)
    if PREFETCH > 0:
        _prefetch(weight, columns, first, INPUTS, OUTPUTS, PREFETCH)
        if GATED:
            _prefetch(weight + OUTPUTS * INPUTS, columns, first, INPUTS, OUTPUTS, PREFETCH)
    if AHEAD > 0:
        ask_ahead(ahead, ahead_numbers, ahead_second, ahead_second_numbers, AHEAD)
    inner = tl.arange(0, BLOCK_K)
    x_at = x + rows[:, None] * INPUTS + (first + inner)[None, :]
    w_first = weight + (tile.to(tl.int64) * (BLOCK_N * INPUTS) + first)
    w_at = w_first + (tl.arange(0, BLOCK_N)[None, :] * INPUTS + inner[:, None])
    matrices = ()
    matrices_up = ()
    for step in tl.static_range(PRELOAD):
        matrices = matrices + (tl.load(w_at + step * BLOCK_K),)
        if GATED:
            matrices_up = matrices_up + (tl.load(w_at + step * BLOCK_K + OUTPUTS * INPUTS),)
    if PDL != "none":
        tl.extra.cuda.gdc_wait()
    if PDL == "early":
        tl.extra.cuda.gdc_launch_dependents()
    values = ()
    for step in tl.static_range(PRELOAD):
        values = values + (tl.load(x_at + step * BLOCK_K),)
    if KIND != "residual":
        part = tl.arange(0, PARTS)
        sums = tl.load(squares + part[:, None] * BLOCK_M + rows[None, :])
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    up = acc
    rank = tl.arange(0, RANK_BLOCK)
    low = tl.zeros((BLOCK_M, RANK_BLOCK), dtype=tl.float32)
    low_up = low
    if LORAS > 0:
        a_from, b_from, is_on, b_row = _adapter(
            tile * BLOCK_N,
            a_second,
            a_third,
            b_second,
            b_third,
            LORAS,
            START_1,
            STOP_1,
            START_2,
            STOP_2,
            START_3,
            STOP_3,
        )
        a_at = lora_a + a_from + rank[None, :] * INPUTS + (first + inner)[:, None]
        a_mask = (rank < RANK)[None, :] & is_on
        if GATED:
            a_from, b_from_up, is_on_up, b_row_up = _adapter(
                OUTPUTS + tile * BLOCK_N,
                a_second,
                a_third,
                b_second,
                b_third,
                LORAS,
                START_1,
                STOP_1,
                START_2,
                STOP_2,
                START_3,
                STOP_3,
            )
            a_at_up = lora_a + a_from + rank[None, :] * INPUTS + (first + inner)[:, None]
            a_mask_up = (rank < RANK)[None, :] & is_on_up
    for step in tl.static_range(PRELOAD):
        value = values[step]
        acc = tl.dot(value, matrices[step], acc, input_precision="ieee")
        if GATED:
            up = tl.dot(value, matrices_up[step], up, input_precision="ieee")
        if LORAS > 0:
            low = _dot_parts(value, tl.load(a_at + step * BLOCK_K, mask=a_mask, other=0.0), low)
            if GATED:
                low_up = _dot_parts(value, tl.load(a_at_up + step * BLOCK_K, mask=a_mask_up, other=0.0), low_up)
    for step in range(PRELOAD, STEPS):
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
            low = _dot_parts(value, narrow, low)
            if GATED:
                narrow_up = tl.load(a_at_up + step * BLOCK_K, mask=a_mask_up & known[:, None], other=0.0)
                low_up = _dot_parts(value, narrow_up, low_up)
    if PDL == "late":
        tl.extra.cuda.gdc_launch_dependents()
    if LORAS > 0:
        kind: tl.constexpr = x.dtype.element_ty
        acc += scaling * _widened(low, lora_b + b_from, b_row + tl.arange(0, BLOCK_N), rank, inside & is_on, RANK, kind)
        if GATED:
            b_rows = b_row_up + tl.arange(0, BLOCK_N)
            up += scaling * _widened(low_up, lora_b + b_from_up, b_rows, rank, inside & is_on_up, RANK, kind)
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
                ROWS,
                OUTPUTS,
                KEPT_LENGTH,
                BLOCK_M,
            )
        if KIND == "logits":
            write_logits(acc, out, stats, temperature, tile, rows, columns, ROWS, OUTPUTS, BLOCK_M, BLOCK_N)


@triton.jit
def _prefetch(weight, columns, first, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, PREFETCH: tl.constexpr):
    """Ask for the first PREFETCH lines of 64 numbers of each column, before the states to multiply with are there."""
    line = tl.minimum(first + tl.arange(0, PREFETCH) * 64, INPUTS - 1)
    safe = tl.minimum(columns, OUTPUTS - 1).to(tl.int64)
    at = weight + safe[:, None] * INPUTS + line[None, :]
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [at], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def _adapter(
    begin,
    a_second,
    a_third,
    b_second,
    b_third,
    LORAS: tl.constexpr,
    START_1: tl.constexpr,
    STOP_1: tl.constexpr,
    START_2: tl.constexpr,
    STOP_2: tl.constexpr,
    START_3: tl.constexpr,
    STOP_3: tl.constexpr,
):
    """Return how far A and B of the adapter on column `begin` lie behind the first, if it is on, and its row of B."""
    second = (LORAS > 1) & (begin >= START_2)
    third = (LORAS > 2) & (begin >= START_3)
    a_from = tl.where(third, a_third, tl.where(second, a_second, 0)).to(tl.int64)
    b_from = tl.where(third, b_third, tl.where(second, b_second, 0)).to(tl.int64)
    start = tl.where(third, START_3, tl.where(second, START_2, START_1))
    stop = tl.where(third, STOP_3, tl.where(second, STOP_2, STOP_1))
    return a_from, b_from, (begin >= start) & (begin < stop), begin - start


@triton.jit
def _dot_parts(value, narrow, low):
    """Return low + value narrow for a matrix of a higher precision, taken as the sum of two parts of the lower one."""
    high = narrow.to(value.dtype)
    low = tl.dot(value, high, low, input_precision="ieee")
    if narrow.dtype != value.dtype:
        rest = (narrow - high.to(narrow.dtype)).to(value.dtype)
        low = tl.dot(value, rest, low, input_precision="ieee")
    return low


@triton.jit
def _widened(low, lora_b, b_rows, rank, inside, RANK: tl.constexpr, kind: tl.constexpr):
    """Return low B^T in float32, each factor as the sum of two parts."""
    mask = (rank < RANK)[:, None] & inside[None, :]
    wide = tl.load(lora_b + b_rows[None, :] * RANK + rank[:, None], mask=mask, other=0.0).to(tl.float32)
    low_high, wide_high = low.to(kind), wide.to(kind)
    out = tl.dot(low_high, wide_high, input_precision="ieee")
    if kind != tl.float32:
        low_rest = (low - low_high.to(tl.float32)).to(kind)
        wide_rest = (wide - wide_high.to(tl.float32)).to(kind)
        out = tl.dot(low_rest, wide_high, out)
        out = tl.dot(low_high, wide_rest, out)
    return out
