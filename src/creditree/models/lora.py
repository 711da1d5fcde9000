"""The shape of a LoRA adapter (arXiv 2106.09685): rank, scaling, and which matrices get one."""

from dataclasses import dataclass

from creditree.errors import ConfigError


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

    @property
    def scaled_by(self) -> float:
        """Alpha, as it is written or 2 * rank."""
        return 2 * self.rank if self.alpha is None else self.alpha

    @property
    def scaling(self) -> float:
        """What B A is multiplied by."""
        return self.scaled_by / self.rank

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
