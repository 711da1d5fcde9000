"""LoRA adapters (arXiv 2106.09685) on the last layers, through peft. The base weights are never modified."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from creditree.errors import ModelError
from creditree.models.directory import as_others, full_name
from creditree.models.load import Model
from creditree.models.lora import LoraSpec as LoraSpec
from creditree.models.projections import has_conv1d, projections
from creditree.models.reading import one_sentence, reason_of
from creditree.models.saved_adapter import SavedAdapter
from creditree.rng import Key

if TYPE_CHECKING:
    from peft import PeftModel


class Adapter:
    """A LoRA adapter attached to a model: switch it off, read and write its matrices, save it for PEFT."""

    folder: ClassVar[str] = "adapter"

    def __init__(self, model: Model, spec: LoraSpec, key: Key) -> None:
        """Attach a fresh adapter: A Kaiming-uniform from `key`, B zero, so that the model is unchanged at first.

        Raises ConfigError for layers or targets that the model does not have, ModelError for what cannot be allocated
        or represented.
        """
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer

        self.model = model
        self.spec = spec
        self.is_off = False
        network = model.network
        self.layer_indices = spec.layer_indices(network.num_layers)
        self._named = projections(network, spec.targets)
        pattern = None if model.whole is None else network.layers_name
        config = LoraConfig(
            r=spec.rank,
            lora_alpha=spec.scaled_by,  # type: ignore[arg-type]
            lora_dropout=spec.dropout,
            target_modules=list(self._named),
            layers_to_transform=list(self.layer_indices),
            layers_pattern=pattern,
            fan_in_fan_out=has_conv1d(network, self._named),
            bias="none",
            task_type="CAUSAL_LM",
        )
        with one_sentence(self._too_large):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key.at("lora").integer(0, 2**63 - 1))
                self.peft: PeftModel = get_peft_model(network.model, config)
            if network.dtype == torch.float64:
                self.peft.to(torch.float64)
            self.peft.eval()
            self._layers = [module for module in self.peft.modules() if isinstance(module, LoraLayer)]
            self._link()
        config.base_model_name_or_path = full_name(model.name)
        config.target_modules = sorted(self._named)  # peft makes a set, in any order

    def _too_large(self, error: BaseException) -> str:
        return (
            f"an adapter of rank {self.spec.rank} and alpha {self.spec.scaled_by} cannot be put on model "
            f"'{self.model.name}' ({reason_of(error)}); set lora.rank or lora.alpha to less."
        )

    @torch.no_grad()
    def _link(self) -> None:
        """Let the transformer find the matrices; all are away from zero meanwhile, for the comparison that it makes."""
        copies = [matrix.clone() for matrix in self.matrices]
        for matrix in self.matrices:
            matrix.add_(0.1 / self.spec.rank)
        self.model.network.link()
        for matrix, before in zip(self.matrices, copies, strict=True):
            matrix.copy_(before)

    @property
    def first_layer(self) -> int:
        """The lowest adapted layer; below it nothing differs between policy and reference."""
        return self.layer_indices[0]

    @property
    def matrices(self) -> list[torch.nn.Parameter]:
        """The trained matrices, A and B of every adapted projection, in a fixed order."""
        return [parameter for parameter in self.peft.parameters() if parameter.requires_grad]

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.matrices)

    @property
    def description(self) -> str:
        """How many numbers are trained, and in which layers."""
        first, last = self.layer_indices[0], self.layer_indices[-1]
        other = "" if set(self._named) == set(self.spec.targets) else f" ({', '.join(self._named)})"
        return f"{self.num_parameters:,} trained parameters in layers {first} to {last}{other}"

    @contextmanager
    def learning(self, key: Key) -> Iterator[None]:
        """Run the block with LoRA dropout, drawn from `key`, where there is any."""
        if self.spec.dropout == 0:
            yield
            return
        for layer in self._layers:  # and nothing else: the base may have dropout of its own, which is off in sampling
            layer.train()
        try:
            with torch.random.fork_rng():
                torch.manual_seed(key.at("dropout").integer(0, 2**63 - 1))
                yield
        finally:
            self.peft.eval()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Run the block with the base model alone.

        An update does so for every stretch of tokens, and peft's own `disable_adapter` walks all modules five times: a
        quarter of the time of an update of a small model.
        """
        if self.is_off:
            yield
            return
        self._enable(False)
        try:
            yield
        finally:
            self._enable(True)

    def _enable(self, on: bool) -> None:
        for layer in self._layers:
            layer.enable_adapters(on)
        self.is_off = not on

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the trained matrices, by PEFT's names."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Set the trained matrices. Raises ModelError where the names or shapes are not this adapter's."""
        own = self._tensors()
        if {name: tensor.shape for name, tensor in own.items()} != {
            name: tensor.shape for name, tensor in state.items()
        }:
            raise ModelError(
                "the saved adapter has other matrices than this configuration's (rank, layers or targets differ)."
            )
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.peft, state)

    def save(self, directory: Path) -> None:
        """Write the adapter in PEFT's own format (safetensors): equal adapters give equal bytes."""
        self.peft.save_pretrained(str(directory), save_embedding_layers=False)
        as_others(directory)

    def _tensors(self) -> dict[str, Tensor]:
        from peft.utils import get_peft_model_state_dict

        # "auto", peft's default, asks the hub whether the vocabulary was changed
        tensors: dict[str, Tensor] = get_peft_model_state_dict(self.peft, save_embedding_layers=False)
        return tensors

    def load(self, directory: Path) -> None:
        """Set the trained matrices from a directory that `save` or PEFT wrote. Raises ModelError."""
        self.load_state(SavedAdapter.read(directory).state(self._tensors(), self.spec.scaling))


def saved_spec(directory: Path) -> tuple[str | None, LoraSpec]:
    """Return the name of the base model, None where none is written, and the settings of an adapter that can hold it.

    Raises ModelError.
    """
    saved = SavedAdapter.read(directory)
    return saved.base, saved.spec
