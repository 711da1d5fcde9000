"""How the tree grows: the explorers, and the pure functions that they decide by."""

from creditree.explore.branches import BranchRule
from creditree.explore.expansion import plan_expansion
from creditree.steps import split_steps

__all__ = ["BranchRule", "plan_expansion", "split_steps"]
