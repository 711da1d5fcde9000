"""Load a base model and its tokenizer: built-in, local directory or hub name. safetensors only, no remote code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from creditree.errors import ConfigError, ModelError, did_you_mean
from creditree.models import quantise
from creditree.models.attention import ATTENTION
from creditree.models.gguf import converted, is_gguf
from creditree.models.texts import Texts
from creditree.models.transformer import Transformer
from creditree.steps import Separators, find_separators

Dtype = Literal["float32", "bfloat16", "int8", "nf4", "float64"]
"""Of the frozen base. In int8 and nf4 the projections are quantised; the rest is bfloat16, and so are activations."""
BUILTIN = "builtin:"
THINK_END = "</think>"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""A directory without any of them gives an empty tokenizer, without a word from transformers."""


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A base model, ready to sample from and to adapt; `texts`: what goes into it and comes out of it."""

    name: str
    transformer: Transformer
    tokenizer: PreTrainedTokenizerBase
    texts: Texts = field(init=False)

    def __post_init__(self) -> None:
        network: Any = self.transformer.model
        generation = getattr(network, "generation_config", None)
        texts = Texts(self.name, self.tokenizer, network.config, generation, self.transformer.vocab_size)
        object.__setattr__(self, "texts", texts)

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


def builtin_models() -> list[str]:
    """Return the names of the models that ship in the package."""
    return sorted(
        BUILTIN + entry.name for entry in files("creditree.models").joinpath("builtin").iterdir() if entry.is_dir()
    )


def locate(name: str) -> str:
    """Return what transformers should load for `name`. Raises ModelError for a local directory that cannot be used."""
    if name.startswith(BUILTIN):
        if name not in builtin_models():
            raise ModelError(f"model '{name}' does not ship with Creditree.{did_you_mean(name, builtin_models())}")
        return str(files("creditree.models").joinpath("builtin", name.removeprefix(BUILTIN)))
    path = Path(name).expanduser()
    if is_gguf(name):
        return str(converted(path))
    if path.is_dir():
        _check_directory(name, path)
        return str(path)
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ModelError(
            f"model directory '{name}' does not exist; give a directory, a hub name or one of "
            f"{', '.join(builtin_models())}."
        )
    return name


def _check_directory(name: str, path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(f"model directory '{name}' has no config.json; give the directory that save_pretrained wrote.")
    if not any((path / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(f"model directory '{name}' has no tokenizer; save the model's tokenizer there too.")
    if any(path.glob("*.safetensors")):
        return
    if any(path.glob("*.bin")) or any(path.glob("*.pt")) or any(path.glob("*.pth")):
        raise ModelError(
            f"model directory '{name}' holds its weights as a pickle, which can run code when it is read; "
            "save them as safetensors (model.save_pretrained writes these) and try again."
        )
    raise ModelError(f"model directory '{name}' holds no weights; it needs a *.safetensors file.")


def load_model(name: str, dtype: Dtype = "float32", device: str = "cpu") -> Model:
    """Load model and tokenizer. Raises ModelError, or ConfigError for the device, with one sentence."""
    check_device(device)
    if name.startswith("random:"):
        return _random(name, dtype, device)
    where = locate(name)
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where,
            attn_implementation=ATTENTION,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **_loading_options(name, dtype, device),
        )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        known = ", ".join(builtin_models())
        raise ModelError(
            f"model '{name}' could not be loaded ({reason}); give a directory, a hub name or one of {known}."
        ) from error
    model, loading = loaded
    if loading["missing_keys"]:
        raise ModelError(
            f"the weights of model '{name}' are incomplete ({sorted(loading['missing_keys'])[0]} is missing); "
            "get or save them again."
        )
    model.requires_grad_(False)
    if quantise.saved_as(model.config):
        quantise.adopt(model)
    elif dtype == "int8" or dtype == "nf4":
        quantise.quantise(model, dtype, device)
    else:
        torch.nn.Module.to(model, device)
    _own(model)
    found = Model(name, Transformer(model.eval()), tokenizer)
    found.texts.check()
    return found


def load_texts(name: str, *, offline: bool) -> Texts:
    """Return the text side of a model without its weights. Raises OSError or ValueError where it cannot be read.

    `offline`: from a directory, the package or the cache of the hub only.
    """
    where = locate(name)
    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(where, **options)
    config = AutoConfig.from_pretrained(where, **options)
    try:
        generation = GenerationConfig.from_pretrained(where, local_files_only=offline)
    except OSError:  # a model need not have one
        generation = None
    return Texts(name, tokenizer, config, generation, getattr(config, "vocab_size", None))


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is not there, or that nothing here is made for."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"model.device is '{device}', which torch does not know; set cpu or cuda.") from None
    if found.type not in ("cpu", "cuda"):
        raise ConfigError(f"model.device is '{device}', which Creditree has not been made for; set cpu or cuda.")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"model.device is '{device}', but torch finds no CUDA device here; set cpu.")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
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


def _loading_options(name: str, dtype: Dtype, device: str) -> dict[str, Any]:
    """Return the precision for `from_pretrained`. Raises ModelError, before weights are read, for another one."""
    config = AutoConfig.from_pretrained(locate(name), trust_remote_code=False)
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


def _random(name: str, dtype: Dtype, device: str) -> Model:
    # imported here because it needs the list of shapes, which needs this module
    from creditree.models.random_weights import byte_tokenizer, random_model
    from creditree.models.shapes import PUBLIC_SHAPES, public_name

    shape = PUBLIC_SHAPES[public_name(name)]
    if dtype == "int8" or dtype == "nf4":
        model = random_model(shape, quantise.COMPUTE, device)
        quantise.quantise(model, dtype, device)
    else:
        model = random_model(shape, getattr(torch, dtype), device)
    return Model(name, Transformer(model), byte_tokenizer(shape.vocab_size))
