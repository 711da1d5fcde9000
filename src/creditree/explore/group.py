"""A flat group: n independent completions of the prompt (GRPO, arXiv 2402.03300; arXiv 2504.20834 section 3)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.rng import Key
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class Group(Explorer):
    """Sample `group` completions of the prompt, once."""

    name: ClassVar[str] = "group"
    paper: ClassVar[str] = "arXiv 2402.03300"

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield one fork at the root."""
        return (yield Growth((tree,), (Fork(0, None, 0, self.group),)))
