"""Which method a real model is trained with, and with which numbers, where the configuration does not say.

Papers' own compositions (`creditree.methods.AS_PRINTED`) keep their numbers.
"""

from collections.abc import Callable, Mapping

from creditree.config.method import MethodConfig
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.methods import AS_PRINTED, AXES
from creditree.models.shapes import Shape
from creditree.piece import types_of
from creditree.setup.choices import Found
from creditree.setup.machine import is_on_gpu

METHOD = "s-grpo"
"""Of three methods on SVAMP with a model of 0.5 G parameters (recipes/real) the one that gained most."""
EARLY, CAP, OF = 25, 50, 300
"""First tokens of a completion that learn, and most that do, of so many `max_new_tokens`: S-GRPO's on SVAMP, as we read
arXiv 2504.20834."""


def _method(config: RunConfig, shape: Shape) -> Found:
    method = config.method
    if any(getattr(method, axis) is not None for axis in (*AXES, "step_texts")):
        return None  # a composition says what it is made of, beside what `method.name` is without a word
    try:
        MethodConfig(name=METHOD, **method.given).build()
    except ConfigError:
        return None
    return METHOD, "it gained most on SVAMP with a pretrained model (recipes/real)"


def is_open(config: RunConfig) -> bool:
    """Whether the method's numbers may be chosen: not those of a paper's own composition."""
    method = config.method.build()
    return method.name not in AS_PRINTED and method.schedule.is_plain


def _group(config: RunConfig, shape: Shape) -> Found:
    if not is_open(config) or config.method.build().explore.forks:
        return None
    if is_on_gpu(config.model.device):
        return 16, "a GPU decodes many rows at the price of one, and a larger group compares better"
    return 8, "the group of arXiv 2504.20834's GRPO; on a CPU every completion takes its time"


def _replays(config: RunConfig, shape: Shape) -> Found:
    if not is_open(config) or "successes" not in types_of(type(config.method.build().explore)):
        return None
    return 0, "replay samples up to three times the completions of a step"


def _early(config: RunConfig, shape: Shape) -> Found:
    return _of_length(config, EARLY)


def _cap(config: RunConfig, shape: Shape) -> Found:
    return _of_length(config, CAP)


def _of_length(config: RunConfig, learning: int) -> Found:
    if config.method.build().select.name != "early_and_random" or not is_open(config):
        return None
    tokens = config.sampling.max_new_tokens
    return max(1, round(tokens * learning / OF)), f"of up to {tokens:,} tokens, as {learning} of {OF} on SVAMP"


def _kl(config: RunConfig, shape: Shape) -> Found:
    has_one = getattr(config.method.build().objective, "kl", 0.0) > 0
    if not has_one or not is_open(config) or {"kl_estimator", "kl_ratio"} & config.method.given.keys():
        return None
    return 0.0, "no run of recipes/real had a penalty; one costs a pass more in each update"


def _loss_temperature(config: RunConfig, shape: Shape) -> Found:
    if not is_open(config) or config.method.build().objective.uses_old or config.engine.is_remote:
        return None
    return config.sampling.temperature, "the loss is of the policy that samples (sampling.temperature)"


METHOD_RULES: Mapping[str, Callable[[RunConfig, Shape], Found]] = {
    "method.name": _method,
    "method.group": _group,
    "method.successes": _replays,
    "method.failures": _replays,
    "method.alpha": _early,
    "method.k": _cap,
    "method.kl": _kl,
    "method.loss_temperature": _loss_temperature,
}
