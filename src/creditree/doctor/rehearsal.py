"""A short probe: the first steps of a run, of few problems, made in memory and thrown away."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from creditree.doctor.completions import JudgedCompletion, completions_of
from creditree.doctor.rewards import LEAST_GROUPS
from creditree.models.adapter import Adapter
from creditree.models.trained import Trained
from creditree.pilot.suspicion import LEAST_COUNTED
from creditree.report.watcher import Watcher
from creditree.runs.rollouts import rollout_table
from creditree.setup.parts import build
from creditree.setup.resolve import Resolved
from creditree.train.loop import Loop
from creditree.train.record import step_record
from creditree.train.settings import Parts, Settings, WarmStart
from creditree.train.watchdog import Watchdog, watched
from creditree.tree import Forest
from creditree.verify.verifier import closing

SECONDS = 60.0
"""No step begins later than this."""
PROBLEMS = 2
"""Problems of a step, at most."""
GROUPS = 2 * LEAST_GROUPS
"""Groups that are enough to say whether rewards vary."""


@dataclass(frozen=True, eq=False, slots=True)
class Rehearsal:
    """What the first steps did: their metrics, their completions, and the largest number of the matrices B after them.

    `groups`: problems that were sampled;  `seconds`: what the steps took, without loading the model.
    """

    records: tuple[Mapping[str, Any], ...]
    completions: tuple[JudgedCompletion, ...]
    adapter_size: float | None
    groups: int
    seconds: float

    @property
    def doubt(self) -> str | None:
        """What it is too short to say, or None: where completions take long, a minute samples few groups."""
        if self.groups >= LEAST_GROUPS:
            return None
        paid = sum((completion.attempt.reward or 0) > 0 for completion in self.completions)
        return (
            f"whether rewards vary cannot be said of so few groups ({self.groups}; {LEAST_GROUPS} are needed): "
            f"{paid} of {len(self.completions)} completions got a reward above 0; once it trains, creditree doctor "
            "says more of the run"
        )

    def to_json(self) -> dict[str, Any]:
        """Return how much was sampled."""
        counts = {"steps": len(self.records), "groups": self.groups, "completions": len(self.completions)}
        return counts | {"seconds": round(self.seconds, 1)}


def rehearse(resolved: Resolved, watcher: Watcher) -> Rehearsal:
    """Make the first steps of a run of two problems each, until 16 groups are sampled or a minute is over.

    The steps are those of the run, with its method, sampling and rate, so that what they do wrong the run would do
    wrong; only a warm start is left out. The first one is sampled from what the run starts with. Nothing is written.
    """
    settings = replace(
        resolved.settings,
        problems_per_step=min(PROBLEMS, resolved.settings.problems_per_step),
        warm_start=WarmStart(),
    )
    with _built(resolved) as parts:
        return _rehearsed(parts, settings, watcher)


@contextmanager
def _built(resolved: Resolved) -> Iterator[Parts]:
    parts = build(resolved)
    with ExitStack() as stack:
        stack.callback(parts.engine.close)
        for verifier in parts.verifiers:
            stack.enter_context(closing(verifier))
        yield parts


def _rehearsed(parts: Parts, settings: Settings, watcher: Watcher) -> Rehearsal:
    watchdog = Watchdog(watcher, lambda: loop.state.seconds)
    loop = Loop(parts, settings, told=lambda pulse: watchdog.beat("", pulse))
    records: list[Mapping[str, Any]] = []
    completions: list[JudgedCompletion] = []
    groups, begun = 0, monotonic()
    most = min(settings.steps, GROUPS)
    with watcher.training(most, None, SECONDS), watched(watchdog):
        while len(records) < most and monotonic() - begun < SECONDS:
            rate = loop.learning_rate
            result = loop.step()
            records.append(step_record(loop, result, rate))
            groups += len(result.explored)
            completions += _completions(loop, result.explored)
            watcher.update(records[-1])
            if groups >= GROUPS and len(completions) >= LEAST_COUNTED:
                break
    size = adapter_size(parts.learner.trained)
    return Rehearsal(tuple(records), tuple(completions), size, groups, monotonic() - begun)


def _completions(loop: Loop, forests: Sequence[Forest]) -> tuple[JudgedCompletion, ...]:
    """Return all that a step sampled, also what its schedule kept from learning."""
    none = [tuple((None,) * len(tree.branches) for tree in forest) for forest in forests]
    table = rollout_table(loop.state.step, forests, none, none, loop.texts(forests))
    return completions_of(table.to_pylist())


def adapter_size(trained: Trained) -> float | None:
    """Return the largest number of an adapter's matrices B; None where all weights learn."""
    if not isinstance(trained, Adapter):
        return None
    return max(
        (float(matrix.abs().max()) for name, matrix in trained.state().items() if ".lora_B." in name), default=None
    )
