"""What a training run is asked for: a configuration, a run to go on from, or a model and a task by name."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.config.anchor import anchored
from creditree.config.load import check_config, parse_values, read_yaml
from creditree.config.overrides import apply_overrides, check_free, set_key
from creditree.config.schema import RunConfig
from creditree.config.trust import check_trust
from creditree.errors import ConfigError
from creditree.setup.start import named_task, run_values, with_data
from creditree.tasks.benchmarks import BENCHMARKS


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Which configuration is asked for; None where nothing is said.

    `config`: a file, or the values themselves;  `model`, `task`: instead of a configuration's, or of a whole one;
    `start`: what to go on from (`train.start`);  `data`: file of the task, which is `file` where none is named;
    `guard`: file of the guard set;
    `overrides`: such as ``method.group=16``;  `trusted`: code that the run to go on from names may run.
    """

    config: Path | Mapping[str, Any] | None = None
    model: str | None = None
    task: str | None = None
    start: str | None = None
    data: str | None = None
    guard: str | None = None
    overrides: tuple[str, ...] = ()
    trusted: bool = False

    def load(self) -> RunConfig:
        """Return the checked configuration: the one named, or that of the run to go on from. Raises ConfigError."""
        if self.data is not None:
            check_free(self.overrides, {"task.path": "leave one of the two out"}, "`data`")
        values, where = self._values()
        if self.model is not None:
            set_key(values, "model.name", self.model, "`model`")
        task = "file" if self.task is None and self.data is not None and "task" not in values else self.task
        if task is not None:
            values |= {"task": named_task(task, self.data)}
        elif self.data is not None:
            values = with_data(values, where, self.data)
        if self.start is not None:
            set_key(values, "train.start", self.start, "`start`")
        if self.guard is not None:
            set_key(values, "guard.path", self.guard, "`guard`")
        return check_config(apply_overrides(values, self.overrides), where)

    def _values(self) -> tuple[dict[str, Any], str]:
        if isinstance(self.config, Mapping):
            return anchored(deepcopy(dict(self.config)), Path.cwd()), "the configuration"
        if self.config is not None:
            where = str(self.config)
            return parse_values(read_yaml(self.config), where), where
        if self.start is not None:
            return self._of_run(self.start)
        if self.model is not None and (self.task is not None or self.data is not None):
            return {}, "what was asked for"
        raise ConfigError(
            "a training run needs a configuration: name a YAML file, a finished run with `start`, or both `model` NAME "
            "and `task` NAME, such as `task` svamp, or `data` FILE."
        )

    def _of_run(self, start: str) -> tuple[dict[str, Any], str]:
        values, where = run_values(start)
        values.pop("warm_start", None)  # the run began with it, and what goes on from the run does not
        if self.task in BENCHMARKS:
            values.pop("reward", None)  # a benchmark has its own, as in an evaluation
        cure = ", or choose `reward`"
        check_trust(values, f"run '{Path(where).parent}'", self.overrides, trusted=self.trusted, cure=cure)
        return values, where
