"""The loop alone: no run directory, no watcher."""

from dataclasses import replace

from creditree.credit.group_relative import GroupRelative
from creditree.explore.group import Group
from creditree.methods import Method
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.prefix_growing import PrefixGrowing
from creditree.train.loop import Loop
from tests.forests import assigned
from tests.training import SETTINGS, parts_of


def test_a_selection_is_told_which_step_it_is() -> None:
    """Of `PrefixGrowing` from nearly nothing to all, the first step trains one token of a completion, the last all."""
    method = Method("m", "", Group(3), GroupRelative(), PrefixGrowing(0.01, 1.0), PolicyGradient())
    loop = Loop(parts_of(method=method), replace(SETTINGS, steps=2, problems_per_step=1))
    for everything in (False, True):
        (fields,) = loop.step().weights
        counts = [(int((assigned(values) > 0).sum()), len(assigned(values))) for values in fields[0]]
        assert all(kept == (total if everything else 1) for kept, total in counts)
        assert max(total for _, total in counts) > 1
