"""Full fine-tuning: every weight of the model learns, embedding, norms and head included."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from creditree.errors import ModelError
from creditree.models.directory import as_others
from creditree.models.load import Dtype, Model, load_model
from creditree.rng import Key

TRAINABLE = (torch.float32, torch.float64)
"""In bfloat16 an update below 1/256 of a weight is lost to rounding, and at the usual learning rates all are."""


class AllWeights:
    """All weights of a model, trained in place, and a frozen copy of them as they were: the base model.

    The layers run as transformers' own modules under autograd: their lean form has no gradient for weights. Memory: the
    weights five times (policy, base, gradient, two moments). A head that is tied to the embedding stays tied.
    """

    folder: ClassVar[str] = "model"

    def __init__(self, model: Model) -> None:
        """Make every weight of `model` learn. Raises ModelError for weights of too little precision, or quantised."""
        network = model.network
        if network.dtype not in TRAINABLE or any(not p.is_floating_point() for p in network.model.parameters()):
            raise ModelError(
                f"the weights of model '{model.name}' are not float32, and smaller numbers would lose most updates to "
                "rounding; set model.dtype: float32, or train an adapter."
            )
        self.model = model
        self.is_off = False
        network.model.requires_grad_(True)
        network.link()
        self._named: dict[str, torch.nn.Parameter] = dict(network.model.named_parameters())
        self._base = {name: weight.detach().clone() for name, weight in self._named.items()}

    @property
    def first_layer(self) -> int:
        """0: the embedding and every layer learn."""
        return 0

    @property
    def matrices(self) -> list[torch.nn.Parameter]:
        """All weights, in the model's order; a tied one once."""
        return list(self._named.values())

    @property
    def description(self) -> str:
        """How many numbers learn."""
        return f"all {sum(weight.numel() for weight in self.matrices):,} parameters trained"

    @contextmanager
    def off(self) -> Iterator[None]:
        """Run the block with the base model: its weights take the places of the trained ones, which are not copied."""
        self._exchange()
        self.is_off = not self.is_off
        try:
            yield
        finally:
            self._exchange()
            self.is_off = not self.is_off

    @contextmanager
    def learning(self, key: Key) -> Iterator[None]:
        """Run the block; nothing is dropped."""
        yield

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the weights, by transformers' names."""
        return {name: weight.detach().clone() for name, weight in self._named.items()}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Set the weights. Raises ModelError where the names or shapes are not this model's."""
        if {name: weight.shape for name, weight in self._named.items()} != {n: t.shape for n, t in state.items()}:
            raise ModelError("the saved weights are of another model than this configuration's.")
        for name, weight in self._named.items():
            weight.copy_(state[name])

    def save(self, directory: Path) -> None:
        """Write model and tokenizer as transformers does (safetensors): a directory like any other model's."""
        self.model.network.model.save_pretrained(str(directory))
        self.model.tokenizer.save_pretrained(str(directory))
        as_others(directory)

    def load(self, directory: Path) -> None:
        """Set the weights from a directory that `save` or transformers wrote."""
        network = self.model.network
        dtype: Dtype = "float64" if network.dtype == torch.float64 else "float32"
        saved = load_model(str(directory.absolute()), dtype, str(network.device))
        self.load_state(dict(saved.network.model.named_parameters()))

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._named.items():
            weight.data, self._base[name] = self._base[name], weight.data
