"""A model as transformers would have made it, whatever its weights were read from."""

from collections.abc import Mapping
from typing import Any


def plain_model(model: Any, state: Mapping[str, Any]) -> Any:
    """Return a model of the same settings that holds `state`, and may be saved.

    One that was read from a GGUF file, or from quantised weights, refuses to be saved, or is saved as that.
    """
    # imported here: a GGUF file that is converted already needs neither
    import torch
    from transformers import AutoModelForCausalLM

    settings = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    with torch.device("meta"):
        fresh: Any = AutoModelForCausalLM.from_config(type(model.config).from_dict(settings))
    fresh.load_state_dict(state, assign=True)
    fresh.tie_weights()
    fresh.generation_config = model.generation_config
    return fresh
