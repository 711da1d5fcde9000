"""What two runs have in common that differ in nothing but how often they were interrupted."""

from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from creditree.runs.directory import RunDirectory

OF_THE_PROCESS = ("seconds", "cpu_seconds", "seconds_by_phase", "memory_peak")
COUNTED = ("before", "after", "difference", "tokens", "decoding", "steps", "validation")


def content(run: Path) -> dict[str, Any]:
    """Return everything of a run that must not depend on interruptions, to the bit."""
    directory = RunDirectory.read(run)
    summary = directory.read_json("summary.json")
    return {
        "adapter": {n: a.tobytes() for n, a in load_file(directory.adapter / "adapter_model.safetensors").items()},
        "metrics": [{k: v for k, v in record.items() if k not in OF_THE_PROCESS} for record in directory.metrics()],
        "rollouts": {step: directory.rollouts(step) for step in directory.rollout_steps()},
        "summary": {k: summary.get(k) for k in COUNTED},
    }
