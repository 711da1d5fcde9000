"""Replay from steps of high influence: T-SPMO's second group (arXiv 2504.20834) where AttnRL branches (2509.26628)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from creditree.explore.attention import Attention
from creditree.explore.branches import influential_steps
from creditree.explore.replay import Replay
from creditree.influence import observed_influence, step_scores
from creditree.piece import again, fitted
from creditree.rng import Key
from creditree.signals import InfluenceSource, InfluenceSpec, Signals
from creditree.steps import Separators, split_steps, think_stop
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class AttentionReplay(Replay):
    """`Replay`, but a completion is cut at the start of a step of high forward context influence.

    The step is drawn evenly from those with y_k >= the `quantile` of y, the first step and what follows the thinking
    excluded; a completion without such a step is cut anywhere, as `Replay` does. `delta`, `influence_layers`,
    `influence_heads` and `influence_source` are those of `creditree.signals.InfluenceSpec`.
    """

    quantile: float = again(Attention, "quantile", 0.8)
    delta: int = again(Attention, "delta", 4)
    influence_layers: tuple[int, ...] | None = again(Attention, "influence_layers", None)
    influence_heads: tuple[int, ...] | None = again(Attention, "influence_heads", None)
    influence_source: InfluenceSource = again(Attention, "influence_source", "pass")
    separators: Separators = fitted(Separators())
    name: ClassVar[str] = "attention_replay"
    paper: ClassVar[str] = "ours, of arXiv 2504.20834 and 2509.26628"
    looks_at_steps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.signals.check()

    @property
    def signals(self) -> Signals:
        """The influence of each step."""
        layers, heads, source = self.influence_layers, self.influence_heads, self.influence_source
        return Signals(influence=InfluenceSpec(self.separators, self.delta, layers, heads, source))

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer with the separators of the tokenizer at hand."""
        return replace(self, separators=separators)

    def cut(self, tree: RolloutTree, leaf: int, key: Key) -> int:
        """Return how many tokens of a completion to keep. Raises ValueError where no influence was observed."""
        completion = tree.completion(leaf)
        steps = split_steps(completion, self.separators)
        scores = step_scores(observed_influence(tree, leaf), steps)
        think_step = think_stop(completion, steps, self.separators.think_end)
        offered = influential_steps(scores, self.quantile, think_step)
        if not len(offered):
            return super().cut(tree, leaf, key)
        return steps[int(offered[key.integer(0, len(offered) - 1)])][0]
