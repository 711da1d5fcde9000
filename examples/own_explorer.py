"""An explorer of your own: a group, and a second one where the first was not all right or all wrong.

    creditree train CONFIG.yaml --run runs/twice --set method.name=grpo \
        --set method.explore=examples/own_explorer.py:SecondLook --set method.more=8

Explorers sample nothing themselves: they yield which forks they want, and are sent the trees grown by them, judged.
"""

from dataclasses import dataclass

import creditree as ct


@dataclass(frozen=True)
class SecondLook(ct.Explorer):
    """A group of completions, and some more of a problem whose first ones differ in reward."""

    more: int = ct.number(8, "completions more, where the first differ", least=1)

    @property
    def max_completions(self) -> int:
        """What one problem may cost: the plan goes by it, and a run that takes more is stopped."""
        return self.group + self.more

    def grow(self, tree: ct.RolloutTree, key: ct.Key) -> ct.Exploration:
        """Yield the group, then the others; return the whole forest."""
        forest = yield ct.Growth((tree,), (ct.Fork(0, None, 0, self.group),))
        if len(set(forest[0].rewards(forest[0].rewarded).tolist())) < 2:
            return forest
        return (yield ct.Growth(forest, (ct.Fork(0, None, 0, self.more),)))
