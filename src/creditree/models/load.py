"""Load a base model and its tokenizer: built-in, local directory or hub name. safetensors only, no remote code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from creditree.errors import ConfigError, ModelError
from creditree.models import quantise
from creditree.models.architecture import attention_of, check_architecture, note_of
from creditree.models.attention import ATTENTION
from creditree.models.directory import locate
from creditree.models.finite import check_finite
from creditree.models.layout import NotLayeredError
from creditree.models.products import multiply_wide
from creditree.models.reading import load_config, load_generation, load_tokenizer, load_weights, reading
from creditree.models.texts import Texts
from creditree.models.transformer import Transformer
from creditree.models.vocabulary import check_vocabulary
from creditree.models.whole import WholeModel
from creditree.steps import Separators, find_separators

Dtype = Literal["float32", "bfloat16", "int8", "nf4", "float64"]
"""Of the frozen base. In int8 and nf4 the projections are quantised; the rest is bfloat16, and so are activations."""
DIVIDED = "its layers are divided among workers, who gather each when it is run (model.sharded)"
THINK_END = "</think>"


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A base model, ready to sample from and to adapt; `texts`: what goes into it and comes out of it.

    `network`: the model itself, and the way in which it is run.
    """

    name: str
    network: Transformer | WholeModel
    tokenizer: PreTrainedTokenizerBase
    texts: Texts = field(init=False)

    def __post_init__(self) -> None:
        model: Any = self.network.model
        generation = getattr(model, "generation_config", None)
        notes = () if self.whole is None else (note_of(self.name, self.whole.reason),)
        texts = Texts(self.name, self.tokenizer, model.config, generation, self.network.vocab_size, notes)
        object.__setattr__(self, "texts", texts)

    @property
    def whole(self) -> WholeModel | None:
        """The network, where it is run by its own forward pass; else None."""
        return self.network if isinstance(self.network, WholeModel) else None

    @property
    def transformer(self) -> Transformer:
        """The network's layers, one by one. Raises ModelError where it is run by its own forward pass."""
        if isinstance(self.network, WholeModel):
            raise ModelError(
                f"{note_of(self.name, self.network.reason)}; what was asked for needs its layers, so use a Qwen2, "
                "Qwen3 or Llama."
            )
        return self.network

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion."""
        return self.texts.ends.ids

    def separators(self, texts: Sequence[str]) -> Separators:
        """Return which tokens end a step, the thinking and the reasoning (`creditree.steps`): each is decoded once."""
        tokenizer: Any = self.tokenizer
        pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        think_end = tokenizer.encode(THINK_END, add_special_tokens=False)
        has_thoughts = str(tokenizer.decode(think_end)) == THINK_END
        return find_separators(pieces, texts, tuple(think_end) if has_thoughts else ())

    def text(self, token_ids: Any) -> str:
        """Return the text of a completion's token ids: only what ends it, and padding, is left out."""
        return self.texts.completion(token_ids)


def load_model(name: str, dtype: Dtype = "float32", device: str = "cpu", *, sharded: bool = False) -> Model:
    """Load model and tokenizer. Raises ModelError, or ConfigError for the device, with one sentence.

    Checked here: tokenizer and embedding belong together, no weight is NaN or infinite, and the layers can be run one
    by one (`Transformer`), or else the whole model by its own forward pass (`WholeModel`). `sharded`: it is run by its
    own forward pass in any case, and stays on the host: who divides it moves it.
    """
    check_device(device)
    device = "cpu" if sharded else device
    if name.startswith("random:"):
        return _random(name, dtype, device, sharded=sharded)
    config = load_config(name)
    options = _loading_options(name, config, dtype, device)
    with reading(name, locate(name), "config.json"):
        reason = check_architecture(config) or (DIVIDED if sharded else None)
        attention = ATTENTION if reason is None else attention_of(config)
    tokenizer = load_tokenizer(name)
    model = load_weights(name, attn_implementation=attention, **options)
    check_vocabulary(name, tokenizer, len(model.get_input_embeddings().weight))
    _place(name, model, dtype, device)
    loaded = Model(name, _run_as(model.eval(), reason), tokenizer)
    loaded.texts.check()
    return loaded


