"""What the GPU scripts share: where their records go, and what each record says of machine and code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from creditree.runs.environment import describe_environment

RESULTS = Path(__file__).resolve().parent / "results"


def describe(device: str) -> dict[str, object]:
    """Return machine and code; the commit from the variable COMMIT where the source is not under git."""
    found = describe_environment()
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    found["torch"] = torch.__version__
    if device != "cpu":
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def write(name: str, record: Mapping[str, Any], device: str, out: Path, *, quiet: bool = False) -> None:
    """Print a record as one JSON line unless `quiet`, and write it to gpu-NAME.json (on a CPU smoke-NAME.json)."""
    line = json.dumps({**record, "device": device, "environment": describe(device)})
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{'smoke' if device == 'cpu' else 'gpu'}-{name}.json").write_text(line + "\n", encoding="utf-8")
    if not quiet:
        print(line, flush=True)


class Stopwatch:
    """Wall seconds since it was made, the device's work included."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._wait()
        self._start = perf_counter()

    def seconds(self) -> float:
        """Wait for the device, and return the seconds."""
        self._wait()
        return perf_counter() - self._start

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()
