"""Triton code by which a kernel asks for memory that a later one reads."""

import triton
import triton.language as tl


@triton.jit
def ask_ahead(first, first_numbers, second, second_numbers, LANES: tl.constexpr):
    """Ask for two regions of memory in pieces of 4,096 numbers or more: programs take turns, LANES pieces each."""
    programs = tl.num_programs(0) * tl.num_programs(1) * tl.num_programs(2)
    program = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    place = tl.arange(0, LANES) * programs + program
    for region in tl.static_range(2):
        base = first if region == 0 else second
        numbers = first_numbers if region == 0 else second_numbers
        least = (numbers + programs * LANES * 64 - 1) // (programs * LANES * 64) * 64
        each = tl.maximum(least, 4096)
        begin = place.to(tl.int64) * each
        size = tl.minimum(tl.maximum(numbers - begin, 0), each).to(tl.int32)
        size *= base.dtype.element_ty.primitive_bitwidth // 8
        tl.inline_asm_elementwise(
            "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p cp.async.bulk.prefetch.L2.global [$1], $2; mov.b32 $0, 0; }",
            "=r,l,r",
            [base + begin, size],
            dtype=tl.int32,
            is_pure=False,
            pack=1,
        )
