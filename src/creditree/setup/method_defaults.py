"""Which method a real model is trained with, and with which numbers, where the configuration does not say.

Papers' own compositions (`creditree.methods.AS_PRINTED`) keep their numbers.
"""

from collections.abc import Mapping

from creditree.config.method import MethodConfig
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.methods import AS_PRINTED, AXES, PRETRAINED, Method
from creditree.models.shapes import Shape
from creditree.piece import types_of
from creditree.setup.choices import Found, Rule
from creditree.setup.machine import is_on_gpu

LEARNING, OF = {"alpha": 25, "k": 50}, 300
"""First tokens of a completion that learn, and most that do, of so many `max_new_tokens`: S-GRPO's on SVAMP, as we read
arXiv 2504.20834."""


def early_tokens(name: str, max_new_tokens: int) -> int:
    """Return `alpha` or `k` of `early_and_random` in proportion to the length of completions; 1 at least."""
    return max(1, round(max_new_tokens * LEARNING[name] / OF))


def _method(config: RunConfig, shape: Shape) -> Found:
    method = config.method
    if any(getattr(method, axis) is not None for axis in (*AXES, "step_texts")):
        return None  # a composition says what it is made of, beside what `method.name` is without a word
    try:
        MethodConfig(name=PRETRAINED, **method.given).build()
    except ConfigError:
        return None
    return PRETRAINED, "it gained most on SVAMP with a pretrained model (recipes/real)"


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


def learns_early(method: Method) -> bool:
    """Whether its selection counts first tokens and caps all, as `early_and_random` does."""
    return LEARNING.keys() <= types_of(type(method.select)).keys()


def _early(name: str) -> Rule:
    def rule(config: RunConfig, shape: Shape) -> Found:
        if not is_open(config) or not learns_early(config.method.build()):
            return None
        tokens = config.sampling.max_new_tokens
        return early_tokens(name, tokens), f"of up to {tokens:,} tokens, as {LEARNING[name]} of {OF} on SVAMP"

    return rule


def _kl(config: RunConfig, shape: Shape) -> Found:
    has_one = getattr(config.method.build().objective, "kl", 0.0) > 0
    if not has_one or not is_open(config) or {"kl_estimator", "kl_ratio"} & config.method.given.keys():
        return None
    return 0.0, "no run of recipes/real had a penalty; one costs a pass more in each update"


def _loss_temperature(config: RunConfig, shape: Shape) -> Found:
    if not is_open(config) or config.method.build().objective.uses_old or config.engine.is_remote:
        return None
    return config.sampling.temperature, "the loss is of the policy that samples (sampling.temperature)"


METHOD_RULES: Mapping[str, Rule] = {
    "method.name": _method,
    "method.group": _group,
    "method.successes": _replays,
    "method.failures": _replays,
    **{f"method.{name}": _early(name) for name in LEARNING},
    "method.kl": _kl,
    "method.loss_temperature": _loss_temperature,
}
