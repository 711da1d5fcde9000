"""What this machine offers a run: a device, and how much memory is free on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from creditree.disk import is_file
from creditree.engines.native.library import can_compile
from creditree.models.shapes import Shape
from creditree.processor import multiplies_bfloat16

SHARE = 0.8
"""Of the free memory: the rest is for the interpreter, its libraries, and others."""
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision of the frozen base, and why it is the one that decodes fastest: a clause, without a full stop."""

    dtype: Literal["float32", "bfloat16"]
    why: str


def fastest_precision(device: str, shape: Shape) -> Precision:
    """Return the precision in which a real model decodes fastest on `device`, without loading or measuring anything.

    Decoding a few rows reads every weight once a token, so the speed is that of the memory, and bfloat16 reads half of
    what float32 does. It loses where products are slow in it: torch on a processor without instructions for it. Torch
    decodes where native code cannot be compiled, and models that are run by their own forward pass.
    int8 and nf4 read less still, but change the base, so they are for who asks for them.
    """
    if is_on_gpu(device):
        return Precision("bfloat16", "a GPU reads half the bytes of float32 and multiplies several times faster")
    if shape.whole is None and can_compile("bfloat16"):
        return Precision("bfloat16", "native decoding reads half the bytes of float32 and widens them in registers")
    if multiplies_bfloat16():
        return Precision("bfloat16", "torch decodes, and this processor has instructions for bfloat16")
    if 4 * shape.num_parameters > usable_memory(device) // 2:
        return Precision("bfloat16", "float32 is faster, and would take more than half of the memory that may be used")
    return Precision("float32", "torch decodes, and this processor has no instructions for bfloat16")


def is_on_gpu(device: str) -> bool:
    """Return whether a device, such as ``cuda:0``, is a GPU."""
    return device.startswith("cuda")


def default_device() -> str:
    """Return ``cuda`` where torch finds such a device, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_memory(device: str) -> int:
    """Return the bytes that a run may plan with: 80 % of what is free, of a container's limit where there is one."""
    if is_on_gpu(device):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(SHARE * free)
    return int(SHARE * min([psutil.virtual_memory().available, *_container_limits()]))


def whole_memory(device: str) -> int:
    """Return all bytes of the device, or of the host or a container's limit on it."""
    if is_on_gpu(device) and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return int(min([psutil.virtual_memory().total, *_container_limits()]))


def peak_memory(device: str) -> int:
    """Return the most bytes that this process held so far: resident, or on CUDA as torch's allocator counts."""
    if is_on_gpu(device):
        return int(torch.cuda.max_memory_allocated(torch.device(device)))
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", 0) or _peak_resident() or memory.rss)


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if not is_file(status):
        return 0
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in _GROUP_LIMITS if is_file(path)]
    return [int(text) for text in texts if text.isdecimal()]
