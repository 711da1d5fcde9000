"""LoRA adapters (arXiv 2106.09685) on the last layers, through peft. The base weights are never modified."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from creditree.errors import ConfigError, ModelError, did_you_mean
from creditree.models.load import Model
from creditree.rng import Key

WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Which matrices get an adapter.

    `layers` is the fraction of layers, counted from the last, rounded down to whole layers (1/3 of 28 is 9: 19..27), or
    the list of layer indices. `alpha` None means 2 * rank; the update is W + (alpha / rank) B A.
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    layers: float | tuple[int, ...] = 1 / 3
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def layer_indices(self, num_layers: int) -> tuple[int, ...]:
        """Return the adapted layers of a model of `num_layers`. Raises ConfigError for one that does not exist."""
        if isinstance(self.layers, tuple):
            wrong = [index for index in self.layers if not 0 <= index < num_layers]
            if wrong:
                raise ConfigError(
                    f"lora.layers names layer {wrong[0]}, but the model has layers 0 to {num_layers - 1}; "
                    "give indices in that range."
                )
            return tuple(sorted(set(self.layers)))
        if not 0.0 < self.layers <= 1.0:
            raise ConfigError(
                f"lora.layers is {self.layers}: give a fraction above 0 and at most 1, or a list of layer indices."
            )
        count = max(1, int(num_layers * self.layers + 1e-9))
        return tuple(range(num_layers - count, num_layers))


class Adapter:
    """A LoRA adapter attached to a model: switch it off, read and write its matrices, save it for PEFT."""

    folder: ClassVar[str] = "adapter"

    def __init__(self, model: Model, spec: LoraSpec, key: Key) -> None:
        """Attach a fresh adapter: A Kaiming-uniform from `key`, B zero, so that the model is unchanged at first."""
        self.model = model
        self.spec = spec
        transformer = model.transformer
        self.layer_indices = spec.layer_indices(transformer.num_layers)
        _check_targets(transformer.model, spec.targets)
        config = LoraConfig(
            r=spec.rank,
            lora_alpha=2 * spec.rank if spec.alpha is None else spec.alpha,  # type: ignore[arg-type]
            lora_dropout=spec.dropout,
            target_modules=list(spec.targets),
            layers_to_transform=list(self.layer_indices),
            bias="none",
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key.at("lora").integer(0, 2**63 - 1))
            self.peft: PeftModel = get_peft_model(transformer.model, config)
        if transformer.dtype == torch.float64:
            self.peft.to(torch.float64)
        config.base_model_name_or_path = model.name
        self.peft.eval()
        self._link()

    @torch.no_grad()
    def _link(self) -> None:
        """Let the transformer find the matrices; all are away from zero meanwhile, for the comparison that it makes."""
        held = [matrix.clone() for matrix in self.matrices]
        for matrix in self.matrices:
            matrix.add_(0.1 / self.spec.rank)
        self.model.transformer.link()
        for matrix, before in zip(self.matrices, held, strict=True):
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
        return f"{self.num_parameters:,} trained parameters in layers {first} to {last}"

    @contextmanager
    def learning(self, key: Key) -> Iterator[None]:
        """Run the block with LoRA dropout, drawn from `key`, where there is any."""
        if self.spec.dropout == 0:
            yield
            return
        self.peft.train()
        try:
            with torch.random.fork_rng():
                torch.manual_seed(key.at("dropout").integer(0, 2**63 - 1))
                yield
        finally:
            self.peft.eval()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Run the block with the base model alone."""
        with self.peft.disable_adapter():
            yield

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
        set_peft_model_state_dict(self.peft, state)

    def save(self, directory: Path) -> None:
        """Write the adapter in PEFT's own format (safetensors); equal adapters give equal bytes."""
        self.peft.save_pretrained(str(directory), save_embedding_layers=False)
        # PEFT writes a set in the order of its hashes, which is another one in each process.
        file = directory / "adapter_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["target_modules"] = sorted(config["target_modules"])
        file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")

    def _tensors(self) -> dict[str, Tensor]:
        # "auto", peft's default, asks the hub whether the vocabulary was changed
        tensors: dict[str, Tensor] = get_peft_model_state_dict(self.peft, save_embedding_layers=False)
        return tensors

    def load(self, directory: Path) -> None:
        """Set the trained matrices from a directory that `save` or PEFT wrote."""
        weights = directory / WEIGHTS_FILE
        if not weights.is_file():
            raise ModelError(
                f"'{directory}' holds no {WEIGHTS_FILE}; give the directory of a PEFT adapter saved as safetensors."
            )
        try:
            state = load_file(weights)
        except SafetensorError as error:
            raise ModelError(f"'{weights}' is damaged ({error}); copy or train the adapter again.") from error
        self.load_state(state)


def saved_spec(directory: Path) -> tuple[str, LoraSpec]:
    """Return the base model's name and the LoRA settings of a saved adapter."""
    if not (directory / "adapter_config.json").is_file():
        raise ModelError(f"'{directory}' holds no adapter_config.json; give the directory of a PEFT adapter.")
    try:
        config: Any = LoraConfig.from_pretrained(str(directory))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"the adapter_config.json in '{directory}' cannot be used ({error}).") from error
    if not isinstance(config, LoraConfig) or config.layers_to_transform is None:
        raise ModelError(
            f"the adapter in '{directory}' is no LoRA that names its layers; Creditree reads adapters that it saved."
        )
    if config.use_rslora or config.use_dora or config.rank_pattern or config.alpha_pattern or config.bias != "none":
        raise ModelError(
            f"the adapter in '{directory}' is more than W + (alpha / rank) B A (rsLoRA, DoRA, a bias, or ranks that "
            "differ); Creditree reads adapters that it saved itself."
        )
    layers = config.layers_to_transform
    spec = LoraSpec(
        rank=config.r,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        layers=tuple([layers] if isinstance(layers, int) else layers),
        targets=tuple(sorted(config.target_modules or ())),
    )
    return str(config.base_model_name_or_path), spec


def _check_targets(model: torch.nn.Module, targets: tuple[str, ...]) -> None:
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name
    }
    for target in targets:
        if target not in linear:
            raise ConfigError(
                f"lora.targets names '{target}', which is no projection in this model's layers."
                f"{did_you_mean(target, linear)}"
            )
