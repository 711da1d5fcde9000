"""How good the signal of a run was: what taught nothing, what was cut off, what could not be judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditree.overview.run import RunOverview

STATUSES = ("unparsable", "timeouts", "crashes", "failed_verdicts")
"""Counts of the ledger that say what was wrong with verdicts."""


@dataclass(frozen=True, slots=True)
class Health:
    """Shares and means over all steps of a run; None where it is not known.

    `mixed`: problems whose first completions got different rewards;  `without_signal`: steps that taught nothing;
    `truncated`, and `statuses`: of the completions;  `surprisal`: mean -log p of sampled tokens in the first and in the
    last tenth of the steps;  `mismatch`: the largest root mean square of a step's difference between the engine's
    log-probabilities and the learner's;  `memory`: the most bytes held.
    """

    steps: int
    completions: int
    mixed: float | None
    without_signal: float | None
    truncated: float | None
    statuses: Mapping[str, float]
    surprisal: tuple[float, float] | None
    mismatch: float | None
    memory: Mapping[str, int]


def health_of(run: RunOverview) -> Health:
    """Return how good the signal of a run was."""
    metrics = run.metrics
    last: Mapping[str, Any] = metrics[-1] if metrics else {}
    completions = int(last.get("completions", 0))
    steps = int(last.get("step", 0))
    surprisal = _numbers(metrics, "surprisal")
    tenth = max(1, len(surprisal) // 10)
    mismatch = _numbers(metrics, "sampler_mismatch_rms")
    return Health(
        steps=steps,
        completions=completions,
        mixed=_mean(_numbers(metrics, "mixed_share")),
        without_signal=last["no_signal"] / steps if steps and "no_signal" in last else None,
        truncated=_share(last.get("truncated"), completions),
        statuses={name: share for name in STATUSES if (share := _share(last.get(name), completions)) is not None},
        surprisal=(float(np.mean(surprisal[:tenth])), float(np.mean(surprisal[-tenth:]))) if surprisal else None,
        mismatch=max(mismatch, default=None),
        memory={str(name): int(size) for name, size in (last.get("memory_peak") or {}).items()},
    )


def _numbers(metrics: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [record[name] for record in metrics if isinstance(record.get(name), int | float)]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or whole == 0 else part / whole
