"""A saved LoRA adapter, ours or any that PEFT wrote: what it is, found from its settings and from its matrices."""

import dataclasses
import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from creditree.disk import content
from creditree.errors import ModelError
from creditree.models.finite import check_finite
from creditree.models.lora import LoraSpec
from creditree.models.reading import object_problem, one_sentence, reason_of, weights_problem
from creditree.text import shown

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_MATRIX = re.compile(r"base_model\.model\.((?:[A-Za-z_]\w*\.)+(\d+)\.(?:\w+\.)*(\w+))\.lora_([AB])\.weight")
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""How matrices may have begun: others change the base weights too, or take them from elsewhere."""
_READ = {
    "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "base_model_name_or_path",
    "init_lora_weights", "peft_type",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "fan_in_fan_out", "megatron_core",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
}  # fmt: skip
"""Settings that say how it was trained, or what its matrices say themselves."""


@dataclass(frozen=True, eq=False, slots=True)
class SavedAdapter:
    """`base`: the model that it names;  `spec`: an adapter that can hold it;  `scaling`: of each adapted module.

    Ranks that differ are held in the largest, the rest of the matrices being zero.
    """

    directory: Path
    base: str | None
    spec: LoraSpec
    scaling: Mapping[str, float]

    @classmethod
    def read(cls, directory: Path) -> "SavedAdapter":
        """Read the settings and the names and shapes of the matrices. Raises ModelError."""
        config = _settings(directory)
        stored = _matrices(directory)
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in stored.items():
            shapes.setdefault(_parts(directory, name)[0], {})[name.rsplit(".", 2)[1]] = shape
        ranks = {module: _rank(directory, module, sides) for module, sides in shapes.items()}
        scaling = {module: _scaling(directory, config, module, rank) for module, rank in ranks.items()}
        places = sorted({_parts(directory, name)[1:] for name in stored})
        rank = max(ranks.values())
        spec = LoraSpec(
            rank=rank,
            alpha=_alpha(config, scaling, rank),
            dropout=float(config.lora_dropout),
            layers=tuple(sorted({layer for layer, _ in places})),
            targets=tuple(sorted({target for _, target in places})),
        )
        return cls(directory, config.base_model_name_or_path, spec, scaling)

    def state(self, own: Mapping[str, Tensor], scaling: float) -> dict[str, Tensor]:
        """Return the matrices in the shapes of `own`, which are scaled by `scaling`: their products are the saved ones.

        Missing rows and matrices are zero; B takes up what a module's own scaling differs by. Raises ModelError.
        """
        saved = self._tensors()
        foreign = sorted(set(saved) - set(own))
        if foreign:
            raise ModelError(f"the adapter in '{self.directory}' has {foreign[0]}, which is nothing in the model.")
        return {name: self._fitted(name, saved.get(name), like, scaling) for name, like in own.items()}

    def changes(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each adapted module, and what its weight [outputs, inputs] is changed by: s B A, in float64.

        Raises ModelError.
        """
        saved = self._tensors()
        for module, scaling in self.scaling.items():
            a, b = (saved[f"base_model.model.{module}.lora_{side}.weight"].double() for side in "AB")
            yield module, scaling * (b @ a)

    def _tensors(self) -> dict[str, Tensor]:
        """Read the matrices. Raises ModelError."""
        with one_sentence(lambda error: f"'{self.directory / WEIGHTS_FILE}' is damaged ({reason_of(error)})."):
            tensors = load_file(self.directory / WEIGHTS_FILE)
        check_finite(f"the matrices of the adapter in '{self.directory}'", tensors)
        return tensors

    def _fitted(self, name: str, saved: Tensor | None, like: Tensor, scaling: float) -> Tensor:
        if saved is None:
            return torch.zeros_like(like)
        side = 0 if ".lora_A." in name else 1  # of the rank
        if saved.shape[1 - side] != like.shape[1 - side] or saved.shape[side] > like.shape[side]:
            raise ModelError(
                f"the adapter in '{self.directory}' belongs to another model, or has another rank: {name} is "
                f"{tuple(saved.shape)}, where {tuple(like.shape)} is needed."
            )
        factor = self.scaling[_parts(self.directory, name)[0]] / scaling if side else 1.0
        out = torch.zeros(like.shape, dtype=torch.float64)
        out[: saved.shape[0], : saved.shape[1]] = saved.double() * factor
        return out.to(like)


