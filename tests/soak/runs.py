"""The runs that are made to suffer: one of each method, small, with all that a run writes."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.command import FORKS, NEEDED, Command, write_config
from tests.soak.stages import Moment, looked_at

FORKS.set_forkserver_preload(["pytest", *(f"creditree.{name}" for name in NEEDED), "tests.soak.warm"])

TRAIN: dict[str, Any] = {
    "steps": 5,
    "problems_per_step": 2,
    "learning_rate": 4e-3,
    "final_learning_rate": 0.1,
    "threads": 1,
}
COMMON: dict[str, Any] = {
    "lora": {"rank": 4, "dropout": 0.1},
    "validation": {"every": 2, "problems": 3},
    "evaluation": {"problems": 6, "temperatures": [0, 0.5]},
    "log": {"checkpoint_every": 1, "rollouts_every": 1},
}
METHODS: dict[str, dict[str, Any]] = {
    "grpo": COMMON | {"method": {"name": "grpo", "group": 6}, "train": TRAIN | {"mini_batch": 6}},
    "t-spmo": COMMON | {"method": {"name": "t-spmo", "group": 6, "l2": 0.0}, "train": TRAIN},
    "attnrl": COMMON
    | {
        "model": "builtin:long_multiplication",
        "task": {"name": "multiplication", "digits_a": 8, "digits_b": 1, "num_held_out": 10},
        "method": {"name": "attnrl", "kl": 0.0, "min_gap": 6, "delta": 2, "batch_decay": 0.5, "off_policy": True},
        "sampling": {"temperature": 1.0, "max_new_tokens": 96},
        "train": TRAIN | {"mini_batch": 20},
        "validation": {"every": 2, "problems": 2},
        "evaluation": {"problems": 2, "temperatures": [0]},
    },
}
"""AttnRL is one step off-policy: problems are in flight when a step ends, and its schedule has a state."""


def config_of(name: str, folder: Path) -> Path:
    """Write the configuration of a method's run."""
    return write_config(folder / f"{name}.yaml", **METHODS[name])


def victim(arguments: Sequence[str | Path], place: Path, moment: Moment | None = None) -> Command:
    """Start a command that keeps its stage at `place`, and is struck at the moment."""
    return Command([*map(str, arguments)], None, partial(looked_at, place, moment))


def struck(arguments: Sequence[str | Path], place: Path, moment: Moment | None = None) -> tuple[int, str]:
    """Run such a command to its end; return its exit code and what it said on stderr."""
    command = victim(arguments, place, moment)
    _, said = command.communicate()
    return command.returncode, said


def steps_written(run: Path) -> tuple[int, int]:
    """Return of a run that has died the last step in its metrics, and that of its newest checkpoint."""
    metrics = run / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
    whole = [json.loads(line)["step"] for line in lines if line.endswith(b"\n")]
    saved = [int(folder.name.removeprefix("step-")) for folder in (run / "checkpoints").glob("step-*")]
    return max(whole, default=0), max(saved, default=0)


def emptied(*folders: Path) -> None:
    """Remove what is not needed any more."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
