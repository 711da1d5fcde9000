"""What Triton kernels of products do with their sums; and the embedding, which leaves the same for the first norm."""

import triton
import triton.language as tl


@triton.jit
def arrived(
    acc,
    partial,
    tickets,
    tile,
    split,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Store a partial sum; return whether all others of the tile have been stored."""
    inside = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tl.store(partial + (tile * SPLITS + split) * (BLOCK_M * BLOCK_N) + inside, acc)
    tl.debug_barrier()
    return tl.atomic_add(tickets + tile, 1, sem="acq_rel") == SPLITS - 1


@triton.jit
def gathered(partial, tickets, tile, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SPLITS: tl.constexpr):
    """Return the sum of a tile's parts, and make its ticket ready for the next product."""
    tl.debug_barrier()
    tl.store(tickets + tile, 0)
    inside = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    at = partial + tile * (SPLITS * BLOCK_M * BLOCK_N) + inside
    acc = tl.load(at, cache_modifier=".cg")
    for split in tl.static_range(1, SPLITS):
        acc += tl.load(at + split * (BLOCK_M * BLOCK_N), cache_modifier=".cg")
    return acc


@triton.jit
def add_residual(
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
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    KEPT_LENGTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Add to the hidden states, and write what the next product takes."""
    mask = (columns < OUTPUTS)[None, :] & (rows < ROWS)[:, None]
    target = rows[:, None] * OUTPUTS + columns[None, :]
    before = tl.load(out + target, mask=mask, other=0.0).to(tl.float32)
    hidden = (acc + before).to(out.dtype.element_ty)
    tl.store(out + target, hidden, mask=mask)
    wide = hidden.to(tl.float32)
    norm = tl.load(next_norm + columns, mask=columns < OUTPUTS, other=0.0).to(tl.float32)
    tl.store(scaled + target, (wide * norm[None, :]).to(scaled.dtype.element_ty), mask=mask)
    wide = tl.where(mask, wide, 0.0)
    tl.store(next_squares + tile * BLOCK_M + rows, tl.sum(wide * wide, axis=1))
    if KEPT_LENGTH > 0:
        there = rows.to(tl.int64) * KEPT_LENGTH + tl.load(column)
        target_kept = there[:, None] * OUTPUTS + columns[None, :]
        tl.store(kept + target_kept, hidden, mask=mask)


@triton.jit
def write_logits(
    acc,
    out,
    stats,
    temperature,
    tile,
    rows,
    columns,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write logits and what drawing from them needs of each tile, `stats` [4, BLOCK_M, tiles]."""
    mask = (columns < OUTPUTS)[None, :] & (rows < ROWS)[:, None]
    rounded = acc.to(out.dtype.element_ty)
    target = rows.to(tl.int64)[:, None] * OUTPUTS + columns[None, :]
    tl.store(out + target, rounded, mask=mask)
    logits = tl.where(mask, rounded.to(tl.float32), float("-inf"))
    largest = tl.max(logits, axis=1)
    shifted = logits - tl.where(largest == float("-inf"), 0.0, largest)[:, None]
    weights = tl.exp(shifted)
    tempered = tl.exp(shifted / temperature)
    terms = weights * tl.where(weights == 0.0, 0.0, shifted)
    TILES: tl.constexpr = (OUTPUTS + BLOCK_N - 1) // BLOCK_N
    at = stats + rows * TILES + tile
    tl.store(at, largest)
    tl.store(at + BLOCK_M * TILES, tl.sum(weights, axis=1))
    tl.store(at + 2 * BLOCK_M * TILES, tl.sum(tempered, axis=1))
    tl.store(at + 3 * BLOCK_M * TILES, tl.sum(terms, axis=1))


@triton.jit
def embed(
    table,
    token,
    norm,
    states,
    scaled,
    squares,
    kept,
    column,
    WIDTH: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
    KEPT_LENGTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    PDL: tl.constexpr,
):
    """Write a row's embedding, scaled for the first norm, and its sum of squares: one number, and zeros."""
    if PDL != "none":
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0)
    at = tl.arange(0, WIDTH_BLOCK)
    mask = at < WIDTH
    hidden = tl.load(table + tl.load(token + row).to(tl.int64) * WIDTH + at, mask=mask, other=0.0)
    tl.store(states + row * WIDTH + at, hidden, mask=mask)
    wide = hidden.to(tl.float32)
    weight = tl.load(norm + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(scaled + row * WIDTH + at, (wide * weight).to(scaled.dtype.element_ty), mask=mask)
    part = tl.arange(0, PARTS)
    tl.store(squares + part * BLOCK_M + row, tl.where(part == 0, tl.sum(wide * wide, axis=0), 0.0))
    if KEPT_LENGTH > 0:
        there = row.to(tl.int64) * KEPT_LENGTH + tl.load(column)
        tl.store(kept + there * WIDTH + at, hidden, mask=mask)