def _place(name: str, model: Any, dtype: Dtype, device: str) -> None:
    """Bring the model into its final precision and place."""
    check_finite(f"the weights of model '{name}'", dict(model.named_parameters()))
    model.requires_grad_(False)
    with reading(name, locate(name), "its weights"):
        if quantise.saved_as(model.config):
            quantise.adopt(model)
        elif dtype == "int8" or dtype == "nf4":
            quantise.quantise(model, dtype, device)
        else:
            torch.nn.Module.to(model, device)
        _own(model)


def _run_as(model: Any, reason: str | None) -> Transformer | WholeModel:
    """Return the model with the way in which it is run: by itself for a `reason`, or where its layers show one."""
    if reason is None:
        try:
            return Transformer(model)
        except NotLayeredError as error:  # what only the weights at hand show
            reason = error.reason
            model.set_attn_implementation(attention_of(model.config))
    if reason != DIVIDED:  # what gathers layers hooks into their own products
        multiply_wide(model)
    return WholeModel(model, reason)


def load_texts(name: str, *, offline: bool) -> Texts:
    """Return the text side of a model without its weights. Raises ModelError where it cannot be read.

    `offline`: from a directory, the package or the cache of the hub only.
    """
    tokenizer, config = load_tokenizer(name, offline=offline), load_config(name, offline=offline)
    rows = getattr(config, "vocab_size", None)
    with reading(name, locate(name), "config.json"):
        reason = check_architecture(config)
    notes = () if reason is None else (note_of(name, reason),)
    return Texts(name, tokenizer, config, load_generation(name, offline=offline), rows, notes)


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is not there, or that nothing here is made for."""
    try:
        torch_device = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"model.device is '{device}', which torch does not know; set cpu or cuda.") from None
    if torch_device.type not in ("cpu", "cuda"):
        raise ConfigError(f"model.device is '{device}', which Creditree has not been made for; set cpu or cuda.")
    if torch_device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"model.device is '{device}', but torch finds no CUDA device here; set cpu.")
    if torch_device.type == "cuda" and (torch_device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"model.device is '{device}', but there are {torch.cuda.device_count()} CUDA devices; set cuda:0."
        )


@torch.no_grad()
def _own(model: torch.nn.Module) -> None:
    """Copy what lies in a mapped file into memory, tensor by tensor: the file is unmapped with the last of them.

    Otherwise weights that are laid out anew would be held twice: once in memory, once as pages of the file.
    """
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and parameter.is_floating_point():
            parameter.data = parameter.data.clone()


def _loading_options(name: str, config: Any, dtype: Dtype, device: str) -> dict[str, Any]:
    """Return the precision for `from_pretrained`. Raises ModelError, before weights are read, for another one."""
    with reading(name, locate(name), "config.json"):
        saved = quantise.saved_as(config)
    if saved not in (None, dtype):
        raise ModelError(
            f"the weights of model '{name}' are saved in {saved}, which cannot be used in {dtype}; set model.dtype to "
            "int8 or nf4 if it is one of them, or take the model that it was made from."
        )
    if saved is not None:
        quantise.bitsandbytes()
        return {"dtype": quantise.COMPUTE, "device_map": {"": device}}
    if dtype in quantise.QUANTISATIONS:
        quantise.bitsandbytes()
        return {"dtype": "auto"}  # weights stay in the file until they are quantised
    return {"dtype": getattr(torch, dtype)}


def _random(name: str, dtype: Dtype, device: str, *, sharded: bool) -> Model:
    # imported here because it needs the list of shapes, which needs this module
    from creditree.models.random_weights import byte_tokenizer, random_model
    from creditree.models.shapes import PUBLIC_SHAPES, public_name

    shape = PUBLIC_SHAPES[public_name(name)]
    if dtype == "int8" or dtype == "nf4":
        model = random_model(shape, quantise.COMPUTE, device)
        quantise.quantise(model, dtype, device)
    else:
        model = random_model(shape, getattr(torch, dtype), device)
    if sharded:
        model.set_attn_implementation(attention_of(model.config))
    return Model(name, _run_as(model, DIVIDED if sharded else None), byte_tokenizer(shape.vocab_size))
