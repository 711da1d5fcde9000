"""What the settings of a real model are where the configuration does not say: chosen here, each with its reason.

docs/defaults.md has the table, with the sources. Models below `SMALL` keep the defaults of the schema, with which the
built-in ones learn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from creditree.config.schema import RunConfig
from creditree.config.task import BenchmarkConfig, SvampConfig
from creditree.disk import is_file
from creditree.errors import CreditreeError
from creditree.models.shapes import Shape, shape_of
from creditree.plan.fit import choose, usual_micro_batch
from creditree.plan.prediction import predict
from creditree.setup.build import build_lora
from creditree.setup.choices import Choices, ChosenValue, Found, Rule
from creditree.setup.machine import default_device, fastest_precision, is_on_gpu, usable_memory
from creditree.setup.method_defaults import METHOD_RULES, is_open
from creditree.setup.workload import DEFAULT_ROWS, free_of, workload_of
from creditree.tasks.benchmarks import BENCHMARKS
from creditree.tasks.files import READERS
from creditree.units import show_bytes

SMALL = 50_000_000
"""Parameters below which a model is none that others trained on much text."""
TEMPERATURE, TOKENS, MOST_TOKENS = 0.7, 300, 1024
KNOWN_RATE = 1e-4
"""Learning rate of arXiv 2504.20834 (section 4), for a model of 1.5 G parameters."""
HIGHEST_RATE = 5e-3
RATES = ((6e5, HIGHEST_RATE), (5e8, 5e-4), (1.5e9, KNOWN_RATE))
"""Parameters and learning rate: of the built-in models; half of the better of two in recipes/real, whose runs are
short; of arXiv 2504.20834."""
FINAL_RATE = 0.1


def usual_rate(num_parameters: int, share: float = 1.0) -> float:
    """Return a share of the rate between `RATES`, to two digits: linear in logarithms, and level beyond its ends."""
    sizes, rates = np.log([size for size, _ in RATES]), np.log([rate for _, rate in RATES])
    rate = np.exp(np.interp(np.log(num_parameters), sizes, rates))
    return float(f"{share * rate:.2g}")


def chosen(config: RunConfig, *, offline: bool = False, recorded: RunConfig | None = None) -> tuple[RunConfig, Choices]:
    """Return the configuration with a choice for what it does not say, and the choices.

    `recorded`: of the run that is continued, whose values are taken without another choice. `offline`: the model's
    shape is not asked for over the network; where it is not known, nothing is chosen.
    """
    shape = _real(config, offline=offline)
    if shape is None:
        return config, ()
    if recorded is not None:
        missing = [key for key in (*RULES, *ROWS) if not _is_set(config, key)]
        for key in missing:
            config = _with(config, key, _value(recorded, key))
        return config, ()
    choices: list[ChosenValue] = []
    for key, rule in RULES.items():
        choice = None if _is_set(config, key) else rule(config, shape)
        if choice is not None:
            choices.append(ChosenValue(key, *choice))
            config = _with(config, key, choice[0])
    return config, tuple(choices)


def resolved(
    config: RunConfig, *, offline: bool = False, recorded: RunConfig | None = None
) -> tuple[RunConfig, Choices]:
    """Return what `chosen` returns, with rows and micro-batches of a real model as they fit the memory that is free."""
    config, choices = chosen(config, offline=offline, recorded=recorded)
    if recorded is not None or _real(config, offline=offline) is None:
        return config, choices
    fitted = _fitted(config, offline=offline)
    for choice in fitted:
        config = _with(config, choice.key, choice.value)
    return config, (*choices, *fitted)


def _real(config: RunConfig, *, offline: bool) -> Shape | None:
    """Return the shape of a real model; None for a small one, or where it is not known: loading it says why."""
    try:
        shape = shape_of(config.model.name, offline=offline)
    except CreditreeError:
        return None
    return None if shape is None or shape.num_parameters < SMALL else shape


def explicit(config: RunConfig) -> RunConfig:
    """Return the configuration with every key as if it had been written: nothing of it is chosen any more."""
    method = config.method.resolved().model_dump(exclude_none=True)
    return RunConfig.model_validate(config.model_dump() | {"method": method})


def _is_set(config: RunConfig, key: str) -> bool:
    block, _, name = key.partition(".")
    return name in getattr(config, block).model_fields_set


def _value(config: RunConfig, key: str) -> Any:
    block, _, name = key.partition(".")
    return getattr(getattr(config, block), name, None)


def _with(config: RunConfig, key: str, value: Any) -> RunConfig:
    name, _, own = key.partition(".")
    block: BaseModel = getattr(config, name)
    if own not in type(block).model_fields and type(block).model_config.get("extra") != "allow":
        return config
    return config.model_copy(update={name: block.model_copy(update={own: value})})


def _path(config: RunConfig, shape: Shape) -> Found:
    if not isinstance(config.task, SvampConfig):
        return None
    here = next((path for suffix in READERS if is_file(path := Path(f"svamp{suffix}"))), None)
    return None if here is None else (str(here.absolute()), "it is in this directory; without it the hub is asked")


def _device(config: RunConfig, shape: Shape) -> Found:
    return ("cuda", "torch finds a GPU here") if default_device() == "cuda" else None


def _dtype(config: RunConfig, shape: Shape) -> Found:
    if config.train.weights == "all":
        return None
    fastest = fastest_precision(config.model.device, shape)
    return fastest.dtype, fastest.why


def _rank(config: RunConfig, shape: Shape) -> Found:
    return None if config.train.weights == "all" else (16, "as arXiv 2504.20834")


def _layers(config: RunConfig, shape: Shape) -> Found:
    if config.train.weights == "all":
        return None
    count = len(build_lora(config.lora).layer_indices(shape.num_layers))
    return "1/3", f"the last {count} of {shape.num_layers}, as arXiv 2504.20834: the layers below run without gradient"


def _temperature(config: RunConfig, shape: Shape) -> Found:
    if config.engine.is_remote:
        return (
            1.0,
            "a server tells raw probabilities, and the loss is of the policy that samples",
        )
    return TEMPERATURE, "cooler, a model's completions of a problem are alike; hotter, small models lose the thread"


def _tokens(config: RunConfig, shape: Shape) -> Found:
    task = config.task
    wanted, why = TOKENS, "as arXiv 2504.20834, and in creditree eval"
    if isinstance(task, BenchmarkConfig):
        own = BENCHMARKS[task.name].max_new_tokens
        wanted, why = min(own, MOST_TOKENS), f"{task.name} is measured with {own:,}, and training samples many more"
    room = shape.max_positions // 2
    return (wanted, why) if wanted <= room else (room, f"half of the model's context of {shape.max_positions:,}")


def _problems(config: RunConfig, shape: Shape) -> Found:
    if not is_open(config):
        return None
    if is_on_gpu(config.model.device):
        return 8, "several problems share an update, and the GPU's rows are used"
    return 4, "several problems share an update, and a step stays within minutes"


def _rate(config: RunConfig, shape: Shape) -> Found:
    if config.train.weights == "all":
        return None
    size = f"{shape.num_parameters / 1e6:,.0f} M"
    return usual_rate(shape.num_parameters), f"for {size} parameters, between rates that are known (docs/defaults.md)"


def _final_rate(config: RunConfig, shape: Shape) -> Found:
    return FINAL_RATE, "the rate falls to a tenth, so that what was learned settles"


def _measured(config: RunConfig, shape: Shape) -> Found:
    if is_on_gpu(config.model.device):
        return None
    return 100, "on a CPU, before and after; 500 show smaller gains, and take longer"


def _temperatures(config: RunConfig, shape: Shape) -> Found:
    return None if is_on_gpu(config.model.device) else ([0.0], "greedy alone: each further one takes as long again")


RULES: Mapping[str, Rule] = {
    "task.path": _path,
    "model.device": _device,
    "model.dtype": _dtype,
    "lora.rank": _rank,
    "lora.layers": _layers,
    "sampling.temperature": _temperature,
    "sampling.max_new_tokens": _tokens,
    **METHOD_RULES,
    "train.problems_per_step": _problems,
    "train.learning_rate": _rate,
    "train.final_learning_rate": _final_rate,
    "evaluation.problems": _measured,
    "evaluation.temperatures": _temperatures,
}
"""In this order: a later rule may look at what an earlier one has chosen."""

ROWS = ("train.max_rows", "train.micro_batch_tokens", "train.stored_tokens")


def _fitted(config: RunConfig, *, offline: bool) -> list[ChosenValue]:
    """Return rows, micro-batch and held tokens for the memory that is free now; none with a limit of one's own."""
    train, device = config.train, config.model.device
    if train.memory is not None or (is_on_gpu(device) and not torch.cuda.is_available()):
        return []
    if "auto" not in (train.max_rows, train.micro_batch_tokens, train.stored_tokens):
        return []
    try:
        work, _ = workload_of(config, offline=offline)
    except CreditreeError:  # building the run says it better
        return []
    limit, free = usable_memory(device), free_of(train)
    fitted = choose(work, limit, free)
    if fitted is None:
        return []
    why = f"{show_bytes(predict(fitted).total)} at most, of {show_bytes(limit)} that may be used now"
    values = (fitted.max_rows, fitted.micro_batch_tokens, fitted.stored_tokens)
    is_free = (free.max_rows, free.micro_batch_tokens, free.stored_tokens)
    usual = (DEFAULT_ROWS, usual_micro_batch(on_host=work.on_host), None)
    return [
        ChosenValue(key, value, why)
        for key, value, mine, default in zip(ROWS, values, is_free, usual, strict=True)
        if mine and (key == ROWS[0] or value != default)
    ]
