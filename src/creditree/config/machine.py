"""What this machine offers a run: a device, and how much memory is free on it."""

from pathlib import Path

import psutil
import torch

SHARE = 0.8
"""Of the free memory: the rest is for the interpreter, its libraries, and others."""
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def default_device() -> str:
    """Return ``cuda`` where torch finds such a device, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_memory(device: str) -> int:
    """Return the bytes that a run may plan with: 80 % of what is free, of a container's limit where there is one."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(SHARE * free)
    return int(SHARE * min([psutil.virtual_memory().available, *_container_limits()]))


def whole_memory(device: str) -> int:
    """Return all bytes of the device, or of the host or a container's limit on it."""
    if device.startswith("cuda") and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return int(min([psutil.virtual_memory().total, *_container_limits()]))


def peak_memory(device: str) -> int:
    """Return the most bytes that this process held so far: resident, or on CUDA as torch's allocator counts."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(torch.device(device)))
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", 0) or _peak_resident() or memory.rss)


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in _GROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdecimal()]
