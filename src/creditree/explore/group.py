"""A flat group: n independent completions of the prompt (GRPO, arXiv 2402.03300; arXiv 2504.20834 section 3)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from creditree.errors import ConfigError
from creditree.explore.explorer import Exploration, Fork, Growth
from creditree.rng import Key
from creditree.steps import Separators
from creditree.tree import RolloutTree


def check_group(group: int) -> None:
    """Raise ConfigError for a group that can give no signal."""
    if group < 2:
        raise ConfigError(
            f"method.group is {group}: credit compares completions of one problem, so a group needs at least 2; "
            "set it to 8."
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Sample `group` completions of the prompt, once."""

    group: int = 8
    name: ClassVar[str] = "group"

    def __post_init__(self) -> None:
        check_group(self.group)

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: the group."""
        return self.group

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer: it does not look at steps."""
        return self

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield one fork at the root."""
        return (yield Growth((tree,), (Fork(0, None, 0, self.group),)))
