"""The configurations of a pilot: what is asked for, what fits the machine, and the runs that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from creditree.config.load import check_config
from creditree.config.overrides import apply_overrides, check_free
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.methods import BASELINE, DEFAULT, METHODS, PRETRAINED
from creditree.models.directory import BUILTIN
from creditree.models.quantise import QUANTISATIONS
from creditree.models.shapes import Shape
from creditree.pilot.outlook import GROUPS
from creditree.plan.fit import choose, largest_group
from creditree.report.calls import Spelling, in_python
from creditree.setup.defaults import FINAL_RATE, KNOWN_RATE, SMALL, explicit, usual_rate
from creditree.setup.machine import fastest_precision, is_on_gpu
from creditree.setup.method_defaults import LEARNING, early_tokens, learns_early
from creditree.setup.workload import free_of, too_little, workload_of
from creditree.tasks.task import Chat
from creditree.tasks.wording import WORDINGS
from creditree.units import parse_bytes, parse_duration

BARE = "{question}\n"
"""Wording for the built-in models, which know no instructions."""
NO_LIMIT = 100_000
"""Training steps where time is the limit."""
WARM_PROBLEMS = 8
"""Worked solutions of a step of a warm start."""
PRECISIONS = ("bfloat16", "int8", "nf4")
"""Tried in this order where the preferred precision does not fit."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; None where nothing is said. `memory`: bytes, 0: what is free.

    `spelled`: how the report says that a procedure is called.
    """

    problems: Path
    model: str
    budget_s: float
    out: Path
    device: str
    memory: int
    dtype: str | None = None
    question: str = "question"
    answer: str | None = None
    prompt: str | None = None
    reward: str | None = None
    max_new_tokens: int | None = None
    guard: Path | None = None
    metrics: tuple[str, ...] = ()
    by: str | None = None
    seed: int = 0
    overrides: tuple[str, ...] = ()
    spelled: Spelling = in_python


OWN_KEYS: Mapping[str, str] = {
    "seed": "use `seed`",
    "model": "use `model`, `device` or `dtype`",
    "task": "use `question`, `answer` and `prompt`, or change the table",
    "reward": "use `reward`",
    "guard.path": "use `guard`",
    "evaluation": "the test is the pilot's own",
    "method.name": "the trials choose it",
    "method.group": "it is chosen by what the base model does",
    "sampling.temperature": "it is chosen by what the base model does",
    "sampling.max_new_tokens": "use `max_new_tokens`",
    "train.seconds": "use `budget`",
    "train.memory": "use `memory`",
    "train.start": "a pilot begins with a fresh adapter; a training run with `start` goes on",
}
"""Keys that are the pilot's to set, and what to do instead."""


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override of a key that the pilot sets: its report would speak of something else."""
    check_free(overrides, OWN_KEYS, "a pilot")


@dataclass(frozen=True, slots=True)
class Files:
    """The problems of the three splits, as files."""

    training: Path
    validation: Path
    test: Path


@dataclass(frozen=True, slots=True)
class Frame:
    """What all runs of a pilot have in common, once the base model was looked at."""

    reward: Any
    prompt: str
    chat: Chat
    dtype: str
    threads: int | None
    max_new_tokens: int
    temperature: float = 1.0
    group: int = GROUPS[-1]
    problems_per_step: int = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """A method and a learning rate that may be tried.

    `warm_steps`: supervised steps on worked solutions before it;  `explore`: an explorer in place of its own.
    """

    method: str
    learning_rate: float
    warm_steps: int = 0
    explore: str | None = None

    @property
    def name(self) -> str:
        """Return such as ``t-spmo, learning rate 0.004``."""
        method = self.method if self.explore is None else f"{self.method} with {self.explore}"
        return f"{method}{self.begins}, learning rate {self.learning_rate:.2g}"

    @property
    def begins(self) -> str:
        """Return what comes before the method, in words that go on after its name."""
        return f" after a warm start of {self.warm_steps} steps" if self.warm_steps else ""


def settings_to_try(num_parameters: int) -> tuple[Setting, ...]:
    """Return settings in the order of preference: two methods, each at two learning rates a factor of 3 apart.

    T-SPMO and GRPO for a small model, S-GRPO and GRPO for a pretrained one (`PRETRAINED`). The higher rate is that of
    `usual_rate`, which is a guess for most sizes, hence the trials.
    """
    high, low = usual_rate(num_parameters), usual_rate(num_parameters, share=1 / 3)
    first = DEFAULT if num_parameters < SMALL else PRETRAINED
    return tuple(Setting(method, rate) for rate in (high, low) for method in (first, BASELINE))


def default_prompt(model: str, grader: str) -> tuple[str, Chat]:
    """Return the wording for a model and a grader, and whether it is in the chat format."""
    if model.startswith(BUILTIN):
        return BARE, False
    return WORDINGS.get(grader, BARE), "auto"


def values_of(request: Request, files: Files, frame: Frame) -> dict[str, Any]:
    """Return the keys that all runs of a pilot have."""
    return {
        "seed": request.seed,
        "model": {"name": request.model, "dtype": frame.dtype, "device": request.device},
        "task": {
            "name": "file",
            "path": str(files.training),
            "validation_path": str(files.validation),
            "test_path": str(files.test),
            "question": request.question,
            "answer": request.answer,
            "prompt": {"text": frame.prompt, "chat": frame.chat},
        },
        "reward": frame.reward,
        "sampling": {"temperature": frame.temperature, "max_new_tokens": frame.max_new_tokens},
        "train": {"memory": f"{request.memory // 10**6}MB", "threads": frame.threads},
    }


def run_config(
    request: Request,
    files: Files,
    frame: Frame,
    setting: Setting,
    seconds: float,
    blocks: Mapping[str, Mapping[str, Any]],
) -> RunConfig:
    """Return the configuration of a run of a setting for so many seconds, with further blocks such as `evaluation`."""
    method: dict[str, Any] = {"name": setting.method, "group": frame.group, "loss_temperature": frame.temperature}
    preset = METHODS[setting.method]()
    if preset.objective.kl > 0:
        method["kl"] = 0.0
    if learns_early(preset):
        method |= {name: early_tokens(name, frame.max_new_tokens) for name in LEARNING}
    if setting.explore is not None:
        method["explore"] = setting.explore
    shared = values_of(request, files, frame)
    if setting.warm_steps:
        shared["warm_start"] = {"steps": setting.warm_steps, "problems": WARM_PROBLEMS}
    train = shared["train"] | {
        "steps": NO_LIMIT,
        "seconds": round(seconds, 1),
        "problems_per_step": frame.problems_per_step,
        "learning_rate": setting.learning_rate,
        "final_learning_rate": FINAL_RATE,
    }
    values = shared | {"method": method, "train": train} | {name: dict(block) for name, block in blocks.items()}
    return explicit(check_config(apply_overrides(values, request.overrides), "the pilot's run"))


def threads_for(request: Request, shape: Shape) -> int | None:
    """Return 1 for a small model on a CPU, where several wait for one another; else None: as many as torch chooses."""
    return 1 if not is_on_gpu(request.device) and shape.num_parameters <= SMALL else None


def preferred_precision(request: Request, shape: Shape) -> str:
    """Return the precision that is used where memory is no matter."""
    if request.dtype is not None:
        return request.dtype
    on_host = not is_on_gpu(request.device)
    return "float32" if on_host and shape.num_parameters <= SMALL else fastest_precision(request.device, shape).dtype


def precisions(request: Request, frame: Frame) -> tuple[str, ...]:
    """Return the precisions that may be tried: the one asked for, else the preferred one and smaller ones."""
    if request.dtype is not None:
        return (frame.dtype,)
    quantised = find_spec("bitsandbytes") is not None
    smaller = (
        PRECISIONS if quantised else tuple(precision for precision in PRECISIONS if precision not in QUANTISATIONS)
    )
    return (frame.dtype, *(precision for precision in smaller if precision != frame.dtype))


def fitted(request: Request, files: Files, frame: Frame, prompt_tokens: int, dtypes: Sequence[str]) -> Frame:
    """Return the frame in the first precision, with the largest group, that fits the memory; at most `frame.group`.

    Raises ConfigError, saying what is too large, where nothing fits.
    """
    for dtype in dtypes:
        candidate = replace(frame, dtype=dtype)
        config = run_config(request, files, candidate, Setting(DEFAULT, KNOWN_RATE), 1.0, {})
        work, _ = workload_of(config, prompt_tokens, offline=False)
        if choose(work, request.memory, free_of(config.train)) is not None:
            return candidate
        group = largest_group(work, request.memory, free_of(config.train))
        if group is not None and group >= GROUPS[0]:
            return replace(candidate, group=max(size for size in GROUPS if size <= group))
    sentence = too_little(work, request.memory, free_of(config.train), "`max_new_tokens`", "`memory`")
    raise ConfigError(sentence)


def seconds_of(budget: str) -> float:
    """Return the seconds of a budget such as ``30m``. Raises ConfigError."""

    try:
        return parse_duration(budget)
    except ValueError as error:
        raise ConfigError(f"`budget` is '{budget}': {error}.") from None


def bytes_of(memory: str | None) -> int:
    """Return the bytes of a limit such as ``8GB``, 0 for none. Raises ConfigError."""
    try:
        return 0 if memory is None else parse_bytes(memory)
    except ValueError as error:
        raise ConfigError(f"`memory` is '{memory}': {error}.") from None
