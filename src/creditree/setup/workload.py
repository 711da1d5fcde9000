"""From a configuration to what its memory depends on, before the model is loaded, and the settings that fit a limit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from creditree.config.schema import RunConfig, TrainBlock
from creditree.engines.native.library import can_compile
from creditree.errors import ConfigError, CreditreeError
from creditree.evaluate.prompt import text_notes
from creditree.models.architecture import note_of
from creditree.models.load import DIVIDED, load_texts
from creditree.models.quantise import QUANTISATIONS
from creditree.models.shapes import RANDOM, Shape, shape_of
from creditree.models.texts import Texts
from creditree.plan.fit import (
    Free,
    choose,
    largest_group,
    largest_length,
    least,
    precisions_of,
    usual_micro_batch,
)
from creditree.plan.prediction import PARTS, predict
from creditree.plan.workload import NUM_BYTES, Workload, is_widened
from creditree.problem import Problem
from creditree.rng import Key
from creditree.setup.build import build_lora, build_settings, build_task
from creditree.setup.guard import guard_table
from creditree.setup.machine import is_on_gpu
from creditree.sources import is_on_hub
from creditree.tasks.task import Task
from creditree.units import parse_bytes, show_bytes

ASSUMED_PROMPT = 100
"""Tokens of a prompt where task or tokenizer is not at hand: stated wherever it is used."""
LOOKED_AT = 2000
DEFAULT_ROWS = 512
"""What `auto` is without a memory limit."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens of the longest prompt that was looked at; `assumed`: none could be; `notes`: on how the model is asked."""

    tokens: int
    assumed: bool = False
    notes: tuple[str, ...] = ()


def workload_of(
    config: RunConfig, prompt_tokens: int | None = None, *, offline: bool = True
) -> tuple[Workload, Prompt]:
    """Return what a run's memory depends on, and its longest prompt. Raises ConfigError for a model of unknown shape.

    `offline`: neither the model's configuration nor its tokenizer nor the problems are asked for over the network.
    """
    shape = _shape(config, offline)
    method, settings, lora, train = config.method.build(), build_settings(config), build_lora(config.lora), config.train
    prompt = Prompt(prompt_tokens) if prompt_tokens else longest_prompt(config, offline=offline)
    longest, everything, on_host = (
        settings.longest_completion(method.schedule),
        train.weights == "all",
        config.model.device == "cpu",
    )
    sampled, learned = method.explore.demand(longest), method.select.demand(longest)
    drawn = method.schedule.demand(settings.problems_per_step)
    work = Workload(
        shape=shape,
        dtype=config.model.dtype,
        layers=tuple(range(shape.num_layers)) if everything else lora.layer_indices(shape.num_layers),
        prompt_tokens=prompt.tokens,
        max_new_tokens=longest,
        group=sampled.group,
        grouped=sampled.group == method.explore.group,
        rank=lora.rank,
        targets=lora.targets,
        problems=settings.problems_per_step,
        replays=sampled.replays,
        withheld=sampled.withheld,
        branches=sampled.branches,
        influence=sampled.signals.influence,
        learns=learned.learns,
        early=learned.reach,
        reference=method.objective.kl > 0,
        entropies=settings.sampling.entropies or sampled.signals.entropies,
        nucleus=settings.sampling.top_p < 1,
        evaluation_problems=_most_measured(config),
        micro_batch_tokens=_or(train.micro_batch_tokens, usual_micro_batch(on_host=on_host)),
        max_rows=_or(train.max_rows, DEFAULT_ROWS),
        stored_tokens=None if train.stored_tokens == "auto" else train.stored_tokens,
        threads=train.threads or 1,
        static=not on_host and not everything,
        native=on_host and can_compile(config.model.dtype),
        all_weights=everything,
        validates=config.validation.every > 0,
        on_host=on_host,
        most_problems=drawn.most,
        problems_assumed=drawn.assumed,
        mini_batch=train.mini_batch,
        off_policy=method.schedule.off_policy,
        remote=config.engine.is_remote,
        widened=is_widened(config.model.dtype, on_host=on_host),
    )
    return work, prompt


