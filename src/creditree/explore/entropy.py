"""Entropy branching: fork where the model was least sure (TreeRL, arXiv 2506.11902, EPTree)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from creditree.explore.branching import Branching, Node, Point
from creditree.piece import number
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import FloatArray, RolloutTree

Uncertainty = Literal["surprisal", "entropy"]


@dataclass(frozen=True)
class Entropy(Branching):
    """The N most uncertain tokens of all branches of a tree; the earliest of equals.

    `uncertainty`: ``surprisal``, -log p of the sampled token (TreeRL's code), or the ``entropy`` of the distribution
    that it was sampled from before temperature and top-p (the printed formula, and AttnRL's version of TreeRL).
    `masked`: nothing is forked after a token that announces the answer (TreeRL's code; AttnRL's has no mask).

    `first_token`: the first token of a chain may be forked (both codes): the continuations are whole completions that
    belong to its tree. Never forked: the first token of a side branch (that draws another branch at the same point),
    and the last token of a completion.
    """

    uncertainty: Uncertainty = number("surprisal", "what is uncertain")
    masked: bool = number(True, "nothing is forked after what announces the answer")
    first_token: bool = number(True, "the first token of a completion may be forked")
    name: ClassVar[str] = "entropy"
    paper: ClassVar[str] = "arXiv 2506.11902"

    @property
    def signals(self) -> Signals:
        """Entropies, where they are asked for: log-probabilities are always known."""
        return Signals(entropies=True) if self.uncertainty == "entropy" else NO_SIGNALS

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return the most uncertain points. Raises ValueError where entropies were not observed."""
        candidates = []
        for node in nodes:
            scores = self._scores(tree, node.branch)
            stop = min(node.end - 1, self._concluded(node))
            candidates += [
                (-float(scores[at - node.fork]), at, node.branch)
                for at in range(node.fork, stop)
                if node.is_open(at, first_token=self.first_token)
            ]
        return [(branch, at) for _, at, branch in sorted(candidates)[: self.points]]

    def _scores(self, tree: RolloutTree, index: int) -> FloatArray:
        branch = tree.branches[index]
        if self.uncertainty == "surprisal":
            return -branch.logprobs
        if branch.entropies is None:
            raise ValueError(f"branch {index} has no entropies to branch by: the engine gave none")
        return branch.entropies

    def _concluded(self, node: Node) -> int:
        """Return the offset from which on everything is masked."""
        if not self.masked:
            return node.end
        told = np.flatnonzero(np.isin(node.completion, list(self.separators.conclusions)))
        return int(told[0]) + 1 if len(told) else node.end
