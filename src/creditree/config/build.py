"""From a checked configuration to the machines of a run."""

from fractions import Fraction

import torch

from creditree.config.block import PromptBlock
from creditree.config.guard import build_guard
from creditree.config.reward import build_verifier, code_digest
from creditree.config.schema import (
    BenchmarkConfig,
    FileConfig,
    LoraBlock,
    MultiplicationConfig,
    RunConfig,
    SvampConfig,
    TaskConfig,
    WordProblemsConfig,
)
from creditree.engines.engine import Sampling
from creditree.engines.native.library import identity
from creditree.engines.whole import engine_for
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.influence import check_observed
from creditree.models.load import Model, load_model
from creditree.models.trained import Trained
from creditree.rng import Key
from creditree.tasks.benchmarks import BENCHMARKS, benchmark
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.svamp import PROMPT as SVAMP_PROMPT
from creditree.tasks.svamp import svamp
from creditree.tasks.table import Columns, load_table
from creditree.tasks.task import PromptTemplate, Task
from creditree.tasks.word_problems import WordProblems
from creditree.train.guard import Guard
from creditree.train.inputs import Base, Inputs, problems_digest, training_digest
from creditree.train.settings import Parts, Settings, Validation, check_context
from creditree.train.start import Start


def build_lora(block: LoraBlock) -> LoraSpec:
    """Return the LoRA settings."""
    layers = block.layers
    chosen = tuple(layers) if isinstance(layers, list) else float(Fraction(layers))
    return LoraSpec(block.rank, block.alpha, block.dropout, chosen, tuple(block.targets))


def build_task(config: TaskConfig) -> Task:
    """Return the task. Raises ConfigError or DataError for what cannot be used."""
    prompt = build_prompt(config)
    if isinstance(config, MultiplicationConfig):
        return Multiplication(
            config.digits_a, config.digits_b, config.range_a, config.range_b, config.num_held_out, prompt
        )
    if isinstance(config, WordProblemsConfig):
        default = WordProblems()
        return WordProblems(
            kinds=default.kinds if config.kinds is None else tuple(config.kinds),
            distractors=default.distractors if config.distractors is None else config.distractors,
            num_held_out=config.num_held_out,
            prompt=prompt,
        )
    if isinstance(config, SvampConfig):
        return svamp(config.path, prompt)
    if isinstance(config, BenchmarkConfig):
        return benchmark(config.name, config.path, prompt)
    return load_table(
        config.path,
        validation_path=config.validation_path,
        test_path=config.test_path,
        columns=build_columns(config),
        validation=config.validation,
        test=config.test,
        conflicts=config.conflicts,
        prompt=prompt,
    )


def build_columns(config: TaskConfig) -> Columns:
    """Return which columns of a table hold what: the configured ones of task ``file``, else the usual ones."""
    if not isinstance(config, FileConfig):
        return Columns()
    return Columns(config.question, config.answer, config.split, config.id)


def build_prompt(config: TaskConfig) -> PromptTemplate:
    """Return the wording of the prompt, without reading any problem: what is left out is the task's own."""
    return template(config.prompt, _default_prompt(config))


def template(block: PromptBlock, default: PromptTemplate) -> PromptTemplate:
    """Return a wording of the prompt; where the block has no text, the default's. Raises ConfigError."""
    return PromptTemplate(default.text if block.text is None else block.text, block.chat, block.system)


def _default_prompt(config: TaskConfig) -> PromptTemplate:
    if isinstance(config, MultiplicationConfig):
        return Multiplication.prompt
    if isinstance(config, WordProblemsConfig):
        return WordProblems().prompt
    if isinstance(config, SvampConfig):
        return PromptTemplate(SVAMP_PROMPT)
    if isinstance(config, BenchmarkConfig):
        return BENCHMARKS[config.name].prompt
    return PromptTemplate()


def build_settings(config: RunConfig) -> Settings:
    """Return the numbers of the run."""
    train, validation = config.train, config.validation
    return Settings(
        seed=config.seed,
        steps=train.steps,
        cpu_seconds=train.cpu_seconds,
        seconds=train.seconds,
        problems_per_step=train.problems_per_step,
        mini_batch=train.mini_batch,
        learning_rate=train.learning_rate,
        final_learning_rate=train.final_learning_rate,
        sampling=Sampling(
            config.sampling.temperature, config.sampling.top_p, entropies=config.method.build().signals.entropies
        ),
        max_new_tokens=config.sampling.max_new_tokens,
        validation=Validation(validation.every, validation.problems, validation.temperature, validation.patience),
        evaluation_split=config.evaluation.split,
        evaluation_problems=config.evaluation.problems,
        evaluation_temperatures=tuple(config.evaluation.temperatures),
        checkpoint_every=config.log.checkpoint_every,
        checkpoint_every_s=config.log.checkpoint_every_s,
        max_skipped=train.max_skipped,
        max_unjudged=train.max_unjudged,
        rollouts_every=config.log.rollouts_every,
    )


def build_parts(config: RunConfig) -> Parts:
    """Load the model, say what of it learns, and make everything else that a run needs."""
    from creditree.config.defaults import resolved  # these need the functions above
    from creditree.config.room import check_room
    from creditree.config.start import started
    from creditree.config.workload import settled

    config = settled(resolved(started(config))[0])
    check_room(config)
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    method = config.method.build()
    task = build_task(config.task)
    verifier = build_verifier(config.reward)
    guard = build_guard(config.guard, task.prompt, verifier)
    model = load_model(config.model.name, config.model.dtype, config.model.device)
    if method.looks_at_steps:
        method = method.fitted(model.separators(method.step_texts))
    if method.explore.signals.influence is not None:
        check_observed(method.explore.signals.influence, model.network)
    inputs = _inputs(config, task, guard, model)  # before all weights learn
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
    )
    engine = engine_for(model, rows, trained.first_layer, stored)
    learner = Learner(trained, method.objective, optimiser, trunk_store=engine)
    parts = Parts(model, learner, engine, task, verifier, method, start, guard, inputs)
    check_context(parts, build_settings(config))
    return parts


def _inputs(config: RunConfig, task: Task, guard: Guard | None, model: Model) -> Inputs:
    """Return the digests of all that the run depends on."""
    settings = build_settings(config)
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
        base=Base.of(model, config.model.dtype),
        engine=engine,
    )