def _shape(config: RunConfig, offline: bool) -> Shape:
    shape = shape_of(config.model.name, offline=offline)
    if shape is None:
        raise ConfigError(
            f"the shape of model '{config.model.name}' is not known without asking the network; give a directory, "
            "download the model first, or name a public model of that shape, such as random:qwen2-1.5b."
        )
    whole = DIVIDED if config.model.sharded else shape.whole
    if whole is not None:
        raise ConfigError(_not_predicted(config, shape, whole))
    return shape


def _not_predicted(config: RunConfig, shape: Shape, whole: str) -> str:
    model = config.model
    size = f", which take {show_bytes(shape.num_parameters * NUM_BYTES[model.dtype])} in {model.dtype}"
    size = "" if model.dtype in QUANTISATIONS else size
    memory = "" if config.train.memory is None else " without train.memory"
    return (
        f"{note_of(model.name, whole)}; its memory and work are not predicted beyond its "
        f"{shape.num_parameters:,} weights{size}: try it with train.steps: 2{memory}."
    )


def _most_measured(config: RunConfig) -> int:
    """Return the problems of the largest measurement."""
    validated = config.validation.problems if config.validation.every else 0
    return max(config.evaluation.problems, validated, 0 if config.guard.path is None else config.guard.problems)


def settled(config: RunConfig, *, offline: bool = False) -> RunConfig:
    """Return the configuration with a number for each `auto`: the defaults, or what fits `train.memory`.

    Raises ConfigError, saying what is too large and what would fit, where nothing does.
    """
    train = config.train
    if "auto" not in (train.micro_batch_tokens, train.max_rows, train.stored_tokens) and train.memory is None:
        return config
    if train.memory is None:
        on_host = not is_on_gpu(config.model.device)
        return _with(config, usual_micro_batch(on_host=on_host), DEFAULT_ROWS, None)
    work, _ = workload_of(config, offline=offline)
    fitted = choose(work, parse_bytes(train.memory), free_of(train))
    if fitted is None:
        raise ConfigError(too_little(work, parse_bytes(train.memory), free_of(train)))
    return _with(config, fitted.micro_batch_tokens, fitted.max_rows, fitted.stored_tokens)


def rows_of(config: RunConfig) -> int:
    """Return how many completions are decoded together."""
    return _or(settled(config).train.max_rows, DEFAULT_ROWS)


def memory_note(config: RunConfig) -> str:
    """Return the sentence that says what was chosen for a memory limit."""
    train = config.train
    work, _ = workload_of(config, offline=False)
    stored = (
        "all prefixes of a step" if train.stored_tokens is None else f"{train.stored_tokens:,} tokens' keys and values"
    )
    total, limit = predict(work).total, parse_bytes(train.memory)
    return (
        f"at most {show_bytes(total)} of {show_bytes(limit)}: {train.max_rows} rows together, micro-batches of "
        f"{train.micro_batch_tokens} tokens, {stored} held"
    )


def free_of(train: TrainBlock) -> Free:
    """Return which settings are left to be chosen."""
    return Free(train.micro_batch_tokens == "auto", train.max_rows == "auto", train.stored_tokens == "auto")


