"""The metrics of a training step: one record, as ``metrics.jsonl`` holds it."""

import math
import sys
from collections.abc import Mapping, Sequence
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch

from creditree.evaluate.accuracy import Evaluation
from creditree.learner.mismatch import NOT_COMPARED
from creditree.learner.stats import StepStats
from creditree.objective.base import is_recorded
from creditree.train.loop import Loop
from creditree.train.pipeline import Pipeline
from creditree.train.settings import Parts, Settings
from creditree.train.state import State
from creditree.train.step import StepResult


def step_record(loop: Loop, result: StepResult, rate: float, validation: Evaluation | None = None) -> dict[str, Any]:
    """Return what the step that a loop has just made did; `rate`: the learning rate that it was made with."""
    mismatch = mismatch_record(loop.parts, loop.settings, result.stats)
    is_warm = loop.settings.own_step(loop.state.step) <= 0
    singles = loop.parts.verifier.singles
    return metrics_record(loop.state, result, rate, validation, loop.pipeline, mismatch, singles, is_warm=is_warm)


def metrics_record(
    state: State,
    result: StepResult,
    rate: float,
    validation: Evaluation | None,
    pipeline: Pipeline,
    mismatch: Mapping[str, float | None],
    singles: Sequence[str] = (),
    *,
    is_warm: bool = False,
) -> dict[str, Any]:
    """Return what a step did, and the counts of the run so far.

    `singles`: the rewards that rewards are a sum of;  `is_warm`: it was one of the warm start.
    """
    reward, stats, tasks = result.reward_mean, result.stats, result.by_task
    return {
        "step": state.step,
        **({"warm_start": True} if is_warm else {}),
        "reward_mean": None if math.isnan(reward) else reward,
        **(
            {"rewards": {n: reward.to_json() for n, reward in result.single_rewards(singles).items()}}
            if singles
            else {}
        ),
        **({"by_task": tasks} if tasks else {}),
        "mixed_share": result.mixed_share,
        "signal_share": (state.step - state.ledger.no_signal) / state.step,
        "loss": stats.loss,
        "grad_norm": stats.grad_norm,
        "l2_grad_norm": stats.l2_grad_norm,
        "clip_fraction": stats.clip_fraction,
        **mismatch,
        "surprisal": result.surprisal,
        "useful_share": result.useful_share,
        "selected_share": result.selected_share,
        **{f"select_{name}": value for name, value in result.chosen.items()},
        "problems": len(result.explored),
        "problems_trained": len(result.forests),
        "rows": result.rows,
        **({"staleness": pipeline.staleness} if pipeline.schedule.off_policy else {}),
        **{f"schedule_{name}": value for name, value in pipeline.state.items()},
        **{f"explore_{name}": value for name, value in pipeline.explorer_state.items()},
        "learning_rate": rate,
        "validation_accuracy": None if validation is None else validation.accuracy,
        "validation_reward": None if validation is None else validation.mean_reward,
        **state.ledger.as_dict(),
        "seconds": sum(state.seconds.wall.values()),
        "cpu_seconds": state.seconds.training_cpu,
        "seconds_by_phase": {name: round(value, 4) for name, value in state.seconds.wall.items()},
        "memory_peak": peak_memory(),
    }


def peak_memory() -> dict[str, int]:
    """Return the most bytes that this process has held so far: of main memory, and of a GPU's where it has one."""
    most = getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # macOS counts in bytes
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {"host": most, **({"gpu": torch.cuda.max_memory_allocated()} if on_gpu else {})}


def mismatch_record(parts: Parts, settings: Settings, stats: StepStats) -> dict[str, float | None]:
    """Return how far the engine is from the learner; None where no update was made or the softmax is another."""
    same = is_recorded(parts.method.objective.loss_temperature, settings.sampling.temperature, settings.sampling.top_p)
    mismatch = stats.mismatch if same else NOT_COMPARED
    return {f"sampler_mismatch_{name}": getattr(mismatch, name) for name in ("mean", "rms", "max")}
