"""What is exported: what a run trained, and all that the run knows of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from creditree.config.load import parse_values
from creditree.config.schema import ModelConfig
from creditree.disk import is_folder
from creditree.errors import ModelError, RunError
from creditree.evaluate.summary import Summary
from creditree.runs.directory import RunDirectory
from creditree.runs.records import record_of
from creditree.setup.run import SUMMARY
from creditree.train.start import check_trained, is_adapter, run_of


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run that has trained something, its base model, and the folder of the adapter or of all weights."""

    run: RunDirectory
    base: ModelConfig
    trained: Path

    @classmethod
    def of(cls, named: Path) -> "TrainedRun":
        """Return what is in a run, or in the run that a pilot keeps as ``run``. Raises RunError or ModelError."""
        run = RunDirectory.read(run_of(str(named)) or named)
        if not is_folder(run.trained):
            raise ModelError(f"run '{run.path}' has no adapter yet: it has not ended; continue it with `resume` first.")
        check_trained(run.trained)
        place = str(run.path / "config.yaml")
        block = parse_values(run.config_yaml, place).get("model", {})
        values = {"name": block} if isinstance(block, str) else block
        base = record_of(ModelConfig, values, f"{place}, in its block model", "put back what it was")
        if base.name.startswith("random:"):
            raise ModelError(f"run '{run.path}' is of '{base.name}', which is made anew wherever it is used: no files.")
        return cls(run, base, run.trained)

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter was trained, and not all weights."""
        return is_adapter(self.trained)

    @cached_property
    def summary(self) -> Summary | None:
        """What came out of the run; None where that cannot be read, which a card says."""
        try:
            return Summary.from_json(self.run.read_json(SUMMARY), str(self.run.path / SUMMARY))
        except RunError:
            return None

    @cached_property
    def made_with(self) -> Mapping[str, Any]:
        """The versions and the hardware that it was trained with, as far as they are known."""
        try:
            return self.run.read_json("code.json")
        except RunError:
            return {}

    def rollout_ids(self, most: int) -> list[list[int]]:
        """Return prompts with completions of the last step that the run kept, as token ids; [] where it kept none."""
        steps = self.run.rollout_steps()
        try:
            rows = self.run.rollouts(steps[-1]) if steps else []
        except RunError:
            return []
        whole = [row for row in rows if row["parent"] is None]
        return [_ids(row, "prompt_ids") + _ids(row, "kept_ids") + _ids(row, "token_ids") for row in whole[:most]]


def _ids(row: Mapping[str, object], name: str) -> list[int]:
    held = row[name]
    return [int(token) for token in held] if isinstance(held, list) else []


def config_of(folder: Path) -> Mapping[str, Any]:
    """Return a model's ``config.json``; {} where there is none."""
    try:
        values = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
