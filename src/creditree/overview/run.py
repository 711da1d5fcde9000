"""A run as a report shows it: read from its directory, while it trains or after it has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from creditree.errors import RunError
from creditree.evaluate.changed import EXAMPLES, ChangedExample
from creditree.evaluate.summary import Summary
from creditree.overview.trees import ShownForest, shown_forest
from creditree.runs.directory import RunDirectory
from creditree.runs.forests import stored_forests
from creditree.runs.setting import RunSetting, inputs_of

SUMMARY = "summary.json"
MOST_STEPS, MOST_OF_A_STEP = 4, 3
"""Steps whose trees a report shows, and problems of each."""
MOST_TOKENS = 60_000
"""Tokens of trees in a report: some 40 bytes each, of 5 MB."""


@dataclass(frozen=True, eq=False)
class RunOverview:
    """All of a run but its completions.

    `config`: what it was trained with;  `code`: versions and hardware;  `metrics`: a record a step;  `summary`: None
    while it has not ended;  `examples`: problems that are solved now ("better"), or not any more ("worse");
    `forests`: some problems' trees;  `kept_steps`: steps whose trees were kept;  `notes`: what could not be read;
    `inputs`: digests of what the configuration names.
    """

    name: str
    config: Mapping[str, Any]
    code: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    summary: Summary | None
    examples: Mapping[str, Sequence[ChangedExample]]
    forests: tuple[ShownForest, ...]
    kept_steps: tuple[int, ...]
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its method: what tells it apart from others on the same task."""
        return self.summary.method if self.summary is not None else str(self._named("method"))

    @property
    def task(self) -> str:
        """Its task, by name."""
        return self.summary.task if self.summary is not None else str(self._named("task"))

    @property
    def model(self) -> str:
        """Its base model, by name."""
        return str(self._named("model"))

    @property
    def seed(self) -> object:
        """Its seed; None where the configuration does not say."""
        return self.config.get("seed")

    @property
    def setting(self) -> RunSetting:
        """What runs that differ in their seed only have in common."""
        return RunSetting.of(self.label, self.task, self.config, self.inputs)

    def _named(self, block: str) -> object:
        values = self.config.get(block)
        return values.get("name", block) if isinstance(values, Mapping) else values


def overview_of(path: Path, *, tokens: int = MOST_TOKENS) -> RunOverview:
    """Read a run; its trees hold at most `tokens` tokens. Raises RunError where there is none, or it is unreadable."""
    run = RunDirectory.read(path)
    notes: list[str] = []
    config = yaml.safe_load(run.config_yaml)
    summary = Summary.from_json(run.read_json(SUMMARY), str(path / SUMMARY)) if run.has(SUMMARY) else None
    return RunOverview(
        name=str(path),
        config=config if isinstance(config, dict) else {},
        code=run.read_json("code.json") if run.has("code.json") else {},
        metrics=run.metrics(),
        summary=summary,
        examples=_examples(run),
        forests=_chosen(run, tokens, notes) if tokens else (),
        kept_steps=tuple(run.rollout_steps()),
        notes=tuple(notes),
        inputs=inputs_of(run),
    )


def forests_of(run: RunDirectory, step: int) -> list[ShownForest]:
    """Return the trees of a step's problems. Raises RunError where they were not kept, or cannot be read."""
    rows = run.rollouts(step)
    return [shown_forest(step, forest) for forest in stored_forests(rows, f"step {step} of {run.path}")]


def _examples(run: RunDirectory) -> dict[str, list[ChangedExample]]:
    return run.read_record(EXAMPLES, dict[str, list[ChangedExample]]) if run.has(EXAMPLES) else {}


def _chosen(run: RunDirectory, tokens: int, notes: list[str]) -> tuple[ShownForest, ...]:
    """Return some trees of the first, of the last and of steps between them: those that teach before others."""
    steps = run.rollout_steps()
    chosen: list[ShownForest] = []
    wanted = [steps[round(place * (len(steps) - 1) / (MOST_STEPS - 1))] for place in range(MOST_STEPS)] if steps else []
    left = tokens
    for step in reversed(list(dict.fromkeys(wanted))):
        try:
            forests = sorted(forests_of(run, step), key=lambda forest: not forest.is_mixed)
        except RunError as error:
            notes.append(str(error))
            continue
        share = left // max(1, MOST_STEPS - len({forest.step for forest in chosen}))
        for forest in forests[:MOST_OF_A_STEP]:
            if forest.num_tokens <= share:
                chosen.append(forest)
                share -= forest.num_tokens
                left -= forest.num_tokens
    return tuple(chosen)
