"""The setting of a run, all that it was made with but its seed: runs of one setting are averaged over their seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditree.errors import RunError
from creditree.runs.difference import leaves
from creditree.runs.directory import RunDirectory
from creditree.text import one_line, shortened, shown

MOST_DIFFERENCES = 3
"""Keys that a label names; a run's name tells settings apart that differ in others only."""
LONGEST = 24
"""Letters of a value in a label."""
INPUTS = "inputs.json"
ELSEWHERE = "inputs."
"""Begins the keys of what a configuration names and does not hold."""

BY_MEMORY = ("train.max_rows", "train.micro_batch_tokens", "train.stored_tokens")
"""How a step is cut to pieces: chosen by the memory that happened to be free when a run was started."""


@dataclass(frozen=True, slots=True)
class RunSetting:
    """`values`: by dotted key, the configuration without its seed, and digests of the problems, code and weights."""

    method: str
    task: str
    values: Mapping[str, object]

    @classmethod
    def of(
        cls, method: str, task: str, config: Mapping[str, Any], inputs: Mapping[str, Any] | None = None
    ) -> "RunSetting":
        """Return the setting of a configuration. What moves last bits only is no part of it."""
        own = {key: value for key, value in leaves(config) if key not in ("seed", *BY_MEMORY)}
        named = {key: value for key, value in (inputs or {}).items() if key != "engine"}
        return cls(method, task, own | dict(leaves(named, ELSEWHERE)))

    @property
    def key(self) -> str:
        """The same text for the same setting."""
        return json.dumps([self.method, self.task, self.values], sort_keys=True, default=str)


def inputs_of(run: RunDirectory) -> dict[str, Any]:
    """Return the digests of what a run depends on: none where it is older than they are, or they cannot be read."""
    try:
        return run.read_json(INPUTS) if run.has(INPUTS) else {}
    except RunError:  # only `resume` has to refuse it
        return {}


def labels_of(settings: Sequence[RunSetting], names: Sequence[str]) -> list[str]:
    """Return what each run is called: the same for the same setting, and no other setting's.

    That is the method, with the task where there are several. Settings that share it are told apart by the keys in
    which they differ, as in ``grpo, learning_rate 0.004``, and where those are too many by the first run's name.
    """
    several = len({setting.task for setting in settings}) > 1
    by_method: dict[str, dict[str, tuple[RunSetting, str]]] = {}
    called: list[str] = []
    for setting, name in zip(settings, names, strict=True):
        called.append(f"{setting.method} on {setting.task}" if several else setting.method)
        by_method.setdefault(called[-1], {}).setdefault(setting.key, (setting, name))
    labels = {
        key: label
        for method, distinct in by_method.items()
        for key, label in zip(distinct, _told_apart(method, list(distinct.values())), strict=True)
    }
    return [labels[setting.key] for setting in settings]


def _told_apart(method: str, distinct: Sequence[tuple[RunSetting, str]]) -> list[str]:
    if len(distinct) == 1:
        return [method]
    values = [setting.values for setting, _ in distinct]
    keys = list(dict.fromkeys(key for own in values for key in own))
    differing = [key for key in keys if len({json.dumps(own.get(key, ...), default=str) for own in values}) > 1]
    named = differing[:MOST_DIFFERENCES]
    labels = [", ".join([method, *(f"{_short(key, named)} {_value(own, key)}" for key in named)]) for own in values]
    alike = {label for label in labels if labels.count(label) > 1}
    return [f"{label}: {name}" if label in alike else label for label, (_, name) in zip(labels, distinct, strict=True)]


def _short(key: str, among: Sequence[str]) -> str:
    """Return the last part of a dotted key, or all of it where others end so too."""
    last = key.rpartition(".")[2]
    is_clear = sum(other.rpartition(".")[2] == last for other in among) == 1
    return last if is_clear and not key.startswith(ELSEWHERE) else key


def _value(values: Mapping[str, object], key: str) -> str:
    if key not in values:
        return "not set"
    value = values[key]
    return shortened(one_line(value), LONGEST) if isinstance(value, str) else shown(value, LONGEST)
