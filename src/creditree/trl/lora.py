"""A `peft.LoraConfig` as the block `lora`."""

import dataclasses
from typing import Any

from creditree.errors import ConfigError
from creditree.text import shown

HONOURED = {"r", "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform"}
WITHOUT_EFFECT = {
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "fan_in_fan_out", "layers_pattern", "runtime_config", "loftq_config", "eva_config", "corda_config",
}  # fmt: skip
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
USUAL = ["q_proj", "v_proj"]
"""What PEFT adapts of a Llama or a Qwen where nothing is named."""


def lora_block(config: Any) -> dict[str, Any]:
    """Return the block. Raises ConfigError for what is more than W + alpha / r B A on projections of layers."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type) or not hasattr(config, "r"):
        raise ConfigError(f"peft_config is {shown(config)}: give a peft.LoraConfig.")
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        if item.name in HONOURED | WITHOUT_EFFECT or not value or value == default:
            continue
        if item.name == "bias" and value == "none":
            continue
        raise ConfigError(f"peft_config.{item.name} is {shown(value)}, which is not supported here; leave it out.")
    given: Any = config
    named = getattr(config, "target_modules", None)
    if isinstance(named, str) and named != "all-linear":
        raise ConfigError(f"peft_config.target_modules is {shown(named)}: write a list of names, or 'all-linear'.")
    targets = USUAL if named is None else EVERY if isinstance(named, str) else sorted(named)
    layers = getattr(config, "layers_to_transform", None)
    return {
        "rank": given.r,
        "alpha": float(given.lora_alpha),
        "dropout": float(given.lora_dropout),
        "targets": targets,
        "layers": "1" if layers is None else [layers] if isinstance(layers, int) else list(layers),
    }
