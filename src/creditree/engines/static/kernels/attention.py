"""Triton kernel of a decode step's attention: rotation, writing the cache, and attending, in one pass over the keys."""

import triton
import triton.language as tl

from creditree.engines.static.kernels.prefetch import ask_ahead


@triton.jit
def attend(
    heads,
    cos,
    sin,
    start,
    column,
    context_keys,
    context_values,
    keys,
    values,
    head_norm,
    out,
    partial,
    tickets,
    ahead,
    ahead_second,
    ahead_numbers,
    ahead_second_numbers,
    scaling,
    epsilon,
    EACH: tl.constexpr,
    CONTEXT: tl.constexpr,
    LENGTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KV: tl.constexpr,
    SIZE: tl.constexpr,
    FOLD: tl.constexpr,
    HEAD_NORM: tl.constexpr,
    BLOCK_T: tl.constexpr,
    SPLITS: tl.constexpr,
    PREFETCH: tl.constexpr,
    AHEAD: tl.constexpr,
    PDL: tl.constexpr,
):
    """Attend with the query heads of one row that share a key head, over one of SPLITS parts of the keys.

    `heads` [rows, (QUERIES + 2 KV) SIZE]: queries, keys, values before rotation;  contexts [copies, KV, CONTEXT, SIZE],
    read up to `start` [rows], the length of a row's context;  own keys and values [copies, KV, EACH, LENGTH, SIZE],
    read up to `column`, where this row's new ones are written;  `cos`, `sin` [positions, SIZE];  `head_norm`
    [QUERIES + KV, SIZE];  `out` [rows, QUERIES SIZE].
    """
    row = tl.program_id(0)
    head = tl.program_id(1)
    split = tl.program_id(2)
    SHARED: tl.constexpr = QUERIES // KV
    kind: tl.constexpr = keys.dtype.element_ty
    # what an earlier step left is there before the kernel that runs just before this one has ended
    now = tl.load(column).to(tl.int32)
    known = tl.load(start + row).to(tl.int32)
    size = tl.arange(0, SIZE)
    fold = tl.arange(0, FOLD)
    is_query = fold < SHARED
    copy = row // EACH
    context_base = (copy * KV + head).to(tl.int64) * (CONTEXT * SIZE)
    own_base = ((copy * KV + head) * EACH + row % EACH).to(tl.int64) * (LENGTH * SIZE)
    if PREFETCH > 0:
        _prefetch(context_keys + context_base, context_values + context_base, known * SIZE, PREFETCH)
        _prefetch(keys + own_base, values + own_base, now * SIZE, PREFETCH)
    turn_at = (known + now) * SIZE + size
    turn_cos = tl.load(cos + turn_at).to(tl.float32)
    turn_sin = tl.load(sin + turn_at).to(tl.float32) * tl.where(size < SIZE // 2, -1.0, 1.0)
    other = (size + SIZE // 2) % SIZE
    if AHEAD > 0:
        ask_ahead(ahead, ahead_numbers, ahead_second, ahead_second_numbers, AHEAD)
    if PDL != "none":
        tl.extra.cuda.gdc_wait()
    if PDL == "early":
        tl.extra.cuda.gdc_launch_dependents()
    base = heads + row * ((QUERIES + 2 * KV) * SIZE)
    query_at = base + (head * SHARED + fold)[:, None] * SIZE
    query = tl.load(query_at + size[None, :], mask=is_query[:, None], other=0.0).to(tl.float32)
    query_other = tl.load(query_at + other[None, :], mask=is_query[:, None], other=0.0).to(tl.float32)
    key = tl.load(base + (QUERIES + head) * SIZE + size).to(tl.float32)
    key_other = tl.load(base + (QUERIES + head) * SIZE + other).to(tl.float32)
    value = tl.load(base + (QUERIES + KV + head) * SIZE + size)
    if HEAD_NORM:
        weight_at = head_norm + tl.where(is_query, head * SHARED + fold, 0)[:, None] * SIZE
        factor = 1.0 / tl.sqrt(tl.sum(query * query, axis=1) / SIZE + epsilon)[:, None]
        query = (query * factor * tl.load(weight_at + size[None, :]).to(tl.float32)).to(kind).to(tl.float32)
        query_other = (
            (query_other * factor * tl.load(weight_at + other[None, :]).to(tl.float32)).to(kind).to(tl.float32)
        )
        weight_at = head_norm + (QUERIES + head) * SIZE
        factor_key = 1.0 / tl.sqrt(tl.sum(key * key, axis=0) / SIZE + epsilon)
        key = (key * factor_key * tl.load(weight_at + size).to(tl.float32)).to(kind).to(tl.float32)
        key_other = (key_other * factor_key * tl.load(weight_at + other).to(tl.float32)).to(kind).to(tl.float32)
    query = (query * turn_cos[None, :] + query_other * turn_sin[None, :]).to(kind)
    key = (key * turn_cos + key_other * turn_sin).to(kind)
    scale = scaling * 1.4426950408889634
    is_first = split == 0
    if is_first:
        tl.store(keys + own_base + now * SIZE + size, key)
        tl.store(values + own_base + now * SIZE + size, value)
    score = tl.sum(query.to(tl.float32) * key.to(tl.float32)[None, :], axis=1) * scale
    largest = tl.where(is_first, score, float("-inf"))
    total = tl.where(is_first, 1.0, 0.0) + tl.zeros((FOLD,), dtype=tl.float32)
    acc = tl.where(is_first, value.to(tl.float32), 0.0)[None, :] + tl.zeros((FOLD, SIZE), dtype=tl.float32)
    # one loop over both kinds of keys: the loads of the first blocks are under way together
    before = (known + BLOCK_T - 1) // BLOCK_T
    blocks = before + (now + BLOCK_T - 1) // BLOCK_T
    place = tl.arange(0, BLOCK_T)
    for block in range(split, blocks, SPLITS):
        is_own = block >= before
        begin = tl.where(is_own, block - before, block) * BLOCK_T
        seen = begin + place < tl.where(is_own, now, known)
        key_at = tl.where(is_own, keys + own_base, context_keys + context_base) + begin * SIZE
        value_at = tl.where(is_own, values + own_base, context_values + context_base) + begin * SIZE
        block_key = tl.load(key_at + place[None, :] * SIZE + size[:, None], mask=seen[None, :], other=0.0)
        scores = tl.dot(query, block_key, input_precision="ieee") * scale
        scores = tl.where(seen[None, :], scores, float("-inf"))
        new = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new[:, None])
        fading = tl.exp2(largest - new)
        total = total * fading + tl.sum(weights, axis=1)
        block_value = tl.load(value_at + place[:, None] * SIZE + size[None, :], mask=seen[:, None], other=0.0)
        acc = tl.dot(weights.to(block_value.dtype), block_value, acc * fading[:, None], input_precision="ieee")
        largest = new
    if PDL == "late":
        tl.extra.cuda.gdc_launch_dependents()
    target = out + row * (QUERIES * SIZE) + (head * SHARED + fold)[:, None] * SIZE + size[None, :]
    if SPLITS == 1:
        tl.store(target, (acc / total[:, None]).to(out.dtype.element_ty), mask=is_query[:, None])
    else:
        unit = row * KV + head
        part: tl.constexpr = FOLD * SIZE + 2 * FOLD
        at = partial + (unit * SPLITS + split) * part
        inside = fold[:, None] * SIZE + size[None, :]
        tl.store(at + inside, acc)
        tl.store(at + FOLD * SIZE + fold, largest)
        tl.store(at + FOLD * SIZE + FOLD + fold, total)
        tl.debug_barrier()
        if tl.atomic_add(tickets + unit, 1, sem="acq_rel") == SPLITS - 1:
            tl.debug_barrier()
            tl.store(tickets + unit, 0)
            at = partial + unit * (SPLITS * part)
            largest = tl.load(at + FOLD * SIZE + fold, cache_modifier=".cg")
            total = tl.load(at + FOLD * SIZE + FOLD + fold, cache_modifier=".cg")
            acc = tl.load(at + inside, cache_modifier=".cg")
            for other_split in tl.static_range(1, SPLITS):
                there = at + other_split * part
                their = tl.load(there + FOLD * SIZE + fold, cache_modifier=".cg")
                both = tl.maximum(largest, their)
                mine, theirs = tl.exp2(largest - both), tl.exp2(their - both)
                total = total * mine + tl.load(there + FOLD * SIZE + FOLD + fold, cache_modifier=".cg") * theirs
                more = tl.load(there + inside, cache_modifier=".cg")
                acc = acc * mine[:, None] + more * theirs[:, None]
                largest = both
            tl.store(target, (acc / total[:, None]).to(out.dtype.element_ty), mask=is_query[:, None])


@triton.jit
def _prefetch(keys, values, count, LINES: tl.constexpr):
    """Ask for the first `count` numbers of both, at most LINES lines of 64 numbers, before what attends is there."""
    line = tl.maximum(tl.minimum(tl.arange(0, LINES) * 64, count - 1), 0)
    for at in tl.static_range(2):
        there = (keys if at == 0 else values) + line
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [there], dtype=tl.int32, is_pure=False, pack=1
        )
