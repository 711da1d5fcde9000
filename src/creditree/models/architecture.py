"""Whether an architecture is supported, known from its configuration: no weights are read."""

import json
from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from creditree.errors import ModelError
from creditree.models.attention import ATTENTION
from creditree.models.layout import USE, check_layout, check_windows
from creditree.models.reading import one_sentence, reason_of
from creditree.models.transformer import Transformer

FAMILY = ("qwen2", "qwen3", "llama", "mistral")
"""Types that are known to be supported."""
_TINY: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def check_architecture(config: Any) -> None:
    """Raise ModelError for an architecture whose layers cannot be run one by one.

    One that is not known is tried: laid out without memory, then made with a few random numbers and run as
    `Transformer` runs it when weights are loaded. One that cannot be made so small is left to that.
    """
    check_windows(f"a model of type {config.model_type}", config)
    if config.model_type in FAMILY:
        return
    kind: Any = type(config)
    sentence = _fault(kind, json.dumps(config.to_dict(), sort_keys=True, default=str))
    if sentence is not None:
        raise ModelError(sentence)


@cache
def _fault(kind: Any, settings: str) -> str | None:
    """Return why a configuration of class `kind` is not supported, or None."""
    config = kind.from_dict(json.loads(settings))

    def sentence(error: BaseException) -> str:
        own = isinstance(error, KeyError) and error.args == (ATTENTION,)
        reason = "it attends by functions of its own" if own else reason_of(error)
        return f"a model of type {config.model_type} cannot be run layer by layer ({reason}); {USE}."

    try:
        with one_sentence(sentence), torch.device("meta"):
            check_layout(AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION))
    except ModelError as error:
        return str(error)
    tiny = _tiny(config)
    if tiny is None:
        return None
    try:
        Transformer(tiny)
    except ModelError as error:
        return str(error)
    return None


def _tiny(config: Any) -> Any | None:
    """Return a small random model of the same type, or None where it cannot be made."""
    settings = config.to_dict()
    changed = {key: value for key, value in _TINY.items() if key in settings}
    layers, kept = settings.get("num_hidden_layers"), _TINY["num_hidden_layers"]
    for key, value in settings.items():
        if isinstance(value, list) and len(value) == layers:  # what each layer is
            changed[key] = value[:kept]
    try:
        with one_sentence(reason_of), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            small = type(config).from_dict(settings | changed)
            return AutoModelForCausalLM.from_config(small, attn_implementation=ATTENTION).float().eval()
    except ModelError:
        return None
