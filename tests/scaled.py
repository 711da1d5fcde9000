"""Loops that train tiny models alone or with a crew, to be compared."""

from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from creditree.engines.engine import Sampling
from creditree.engines.whole import engine_for
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import METHODS, Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.rng import Key
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from creditree.train.settings import Parts, Settings
from creditree.train.step import StepResult
from tests.crews import CrewBeside, with_crew
from tests.tiny_models import tiny, tiny_whole
from tests.training import SUMS, Scripted

SETTINGS = Settings(
    steps=3, problems_per_step=3, learning_rate=1e-2, sampling=Sampling(0.8), max_new_tokens=10, evaluation_problems=4
)


def small(name: str) -> Method:
    """Return a named method with small groups."""
    method = METHODS[name]()
    sizes = {"num_branches": 2} if hasattr(method.explore, "num_branches") else {}
    return replace(method, explore=replace(method.explore, group=4, **sizes))


def parts_of(method: Method, *, whole: bool = False) -> Parts:
    """Return the parts of a run of a method in float64, always the same; `whole`: by the model's own forward pass."""
    model = tiny_whole() if whole else tiny("qwen2", torch.float64)
    if method.looks_at_steps:
        method = method.fitted(model.separators(method.step_texts))
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    learner = Learner(adapter, method.objective, OptimiserSpec(1e-2, micro_batch_tokens=64))
    return Parts(model, learner, engine_for(model), SUMS, Scripted(), method)


def trained(
    method: Method, size: int | None, settings: Settings = SETTINGS, *, whole: bool = False
) -> tuple[Loop, list[Any]]:
    """Return a loop after its steps, by a crew of some size or alone, and what each step said."""
    parts = parts_of(method, whole=whole)
    if size is not None:
        parts = with_crew(parts, CrewBeside([CrewWorker.training(parts_of(method), settings) for _ in range(size)]))
    loop = Loop(parts, settings)
    return loop, [said_by(loop.step()) for _ in range(settings.all_steps)]


def said_by(result: StepResult) -> tuple[Any, ...]:
    """Return what a step sampled, judged and counted."""
    branches = [branch for forest in result.explored for tree in forest for branch in tree.branches]
    return (
        [branch.token_ids.tolist() for branch in branches],
        [branch.reward for branch in branches],
        result.stats.in_loss,
        result.cost.sampled,
        result.cost.updates,
        result.cost.solved,
    )


def matrices(loop: Loop) -> list[NDArray[Any]]:
    """Return what a loop has trained."""
    return [matrix.detach().numpy() for matrix in loop.parts.learner.matrices]
