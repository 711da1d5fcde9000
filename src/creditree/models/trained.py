"""What learns in a model: an adapter, or all weights. Whoever trains, measures or saves it does not ask which."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from creditree.disk import is_file
from creditree.errors import ConfigError, ModelError
from creditree.models.adapter import Adapter, saved_spec
from creditree.models.all_weights import AllWeights
from creditree.models.load import Model
from creditree.rng import Key


class Trained(Protocol):
    """The trained part of a model, and the base model that it can be switched back to."""

    folder: ClassVar[str]
    """What a run calls the folder that `save` writes, and checkpoints its tensors."""
    model: Model
    is_off: bool
    """Whether it is switched back now: within a block of `off`."""

    @property
    def first_layer(self) -> int:
        """The lowest layer that learns. Below it nothing ever changes, not even the embedding where it is above 0."""
        ...

    @property
    def matrices(self) -> list[torch.nn.Parameter]:
        """The trained parameters, in a fixed order."""
        ...

    @property
    def description(self) -> str:
        """How many numbers learn, and where."""
        ...

    def off(self) -> AbstractContextManager[None]:
        """Run the block with the base model."""
        ...

    def learning(self, key: Key) -> AbstractContextManager[None]:
        """Run the block as training runs: with dropout drawn from `key`, where there is any."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the trained tensors, by name."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Set the trained tensors. Raises ModelError where names or shapes are others."""
        ...

    def load(self, directory: Path) -> None:
        """Set the trained tensors from a directory that `save` wrote. Raises ModelError for what cannot be used."""
        ...

    def save(self, directory: Path) -> None:
        """Write what was trained into a directory that `load_trained` and others read."""
        ...


@contextmanager
def at_state(trained: Trained, state: dict[str, Tensor]) -> Iterator[None]:
    """Run the block with the trained tensors as they were in a `state`; afterwards they are what they are now."""
    now = trained.state()
    trained.load_state(state)
    try:
        yield
    finally:
        trained.load_state(now)


def load_trained(model: Model, directory: Path) -> Trained:
    """Put what `Trained.save` wrote over its base model. Raises ModelError for what cannot be used."""
    if is_file(directory / "adapter_config.json"):
        spec = saved_spec(directory)[1]
        try:
            adapter = Adapter(model, spec, Key.of(0))
        except ConfigError as error:
            raise ModelError(f"the adapter in '{directory}' does not fit model '{model.name}': {error}") from error
        adapter.load(directory)
        return adapter
    weights = AllWeights(model)
    weights.load(directory)
    return weights
