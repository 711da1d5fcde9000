"""Attention branching: fork at early steps that much of what follows attends to (AttnRL, arXiv 2509.26628)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from creditree.explore.branches import BranchRule, Fallback, GapFrom, QuantileOver
from creditree.explore.branching import Branching, Node, Point
from creditree.influence import observed_influence, step_scores
from creditree.piece import number
from creditree.rng import Key
from creditree.signals import InfluenceSource, InfluenceSpec, Signals
from creditree.steps import split_steps, think_stop
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class Attention(Branching):
    """The earliest steps of high forward context influence, some way apart (`BranchRule` says how).

    In a later round each branch offers points of its own tokens, and the earliest of all are taken. `delta`,
    `influence_layers`, `influence_heads` and `influence_source` are those of `creditree.signals.InfluenceSpec`.
    """

    quantile: float = number(0.8, "steps of this quantile of influence or above", least=0, most=1)
    min_gap: int = number(512, "tokens between points, and before the first", least=0)
    gap_from: GapFrom = number("prompt", "where the first gap starts")
    quantile_over: QuantileOver = number(
        "steps", "quantile over all steps, those of no influence included, or eligible ones"
    )
    fallback: Fallback = number("first_steps", "what to do with too few candidates")
    delta: int = number(4, "a step counts from this many steps after it", least=1)
    influence_layers: tuple[int, ...] | None = number(None, "layers to look at; none: all")
    influence_heads: tuple[int, ...] | None = number(None, "heads to look at; none: all")
    influence_source: InfluenceSource = number(
        "pass", "a forward pass over completions, or the attention of decoding itself"
    )
    name: ClassVar[str] = "attention"
    paper: ClassVar[str] = "arXiv 2509.26628"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.signals.check()

    @property
    def signals(self) -> Signals:
        """The influence of each step."""
        layers, heads, source = self.influence_layers, self.influence_heads, self.influence_source
        return Signals(influence=InfluenceSpec(self.separators, self.delta, layers, heads, source))

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return the earliest points that the branches offer. Raises ValueError where no influence was observed."""
        offered = sorted((at, node.branch) for node in nodes for at in self._offers(tree, node))
        return [(branch, at) for at, branch in offered[: self.points]]

    def _offers(self, tree: RolloutTree, node: Node) -> tuple[int, ...]:
        steps = split_steps(node.completion, self.separators)
        rule = BranchRule(
            self.points, self.quantile, self.min_gap, self.gap_from, self.quantile_over, self.fallback, self.delta
        )
        return rule.pick(
            step_scores(observed_influence(tree, node.branch), steps),
            steps,
            prompt_tokens=len(tree.prompt_ids),
            think_step=think_stop(node.completion, steps, self.separators.think_end),
            after=node.fork,
            forked=node.taken,
        )
