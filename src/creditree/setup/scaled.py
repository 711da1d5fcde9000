"""A run whose work is done by several workers: what each of them is made of, and what is left to this process."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from creditree.config.load import parse_config
from creditree.config.reward import RewardBlock
from creditree.config.schema import RunConfig
from creditree.engines.whole import engine_for
from creditree.errors import ConfigError, CreditreeError
from creditree.models.load import Model, load_model
from creditree.models.trained import Trained, load_trained
from creditree.plan.prediction import predict
from creditree.runs.environment import num_cores
from creditree.scale.cluster import ADDRESS, Need, NodeRoom, check_fits, connected, fitting
from creditree.scale.engine import CrewEngine
from creditree.scale.gang import Gang
from creditree.scale.learner import ShardedLearner
from creditree.scale.ray_crew import RayCrew
from creditree.scale.rollout import CrewHelpers
from creditree.scale.verifier import CrewVerifier
from creditree.scale.worker import CrewWorker, held_by
from creditree.setup.grading import build_verifier
from creditree.setup.machine import is_on_gpu, whole_memory
from creditree.setup.parts import build
from creditree.setup.resolve import Resolved
from creditree.setup.sharded import check_host
from creditree.setup.workload import rows_of, workload_of
from creditree.train.inputs import BaseDigests
from creditree.train.settings import Parts
from creditree.units import show_bytes
from creditree.verify.verifier import Verifier

Tell = Callable[[str], None]


def build_scaled(resolved: Resolved, workers: int, tell: Tell) -> Parts:
    """Return the parts of a run that `workers` workers do the work of; closing its engine sends them away.

    Raises ConfigError, before any model is loaded, where that cannot be or there is no room for them.
    """
    config = resolved.config
    check_workers(config, workers)
    if ADDRESS not in os.environ:
        _check_memory(config, workers)
    with ExitStack() as stack:
        crew = _crew(config, partial(training_worker, resolved.yaml), workers, tell, stack)
        parts = build(_of_driver(resolved))
        assert parts.inputs is not None
        crew.start(held_by(parts.inputs))
        stack.pop_all()
    learner = ShardedLearner(parts.learner, crew)
    rows = config.train.max_rows
    assert isinstance(rows, int)
    verifiers = {id(own): CrewVerifier(own, crew, number) for number, own in enumerate(parts.verifiers)}
    guard = None if parts.guard is None else replace(parts.guard, verifier=verifiers[id(parts.guard.verifier)])
    return replace(
        parts,
        learner=learner,
        engine=CrewEngine(crew, parts.model, learner.trained, rows, config.model.device),
        verifier=verifiers[id(parts.verifier)],
        guard=guard,
        inputs=replace(parts.inputs, engine=f"{parts.inputs.engine}, by {workers} workers"),
        helpers=CrewHelpers(crew),
    )


def training_worker(yaml: str) -> CrewWorker:
    """Return a worker for a run, in its own process; `yaml`: the configuration, with nothing left to choose."""
    resolved = Resolved(parse_config(yaml, "the configuration of the run"))
    return CrewWorker.training(build(resolved), resolved.settings)


@dataclass(frozen=True, slots=True)
class MeasuringWorkers:
    """What the workers of a measurement are made of: the model, what was trained of it, and who judges."""

    config: RunConfig
    trained: Path | None
    rewards: tuple[RewardBlock, ...]

    def machines(
        self, workers: int, model: Model, trained: Trained | None, verifiers: Sequence[Verifier], tell: Tell
    ) -> tuple[CrewEngine, list[Verifier]]:
        """Return what samples and judges by `workers` workers; closing the engine sends them away.

        `model`, `trained`, `verifiers`: those of this process.
        """
        check_workers(self.config, workers)
        with ExitStack() as stack:
            crew = _crew(self.config, partial(measuring_worker, self), workers, tell, stack)
            crew.start(dict(BaseDigests.of(model, self.config.model.dtype).to_json()))
            stack.pop_all()
        engine = CrewEngine(crew, model, trained, rows_of(self.config), self.config.model.device)
        return engine, [CrewVerifier(own, crew, number) for number, own in enumerate(verifiers)]


def measuring_worker(made_of: MeasuringWorkers) -> CrewWorker:
    """Return a worker for a measurement, in its own process."""
    config = made_of.config
    block = config.model
    model = load_model(block.name, block.dtype, block.device, sharded=block.sharded)
    digests = dict(BaseDigests.of(model, config.model.dtype).to_json())
    trained = None if made_of.trained is None else load_trained(model, made_of.trained)
    verifiers = [build_verifier(reward) for reward in made_of.rewards]
    return CrewWorker(engine_for(model, rows_of(config)), trained, verifiers, holds=digests)


def check_workers(config: RunConfig, workers: int) -> None:
    """Raise ConfigError for a number of workers that makes no sense, or with what has no use for them."""
    if workers < 1:
        raise ConfigError(f"`workers` is {workers}: set 1 or more, or leave it out to work in this process.")
    if config.engine.is_remote:
        raise ConfigError(
            f"`workers` sample with models of their own, and engine '{config.engine.name}' samples elsewhere already; "
            "leave out one of them."
        )


def _crew(config: RunConfig, make: Callable[[], CrewWorker], workers: int, tell: Tell, stack: ExitStack) -> RayCrew:
    """Return workers that have begun to load; the stack ends them and leaves the cluster."""
    gpus = int(is_on_gpu(config.model.device))
    local = NodeRoom("this machine", num_cores(), torch.cuda.device_count() if gpus else 0)
    joined = ExitStack()
    if ADDRESS not in os.environ:
        check_fits([local], workers, Need(1, gpus))
    stack.push(joined)
    nodes = joined.enter_context(connected(local))
    threads = 1 if gpus else config.train.threads or torch.get_num_threads()
    need = fitting(nodes, workers, threads, gpus)
    crew = (
        Gang(make, workers, need, tell, joined.close, device=config.model.device)
        if config.model.sharded
        else RayCrew(make, workers, need, tell, joined.close)
    )
    stack.callback(crew.close)
    return crew


def _of_driver(resolved: Resolved) -> Resolved:
    """Return what this process builds: it samples nothing, so that its model needs no GPU."""
    config = resolved.config
    if not is_on_gpu(config.model.device) or config.model.dtype in ("int8", "nf4"):
        return resolved
    on_host = config.model.model_copy(update={"device": "cpu"})
    return Resolved(config.model_copy(update={"model": on_host}), resolved.choices)


def _check_memory(config: RunConfig, workers: int) -> None:
    """Raise ConfigError for workers that surely need more memory together than this machine has."""
    if config.model.sharded:
        check_host(config)
        return
    try:
        work, _ = workload_of(config, 1, offline=True)
    except CreditreeError:
        return
    have, each = whole_memory(config.model.device), predict(work, expected=True).total
    if config.model.device == "cpu" and workers * each > have:
        raise ConfigError(
            f"`workers` is {workers}, and each needs about {show_bytes(each)} of memory, of which this machine has "
            f"{show_bytes(have)}: {show_bytes(workers * each - have)} are missing; set `workers` to {have // each}, or "
            f"join a cluster ({ADDRESS})."
        )
