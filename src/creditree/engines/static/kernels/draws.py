"""Triton kernel that draws a token from logits and what is known of each tile of them, without a pass over them all."""

import triton
import triton.language as tl


@triton.jit
def draw(
    logits,
    stats,
    row,
    uniform,
    column,
    budget,
    ends,
    token,
    done,
    left,
    out,
    tickets,
    temperature,
    MEMBERS: tl.constexpr,
    LENGTH: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    TILES_BLOCK: tl.constexpr,
    ENDS: tl.constexpr,
    ENDS_BLOCK: tl.constexpr,
    GREEDY: tl.constexpr,
    ENTROPY: tl.constexpr,
    SHARED: tl.constexpr,
    PDL: tl.constexpr,
):
    """Draw one member's token at `column` + 1, and what is said of it into `out` [kinds, MEMBERS, LENGTH].

    `stats` [4, BLOCK_M, tiles] are of `product`. A token is the first whose cumulative sum exceeds the uniform number's
    share of the total: over tiles in float64, then within one. GREEDY: the first of the largest. Where rows are not
    SHARED, the token goes on to `token`, and `done` and `left` are updated; the member that comes last counts, and
    moves `column` on.
    """
    if PDL != "none":
        tl.extra.cuda.gdc_wait()
    member = tl.program_id(0)
    on = member
    if SHARED:
        on = tl.load(row + member).to(tl.int32)
    after = tl.load(column) + 1
    TILES: tl.constexpr = (TOKENS + BLOCK_N - 1) // BLOCK_N
    tile = tl.arange(0, TILES_BLOCK)
    is_tile = tile < TILES
    at = stats + on * TILES + tile
    largest = tl.load(at, mask=is_tile, other=float("-inf"))
    top = tl.max(largest, axis=0)
    apart = largest - top
    weights = tl.load(at + BLOCK_M * TILES, mask=is_tile, other=0.0)
    log_total = tl.log(tl.sum(weights * tl.exp(apart), axis=0))
    inner = tl.arange(0, BLOCK_N)
    if GREEDY:
        which = tl.min(tl.where(largest == top, tile, TILES - 1), axis=0)
        place = which * BLOCK_N + inner
        mine = tl.load(logits + on.to(tl.int64) * TOKENS + place, mask=place < TOKENS, other=float("-inf"))
        mine = mine.to(tl.float32)
        chosen = tl.min(tl.where(mine == top, place, TOKENS - 1), axis=0)
        sampler = top * 0.0
    else:
        tempered = tl.load(at + 2 * BLOCK_M * TILES, mask=is_tile, other=0.0) * tl.exp(apart / temperature)
        shares = tempered.to(tl.float64)
        upto = tl.cumsum(shares, axis=0)
        total = tl.max(upto, axis=0)
        target = tl.load(uniform + member.to(tl.int64) * LENGTH + after) * total
        target = tl.where(target >= total, total * (1.0 - 2.220446049250313e-16), target)
        which = tl.minimum(tl.sum((upto <= target).to(tl.int32), axis=0), TILES - 1)
        before = tl.max(tl.where(upto <= target, upto, 0.0), axis=0)
        place = which * BLOCK_N + inner
        mine = tl.load(logits + on.to(tl.int64) * TOKENS + place, mask=place < TOKENS, other=float("-inf"))
        mine = mine.to(tl.float32)
        inside = tl.cumsum(tl.exp((mine - top) / temperature).to(tl.float64), axis=0)
        end = tl.max(inside, axis=0)
        rest = target - before
        rest = tl.where(rest >= end, end * (1.0 - 2.220446049250313e-16), rest)
        chosen = which * BLOCK_N + tl.sum((inside <= rest).to(tl.int32), axis=0)
        chosen = tl.minimum(chosen, TOKENS - 1)
        sampler = -tl.log(tl.sum(tempered, axis=0))
    logit = tl.sum(tl.where(place == chosen, mine, 0.0), axis=0) - top
    if not GREEDY:
        sampler += logit / temperature
    to = out + member.to(tl.int64) * LENGTH + after
    kind = MEMBERS * LENGTH
    tl.store(to, chosen.to(tl.float64))
    tl.store(to + kind, (logit - log_total).to(tl.float64))
    tl.store(to + 2 * kind, sampler.to(tl.float64))
    if ENTROPY:
        terms = tl.load(at + 3 * BLOCK_M * TILES, mask=is_tile, other=0.0)
        terms = tl.where(weights > 0.0, tl.exp(apart) * (terms + weights * apart), 0.0)
        mean = tl.sum(terms, axis=0) / tl.exp(log_total)
        tl.store(to + 3 * kind, (log_total - mean).to(tl.float64))
    if not SHARED:
        tl.store(token + member, chosen.to(tl.int64))
        end_at = tl.arange(0, ENDS_BLOCK)
        end_tokens = tl.load(ends + end_at, mask=end_at < ENDS, other=-1)
        ended = tl.sum((end_tokens == chosen).to(tl.int32), axis=0) > 0
        ended = ended | (after + 1 >= tl.load(budget + member))
        ended = ended | (tl.load(done + member) != 0)
        tl.store(done + member, ended.to(tl.int8))
        going = tl.where(ended, 0, 65536)
        ticket = tl.atomic_add(tickets, going + 1, sem="acq_rel")
        if ticket % 65536 == MEMBERS - 1:
            tl.store(tickets, 0)
            tl.store(left, ((ticket + going) // 65536).to(tl.int64))
            tl.store(column, after)