def _settings(directory: Path) -> Any:
    from peft import LoraConfig

    path = directory / CONFIG_FILE
    if not os.path.lexists(path):
        raise ModelError(f"'{directory}' holds no {CONFIG_FILE}; give the directory of a PEFT adapter.")
    problem = object_problem(path)
    if problem is not None:
        raise ModelError(f"{_unusable(directory)} ({problem}).")
    raw = json.loads(content(path))
    kind = raw.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelError(f"the adapter in '{directory}' is no LoRA, but {shown(kind)}; Creditree reads LoRA adapters.")
    with one_sentence(lambda error: f"{_unusable(directory)} ({reason_of(error)})."):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is not known is refused below
            config = LoraConfig.from_pretrained(str(directory))
        _check_numbers(directory, config)
    _check_settings(directory, raw, config)
    return config


def _unusable(directory: Path) -> str:
    return f"the {CONFIG_FILE} in '{directory}' cannot be used"


def _check_numbers(directory: Path, config: Any) -> None:
    whole = [config.r, *config.rank_pattern.values()]
    numbers = [config.lora_alpha, config.lora_dropout, *config.alpha_pattern.values()]
    wrong = [value for value in whole if not isinstance(value, int) or isinstance(value, bool) or value < 1]
    wrong += [number for number in numbers if isinstance(number, bool) or not math.isfinite(number)]
    if wrong or not 0 <= config.lora_dropout < 1:
        named = wrong[0] if wrong else config.lora_dropout
        raise ModelError(
            f"the {CONFIG_FILE} in '{directory}' cannot be used ({shown(named)} is no rank, alpha or dropout)."
        )
    if not isinstance(config.base_model_name_or_path, str | None):
        raise ModelError(f"{_unusable(directory)} (base_model_name_or_path is no text).")


def _check_settings(directory: Path, raw: Mapping[str, Any], config: Any) -> None:
    """Raise ModelError for settings that make it another function than W + scaling B A over the model as it is."""
    from peft import LoraConfig

    if config.init_lora_weights not in _PLAIN_STARTS:
        raise ModelError(
            f"the adapter in '{directory}' began with {shown(config.init_lora_weights)}, which changes the base "
            "weights too; let PEFT save it as a plain LoRA (path_initial_model_for_weight_conversion)."
        )
    plain: Any = LoraConfig()
    known = {field.name for field in dataclasses.fields(LoraConfig)}
    for name, value in raw.items():
        if name in _READ or name in _WITHOUT_EFFECT or not value:
            continue
        if name not in known or value != getattr(plain, name):
            raise ModelError(
                f"the adapter in '{directory}' has {name}: {shown(value)}, so it is more than W + scaling B A; train "
                "one without that."
            )


def _matrices(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the saved matrices by name; their numbers are not read."""
    path = directory / WEIGHTS_FILE
    if not os.path.lexists(path):
        raise ModelError(
            f"'{directory}' holds no {WEIGHTS_FILE}; give the directory of a PEFT adapter saved as safetensors."
        )
    problem = weights_problem(path)
    if problem is not None:
        raise ModelError(f"'{path}' is damaged or cannot be read ({problem}); copy or train the adapter again.")
    with safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if not shapes:
        raise ModelError(f"'{path}' holds no matrices; train the adapter again.")
    return shapes


def _parts(directory: Path, name: str) -> tuple[str, int, str]:
    """Return the module, its layer and its own name, of a matrix."""
    match = _MATRIX.fullmatch(name)
    if match is None:
        raise ModelError(
            f"the adapter in '{directory}' holds {shown(name)}, which is no LoRA matrix of a layer's projection; "
            "Creditree reads adapters of these, without embedding, head or other weights."
        )
    return match.group(1), int(match.group(2)), match.group(3)


def _rank(directory: Path, module: str, sides: Mapping[str, tuple[int, ...]]) -> int:
    a, b = sides.get("lora_A", ()), sides.get("lora_B", ())
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or a[0] < 1:
        raise ModelError(
            f"the adapter in '{directory}' has no two matrices of one rank for {module} ({a} and {b}); get it again."
        )
    return a[0]


def _scaling(directory: Path, config: Any, module: str, rank: int) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732), of one module."""
    from peft.utils.other import get_pattern_key

    stated = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), module), config.r)
    if stated != rank:
        raise ModelError(
            f"the {CONFIG_FILE} in '{directory}' says rank {stated} for {module}, whose matrices have rank {rank}: it "
            "belongs to another adapter."
        )
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), module), config.lora_alpha)
    return float(alpha / math.sqrt(rank) if config.use_rslora else alpha / rank)


def _alpha(config: Any, scaling: Mapping[str, float], rank: int) -> float:
    """Return the alpha of one adapter for all modules: as it was written wherever that is the same."""
    if not config.use_rslora and set(scaling.values()) == {config.lora_alpha / rank}:
        return config.lora_alpha  # type: ignore[no-any-return]
    return max(scaling.values()) * rank
