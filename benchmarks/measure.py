"""What both sides of a comparison measure in the same way: seconds, memory, reward. Standard library only.

`trl_side.py` imports this in TRL's own environment, where Creditree is not installed.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from time import perf_counter, process_time

PHASES = ("generate", "update", "step")
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reward_of(text: str) -> float:
    """Return a fixed hash of the text in [0, 1): the first 8 bytes of its BLAKE2b as a fraction.

    A real number, not 0 or 1, so that the completions of a group practically never get equal rewards, which would leave
    nothing to learn: both systems make an update at every step.
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file that holds one a line."""
    prompts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not prompts:
        raise SystemExit(f"{path} holds no prompt: write one a line.")
    return prompts


def resident_mb() -> float | None:
    """Return this process's resident memory in MB (10^6 bytes); None where the system does not tell."""
    return _status_mb("VmRSS")


def peak_resident_mb() -> float | None:
    """Return the most resident memory since the start or the last `reset_peak`, in MB; None where unknown."""
    return _status_mb("VmHWM")


def reset_peak() -> bool:
    """Set the high-water mark to what is resident now; return whether the system let us."""
    with suppress(OSError):
        CLEAR_REFS.write_text("5", encoding="ascii")
        return True
    return False


def _status_mb(key: str) -> float | None:
    with suppress(OSError):
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


@dataclass(slots=True)
class Clock:
    """CPU and wall seconds of the step under way, by phase, and of the steps before it."""

    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    steps: list[tuple[dict[str, float], dict[str, float]]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to phase `name` of this step."""
        cpu, wall = process_time(), perf_counter()
        try:
            yield
        finally:
            self.add(name, process_time() - cpu, perf_counter() - wall)

    def add(self, name: str, cpu: float, wall: float) -> None:
        """Add seconds to phase `name` of this step."""
        self.cpu[name] = self.cpu.get(name, 0.0) + cpu
        self.wall[name] = self.wall.get(name, 0.0) + wall

    def next_step(self) -> None:
        """Close this step."""
        self.steps.append((self.cpu, self.wall))
        self.cpu, self.wall = {}, {}

    def medians(self, warmup: int, steps: int) -> dict[str, dict[str, float]]:
        """Return the median seconds of each phase over `steps` steps after the first `warmup`."""
        timed = self.steps[warmup : warmup + steps]
        return {
            "cpu_s": {name: statistics.median(cpu[name] for cpu, _ in timed) for name in timed[0][0]},
            "wall_s": {name: statistics.median(wall[name] for _, wall in timed) for name in timed[0][1]},
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
