"""A digest of weights: which base a run was made with, whatever its directory is called."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from creditree.errors import ModelError
from creditree.models.network import Network
from creditree.models.quantise import QuantisedLinear

_BASE_LAYER = "base_layer."
"""What peft puts into the name of a weight that has an adapter."""
_ADAPTER = ".lora_"
_WORKERS = 4


def weights_digest(source: Network | torch.nn.Module | Path, dtype: torch.dtype | None = None) -> str:
    """Return sha256 over names, types, shapes and bytes of weights: of a loaded base model, or of a directory's files.

    Of a loaded model those of the base alone count, in the precision that it is held in, or would be held in with
    `dtype`: with an adapter attached the digest is the same. A directory's counts every tensor of its safetensors
    files, so the two are not comparable.
    Every byte is read: ask once a run, before all weights learn. Raises ModelError for files that cannot be read.
    """
    if isinstance(source, Path):
        named = _of_directory(source)
    else:
        named = _of_model(source.model if isinstance(source, Network) else source, dtype)
    with ThreadPoolExecutor(_WORKERS) as pool:  # hashing releases the interpreter lock
        lines = sorted(
            pool.map(lambda item: f"{item[0]} {item[1].dtype} {tuple(item[1].shape)} {_sha256(item[1])}", named)
        )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _of_model(model: torch.nn.Module, dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.named_parameters():
        if _ADAPTER not in name:
            value = parameter.detach()
            yield name.replace(_BASE_LAYER, ""), value if dtype is None else value.to(dtype)
    for name, module in model.named_modules():
        if isinstance(module, QuantisedLinear):
            for index, tensor in enumerate(module.held()):
                yield f"{name.replace(_BASE_LAYER, '')}.held.{index}", tensor.detach()


def _of_directory(directory: Path) -> Iterable[tuple[str, Tensor]]:
    paths = sorted(directory.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"directory '{directory}' holds no weights; it needs a *.safetensors file.")
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (no dictionary)
                    yield name, file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"'{path}' cannot be read ({error}); get or save the weights again.") from error


def _sha256(tensor: Tensor) -> str:
    flat: Any = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(flat).hexdigest()
