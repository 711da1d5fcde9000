"""How the tree grows: the explorers, and the pure functions that they decide by."""

from creditree.explore.branches import pick_branches
from creditree.explore.expansion import plan_expansion
from creditree.steps import split_steps

__all__ = ["pick_branches", "plan_expansion", "split_steps"]
