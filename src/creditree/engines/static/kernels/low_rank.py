"""What Triton kernels of products do for low-rank adapters. LORA: how many, their rank, the rank padded, and the columns
where each of three begins and ends."""

import triton
import triton.language as tl


@triton.jit
def adapter(
    begin,
    a_second,
    a_third,
    b_second,
    b_third,
    LORA: tl.constexpr,
):
    """Return how far A and B of the adapter on column `begin` lie behind the first, if it is on, and its row of B."""
    second = (LORA[0] > 1) & (begin >= LORA[5])
    third = (LORA[0] > 2) & (begin >= LORA[7])
    a_from = tl.where(third, a_third, tl.where(second, a_second, 0)).to(tl.int64)
    b_from = tl.where(third, b_third, tl.where(second, b_second, 0)).to(tl.int64)
    start = tl.where(third, LORA[7], tl.where(second, LORA[5], LORA[3]))
    stop = tl.where(third, LORA[8], tl.where(second, LORA[6], LORA[4]))
    return a_from, b_from, (begin >= start) & (begin < stop), begin - start


@triton.jit
def dot_parts(value, narrow, low):
    """Return low + value narrow for a matrix of a higher precision, taken as the sum of two parts of the lower one."""
    high = narrow.to(value.dtype)
    low = tl.dot(value, high, low, input_precision="ieee")
    if narrow.dtype != value.dtype:
        rest = (narrow - high.to(narrow.dtype)).to(value.dtype)
        low = tl.dot(value, rest, low, input_precision="ieee")
    return low


@triton.jit
def widened(low, lora_b, b_rows, rank, inside, RANK: tl.constexpr, kind: tl.constexpr):
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
