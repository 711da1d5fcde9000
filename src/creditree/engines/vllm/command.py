"""How a vLLM server of one's own is started: its command line and its environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from creditree.engines.vllm.client import KEY

MODULE = "vllm.entrypoints.openai.api_server"
"""Started as a module: builds under other names than vLLM's have no command that works."""
HOST = "127.0.0.1"
NAME = "base"
COMPILE_S = 1800
"""Seconds of the first step, in which vLLM compiles its sampler: a busy CPU takes longer than the usual 300."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of an adapter."""
MOST_LOADED = 2
"""Adapters at once: the one before is unloaded when the new one is proven."""


@dataclass(frozen=True, slots=True)
class OwnSpec:
    """How a server is started: `python` has vLLM, `model` is a directory or a name on the hub.

    `device`: cpu, or cuda with or without a number;  `memory`: share of a GPU, or on a CPU the GiB of keys and values;
    `cores`: of a CPU, as VLLM_CPU_OMP_THREADS_BIND has them (None: as the environment or vLLM says);  `rank`: of the
    adapters to come, None for none;  `options`: further ones of the command line;  `log`: file that its words are added
    to (None: a temporary one).
    """

    python: str
    model: str
    dtype: str
    device: str
    memory: float
    cores: str | None = None
    rank: int | None = None
    ready_s: float = 900.0
    options: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def on_host(self) -> bool:
        """Whether a CPU computes."""
        return not self.device.startswith("cuda")

    def command(self, port: int) -> list[str]:
        """Return the server's command line."""
        own = {"host": HOST, "port": port, "model": self.model, "served-model-name": NAME, "dtype": self.dtype}
        own |= {"max-model-len": "auto"}  # the model's context, or what fits
        if not self.on_host:
            own["gpu-memory-utilization"] = f"{self.memory:g}"
        given = [part for name, value in own.items() for part in (f"--{name}", str(value))]
        if self.on_host:
            given.append("--enforce-eager")  # compiling takes longer than a run
            # seeded draws of a prompt that is read in parts end vLLM 0.32 on a CPU, whose generators cannot be set back
            given.append("--no-enable-chunked-prefill")
        if self.rank is not None:
            largest = next(rank for rank in RANKS if rank >= self.rank)
            given += ["--enable-lora", "--max-loras", str(MOST_LOADED), "--max-lora-rank", str(largest)]
        return [self.python, "-m", MODULE, *given, *self.options]

    def variables(self, key: str, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the server's environment: this process's, and what vLLM reads there."""
        variables = dict(environment)
        if self.python != sys.executable:
            variables.pop("PYTHONPATH", None)  # of another interpreter
        variables |= {KEY: key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
        if self.on_host:
            variables["VLLM_CPU_KVCACHE_SPACE"] = str(int(self.memory))
            variables.setdefault("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", str(COMPILE_S))
            if self.cores is not None:
                variables.setdefault("VLLM_CPU_OMP_THREADS_BIND", self.cores)
        elif ":" in self.device:
            variables["CUDA_VISIBLE_DEVICES"] = _visible(int(self.device.partition(":")[2]), environment)
        return variables


def half_of_cores() -> str | None:
    """Return the last half of the cores that this process may use, one at least, as vLLM's binding has them."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, cores[len(cores) // 2 :]))


def _visible(index: int, environment: Mapping[str, str]) -> str:
    """Return what CUDA_VISIBLE_DEVICES must be for the device that this process knows by an index."""
    known = [part.strip() for part in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return known[index] if index < len(known) else str(index)
