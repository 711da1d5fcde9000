"""From a resolved configuration to the machines of a run."""

import math
from dataclasses import replace

import torch

from creditree.config.schema import RunConfig
from creditree.engines.native.library import identity
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter
from creditree.models.all_weights import AllWeights
from creditree.models.influence import check_observed
from creditree.models.load import Model, load_model
from creditree.models.trained import Trained
from creditree.objective.base import Objective, is_recorded
from creditree.rng import Key
from creditree.setup.build import build_lora
from creditree.setup.engine import NOWHERE, Surroundings, build_engine
from creditree.setup.grading import build_verifier, code_digest
from creditree.setup.guard import build_guard
from creditree.setup.problems import fitted_to, read_digest
from creditree.setup.resolve import Resolved
from creditree.train.guard import Guard
from creditree.train.inputs import BaseDigests, Inputs, problems_digest, training_digest
from creditree.train.settings import Parts, check_context
from creditree.train.start import Start
from creditree.train.warm_start import check_solutions
from creditree.user_code import digest_of


def build(resolved: Resolved, around: Surroundings = NOWHERE) -> Parts:
    """Load the model, say what of it learns, and make everything else that a run needs.

    `around`: for a server that is started here.
    """
    config = resolved.config
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    task = resolved.task
    method = fitted_to(resolved.method, task)
    verifier = build_verifier(config.reward)
    guard = build_guard(config.guard, task.prompt, verifier)
    block = config.model
    model = load_model(block.name, block.dtype, block.device, sharded=block.sharded)
    if method.looks_at_steps:
        method = method.fitted(model.separators(method.step_texts))
    if method.explore.signals.influence is not None:
        check_observed(method.explore.signals.influence, model.network)
    inputs = _inputs(resolved, guard, model)  # before all weights learn
    train = config.train
    trained: Trained
    if train.weights == "all":
        trained = AllWeights(model)
    else:
        trained = Adapter(model, build_lora(config.lora), Key.of(config.seed))
    start = None if train.start is None else Start.of(train.start)
    if start is not None:
        trained.load(start.folder)
    micro_batch, rows, stored = train.micro_batch_tokens, train.max_rows, train.stored_tokens
    assert isinstance(micro_batch, int)
    assert isinstance(rows, int)
    assert stored != "auto"
    optimiser = OptimiserSpec(
        train.learning_rate,
        train.betas,
        train.eps,
        train.max_grad_norm,
        micro_batch,
        train.weight_decay,
        train.skip_grad_norm,
        _max_mismatch(config, method.objective),
    )
    questions = task.prompt, resolved.settings.measured(task)
    engine = build_engine(
        config, model, trained, questions, rows, stored_tokens=stored, keeps_trunk=True, around=around
    )
    inputs = inputs if engine.remote is None else replace(inputs, engine=engine.remote)
    learner = Learner(trained, method.objective, optimiser, engine, engine_differs=config.engine.is_remote)
    parts = Parts(model, learner, engine, task, verifier, method, start, guard, inputs)
    try:
        check_context(parts, resolved.settings)
        if config.warm_start.steps:
            check_solutions(model, task)
    except BaseException:
        engine.close()
        raise
    return parts


def _max_mismatch(config: RunConfig, objective: Objective) -> float:
    """Return the limit of the mismatch; none where the engine records nothing of the softmax that the loss takes."""
    sampling = config.sampling
    same = is_recorded(objective.loss_temperature, sampling.temperature, sampling.top_p)
    return config.train.max_mismatch if same else math.inf


def _inputs(resolved: Resolved, guard: Guard | None, model: Model) -> Inputs:
    """Return the digests of all that the run depends on."""
    config, task, settings = resolved.config, resolved.task, resolved.settings
    validation = task.held_out("validation", settings.validation.problems) if settings.validation.every > 0 else None
    native = identity(config.model.dtype, config.model.device)
    engine = ", ".join(native.values()) if model.whole is None else f"the forward pass of {model.whole.name}"
    return Inputs(
        training=training_digest(task),
        measured=problems_digest(settings.measured(task)),
        validation=problems_digest(validation),
        guard=problems_digest(None if guard is None else guard.problems),
        reward=code_digest(config.reward),
        guard_reward=None if config.guard.reward is None else code_digest(config.guard.reward),
        base=BaseDigests.of(model, config.model.dtype),
        engine=engine,
        read=read_digest(config, resolved.method, task),
        pieces={place: digest_of(place) for place in (*config.method.locations.values(), *config.task.locations)},
    )
