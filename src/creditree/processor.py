"""What the system tells of the processor: its name and its instruction sets."""

import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls instructions that multiply bfloat16; the last is Arm's."""


def processor_name() -> str:
    """Return the processor's model name, as far as the system tells."""
    names = (line.partition(":")[2].strip() for line in processor_lines() if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def instruction_sets() -> frozenset[str]:
    """Return the names of the processor's instruction sets; none where the system does not tell."""
    return frozenset(
        flag for line in processor_lines() if line.startswith(("flags", "Features")) for flag in line.split()
    )


@cache
def multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products of bfloat16, as far as the system tells."""
    return bool(instruction_sets() & _BFLOAT16)


def processor_lines() -> list[str]:
    """Return what the system says of each core, line by line; nothing where it says nothing."""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
