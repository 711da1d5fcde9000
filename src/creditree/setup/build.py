"""From blocks of a configuration to what they stand for."""

from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from creditree.config.block import PromptBlock
from creditree.config.schema import LoraBlock, RunConfig
from creditree.config.task import (
    BenchmarkConfig,
    FileConfig,
    FunctionConfig,
    MixtureConfig,
    MultiplicationConfig,
    SvampConfig,
    TaskConfig,
    WordProblemsConfig,
)
from creditree.engines.engine import Sampling
from creditree.methods import Method
from creditree.models.adapter import LoraSpec
from creditree.tasks.benchmarks import BENCHMARKS, benchmark
from creditree.tasks.function import function_task
from creditree.tasks.mixture import MixedPrompt, Mixture, Part
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.svamp import PROMPT as SVAMP_PROMPT
from creditree.tasks.svamp import svamp
from creditree.tasks.table import Columns, load_table
from creditree.tasks.task import PromptTemplate, Task
from creditree.tasks.word_problems import WordProblems
from creditree.train.settings import Settings, Validation, WarmStart
from creditree.user_code import digest_of


def build_lora(block: LoraBlock) -> LoraSpec:
    """Return the LoRA settings."""
    layers = block.layers
    chosen = tuple(layers) if isinstance(layers, list) else float(Fraction(layers))
    return LoraSpec(block.rank, block.alpha, block.dropout, chosen, tuple(block.targets))


def build_task(config: TaskConfig) -> Task:
    """Return the task. Raises ConfigError or DataError for what cannot be used.

    Files that have not changed since are not read again: who plans, who checks and who trains have one task.
    """
    if isinstance(config, MixtureConfig):
        parts = zip(config.labels, config.mixture, strict=True)
        return Mixture(tuple(Part(name, part.weight, build_task(part.task)) for name, part in parts))
    paths = (getattr(config, name, None) for name in ("path", "validation_path", "test_path"))
    stamps = (*map(_stamp, paths), *map(digest_of, config.locations))
    return _task(type(config), config.model_dump_json(), stamps)


def _stamp(path: str | None) -> tuple[int, ...] | None:
    """Return what changes with a local file, None for none."""
    try:
        status = None if path is None else Path(path).stat()
    except (OSError, ValueError):
        return None
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _task(kind: type[BaseModel], values: str, stamps: tuple[object, ...]) -> Task:
    config: Any = kind.model_validate_json(values)
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
    shared = {"columns": build_columns(config), "conflicts": config.conflicts, "prompt": prompt}
    shares = {"validation": config.validation, "test": config.test}
    if isinstance(config, FunctionConfig):
        return function_task(config.name, config.problems, **shared, **shares)
    return load_table(
        config.path,
        validation_path=config.validation_path,
        test_path=config.test_path,
        **shared,
        **shares,
    )


def build_columns(config: TaskConfig) -> Columns:
    """Return which columns of a table hold what: the configured ones of task ``file``, else the usual ones."""
    if isinstance(config, FunctionConfig):
        return Columns(config.question, config.answer, keys="task.{}")
    if not isinstance(config, FileConfig):
        return Columns()
    return Columns(config.question, config.answer, config.split, config.id, config.solution, "task.{}")


def build_prompt(config: TaskConfig) -> PromptTemplate:
    """Return the wording of the prompt, without reading any problem: what is left out is the task's own."""
    if isinstance(config, MixtureConfig):
        parts = zip(config.labels, config.mixture, strict=True)
        return MixedPrompt.of_parts(tuple((name, build_prompt(part.task)) for name, part in parts))
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


def build_settings(config: RunConfig, method: Method | None = None) -> Settings:
    """Return the numbers of the run; `method`: that of the configuration, where it is built already."""
    train, validation = config.train, config.validation
    method = config.method.build() if method is None else method
    return Settings(
        seed=config.seed,
        steps=train.steps,
        cpu_seconds=train.cpu_seconds,
        seconds=train.seconds,
        tokens=train.tokens,
        problems_per_step=train.problems_per_step,
        mini_batch=train.mini_batch,
        learning_rate=train.learning_rate,
        final_learning_rate=train.final_learning_rate,
        sampling=Sampling(
            config.sampling.temperature,
            config.sampling.top_p,
            entropies=method.signals.entropies,
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
        warm_start=WarmStart(**config.warm_start.model_dump()),
    )
