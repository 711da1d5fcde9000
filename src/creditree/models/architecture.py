"""How an architecture is run, or why it cannot be: known from its configuration, no weights are read."""

import json
from functools import cache
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

from creditree.errors import ModelError
from creditree.models.attention import ATTENTION
from creditree.models.layout import NotLayeredError, check_layout, check_windows
from creditree.models.reading import one_sentence, reason_of
from creditree.models.transformer import Transformer
from creditree.models.whole import WholeModel, check_cache

FAMILY = ("qwen2", "qwen3", "llama", "mistral")
"""Types that are known to be run layer by layer, where all of their layers attend to everything before."""
LARGEST_TRIAL = 20_000_000
"""Numbers of a small model of the same type that is made to be tried; one that would be larger is not."""
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
_PARTS = ("text_config", "vision_config", "audio_config")


def check_architecture(config: Any) -> str | None:
    """Return why a model is run by its own forward pass, or None for one that is run layer by layer.

    One that is not known is tried: laid out without memory, then made with a few random numbers and run as it is when
    weights are loaded. One that cannot be made so small is left to that. Raises ModelError for what can be run neither
    way.
    """
    what = f"a model of type {config.model_type}"
    reason = _reason(config)
    if reason is None:
        return None
    _check_kind(what, config)
    kind: Any = type(config)
    sentence = _fault(kind, _settings(config))
    if sentence is not None:
        raise ModelError(sentence)
    return reason


def num_parameters(config: Any) -> int:
    """Return how many numbers a model's weights are, a tied matrix once; it is laid out without memory."""
    kind: Any = type(config)
    return _count(kind, _settings(config))


def attention_of(config: Any) -> str:
    """Return the attention with which a model runs its own forward pass: torch's, or its own where that is another."""
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    capped = getattr(config, "attn_logit_softcapping", None) is not None  # torch's attention has no such thing
    return "sdpa" if getattr(kind, "_supports_sdpa", False) and not capped else "eager"


def note_of(name: str, reason: str) -> str:
    """Return what a user should know of a model that is not run layer by layer."""
    return f"model '{name}' is run by its own forward pass, which is slower than layer by layer: {reason}"


def _reason(config: Any) -> str | None:
    what = f"a model of type {config.model_type}"
    try:
        check_windows(what, config)
    except NotLayeredError as error:
        return error.reason
    if config.model_type in FAMILY:
        return None
    kind: Any = type(config)
    return _not_layered(kind, _settings(config))


def _check_kind(what: str, config: Any) -> None:
    """Raise ModelError for what is no causal language model of text alone, or has no cache of keys and values."""
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{what} is an encoder with a decoder; use a model of a decoder alone.")
    if any(getattr(config, part, None) is not None for part in _PARTS):
        raise ModelError(f"{what} takes more than text; use the text model that it was made from.")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(f"{what} predicts no next token in transformers; use a causal language model.")
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if getattr(kind, "_is_stateful", False):
        raise ModelError(
            f"{what} keeps a state besides keys and values, which a batch of padded rows cannot be continued from; use "
            "a model whose layers all attend."
        )
    with one_sentence(lambda error: f"{what} has no cache that can be made from its configuration ({error})."):
        check_cache(what, config)


def _settings(config: Any) -> str:
    return json.dumps(config.to_dict(), sort_keys=True, default=str)


@cache
def _count(kind: Any, settings: str) -> int:
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(kind.from_dict(json.loads(settings))).num_parameters())


@cache
def _not_layered(kind: Any, settings: str) -> str | None:
    """Return why a model of a configuration of class `kind` cannot be run layer by layer, or None."""
    config = kind.from_dict(json.loads(settings))

    def refused(error: BaseException) -> NotLayeredError:
        own = isinstance(error, KeyError) and error.args == (ATTENTION,)
        reason = "it attends by functions of its own" if own else reason_of(error)
        return NotLayeredError(f"a model of type {config.model_type} cannot be run layer by layer ({reason})")

    try:
        with one_sentence(refused), torch.device("meta"):
            check_layout(AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION))
        tiny = _tiny(config, ATTENTION)
        if tiny is not None:
            Transformer(tiny)
    except NotLayeredError as error:
        return error.reason
    except ModelError:
        return None  # random numbers that come out as nothing: loading will tell
    return None


@cache
def _fault(kind: Any, settings: str) -> str | None:
    """Return why a model of a configuration of class `kind` cannot be run by its own forward pass, or None."""
    config = kind.from_dict(json.loads(settings))
    tiny = _tiny(config, attention_of(config))
    try:
        if tiny is not None:
            WholeModel(tiny, "")
    except ModelError as error:
        return str(error)
    return None


def _tiny(config: Any, attention: str) -> Any | None:
    """Return a small random model of the same type, or None where it cannot be made."""
    settings = config.to_dict()
    own = getattr(config, "attribute_map", {})
    changed = {own.get(key, key): value for key, value in _TINY.items() if own.get(key, key) in settings}
    layers, kept = config.num_hidden_layers, _TINY["num_hidden_layers"]
    for key, value in settings.items():
        if isinstance(value, list) and len(value) == layers:  # what each layer is
            changed[key] = value[:kept]
    try:
        with one_sentence(reason_of), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            small = type(config).from_dict(settings | changed)
            with torch.device("meta"):
                size = AutoModelForCausalLM.from_config(small, attn_implementation=attention).num_parameters()
            if size > LARGEST_TRIAL:
                return None
            return AutoModelForCausalLM.from_config(small, attn_implementation=attention).float().eval()
    except ModelError:
        return None