def too_little(
    work: Workload, limit: int, free: Free, length: str = "sampling.max_new_tokens:", memory: str = "train.memory"
) -> str:
    """Return the sentence for a run that does not fit: what is large, by how much, and what would fit.

    `length` and `memory`: what the settings are called that whoever asked has for them.
    """
    needed = least(work, free)
    peak = needed.peak
    large = sorted(peak.parts.items(), key=lambda item: -item[1])[:2]
    parts = " and ".join(f"{show_bytes(size)} are {PARTS[name]}" for name, size in large)
    cures = [
        f"{name} {fitting}"
        for name, fitting in (
            (f"{work.group_key}{':' if work.grouped else ' to at most'}", largest_group(work, limit, free)),
            (length, largest_length(work, limit, free)),
        )
        if fitting
    ]
    smaller = next(
        (
            f"model.dtype: {dtype}"
            for dtype in precisions_of(work)
            if dtype != work.dtype and least(replace(work, dtype=dtype), free).total <= limit
        ),
        None,
    )
    cures += [smaller] if smaller else []
    if work.all_weights and least(replace(work, all_weights=False), free).total <= limit:
        cures.append("train.weights: adapter")
    cure = f"set {', or '.join(cures)}" if cures else "use a smaller model"
    return (
        f"the run needs {show_bytes(peak.total)} of memory in {peak.name}, {show_bytes(peak.total - limit)} more than "
        f"the limit of {show_bytes(limit)}: {parts}; {cure}, or raise {memory}."
    )


def longest_prompt(config: RunConfig, *, offline: bool) -> Prompt:
    """Return the longest prompt of the problems that will be measured, and of those to train on, 2000 at most."""
    if offline and (config.task.is_on_hub or is_on_hub(config.guard.path)):
        return Prompt(ASSUMED_PROMPT, assumed=True)
    try:
        encoder = Encoder(config.model.name, offline=offline)
    except CreditreeError:
        return Prompt(ASSUMED_PROMPT, assumed=True)
    task = build_task(config.task)
    lengths = [len(task.prompt.encode(problem, encoder.texts)) for problem in _problems(config, task)]
    if config.guard.path is not None:
        table = guard_table(config.guard, task.prompt)
        guarded = table.held_out("test", min(LOOKED_AT, config.guard.problems))
        lengths += [len(table.prompt.encode(problem, encoder.texts)) for problem in guarded]
    return Prompt(max(lengths), notes=text_notes(task.prompt, encoder.texts))


class Encoder:
    """The text side of a model that is at hand; random models have a byte for a token, and making theirs takes seconds.

    Raises ModelError where it cannot be read.
    """

    def __init__(self, name: str, *, offline: bool) -> None:
        self.texts: Texts | Bytes = Bytes() if name.startswith(RANDOM) else load_texts(name, offline=offline)


class Bytes:
    """The texts of a random model."""

    has_chat_template = False
    notes: tuple[str, ...] = ()
    end_words: tuple[str, ...] = ()

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> list[int]:
        """Return a token for each byte."""
        return list("".join(piece for piece, _ in pieces).encode())

    def encode_chat(self, pieces: Sequence[tuple[str, bool]], system: str | None) -> list[int]:
        """Raise ValueError: there is no chat format."""
        raise ValueError("a random model has no chat format")

    def exact(self, token_ids: Sequence[int]) -> str:
        """Return the text of bytes."""
        return bytes(token_ids).decode(errors="replace")


def _problems(config: RunConfig, task: Task) -> Iterator[Problem]:
    yield from task.held_out(config.evaluation.split, min(LOOKED_AT, config.evaluation.problems))
    count = 64 if task.num_training is None else min(LOOKED_AT, task.num_training)
    yield from islice((task.training(Key.of(config.seed), index) for index in range(count)), LOOKED_AT)


def _or(count: object, default: int) -> int:
    return count if isinstance(count, int) else default


def _with(config: RunConfig, micro: int, rows: int, stored: int | None) -> RunConfig:
    train, free = config.train, free_of(config.train)
    chosen = {
        "micro_batch_tokens": micro if free.micro_batch_tokens else train.micro_batch_tokens,
        "max_rows": rows if free.max_rows else train.max_rows,
        "stored_tokens": stored if free.stored_tokens else train.stored_tokens,
    }
    return config.model_copy(update={"train": train.model_copy(update=chosen)})
