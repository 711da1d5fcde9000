"""What a credit or a selection of somebody's own gives is finite and of the right size, or the run says what is not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from creditree.credit.base import Credit, OutcomeCredit
from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.explore.group import Group
from creditree.fields import TokenField
from creditree.methods import Method
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.base import ForestField, Selection
from creditree.select.everything import Everything
from creditree.train.loop import Loop
from creditree.train.step import StepResult
from creditree.tree import FloatArray, Forest, RolloutTree
from tests.training import SETTINGS, parts_of

Change = Callable[[Any], Any]
"""What somebody's own piece makes of what a right one would have given."""


@dataclass(frozen=True)
class Changed(OutcomeCredit):
    """The reward less 0.5, changed."""

    change: Change = lambda advantages: advantages

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G]."""
        advantages: FloatArray = self.change(rewards - 0.5)
        return advantages


@dataclass(frozen=True)
class ChangedField(Credit):
    """The same on all tokens, the field changed."""

    change: Change = lambda field: field

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`."""
        field: TokenField = self.change(Changed().assign(tree))
        return field


@dataclass(frozen=True)
class ChangedWeights(Selection):
    """All tokens, the weights of a problem changed."""

    change: Change = lambda weights: weights

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        weights: ForestField = self.change(Everything().weigh(forest, advantages, key))
        return weights


def stepped(credit: Credit, select: Selection) -> StepResult:
    """Return a step of four completions of one problem."""
    method = Method("m", "", Group(4), credit, select, PolicyGradient())
    return Loop(parts_of(method=method), replace(SETTINGS, steps=1, problems_per_step=1)).step()


def first(value: float) -> Change:
    """Return what puts `value` in the place of the first number."""
    return lambda numbers: np.concatenate([[value], numbers[1:]])


def of_branch(change: Change) -> Change:
    """Return what changes the array of the first branch."""
    return lambda field: (change(field[0]), *field[1:])


def of_tree(change: Change) -> Change:
    """Return what changes the field of the first tree."""
    return of_branch(change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            first(np.nan),
            r"NaN or infinity as 1 of 4 numbers; it has to give a finite number for each of the 4 rewarded",
        ),
        (first(-np.inf), r"NaN or infinity as 1 of 4 numbers; .* completions of problem 'training-0'\.$"),
        (lambda a: a * np.nan, r"NaN or infinity as 4 of 4 numbers"),
        (lambda a: a[:-1], r"3 numbers; it has to give a finite number for each of the 4"),
        (lambda a: a[:, None], r"an array of shape \(4, 1\); it has"),
        (lambda a: None, r"None; it has"),
        (lambda a: a.mean(), r"np\.float64\(.*\); it has"),
        (lambda a: ["high"] * 4, r"\['high', 'high', 'high', 'high'\]; it has"),
        (lambda a: [[1.0], [1.0, 2.0]], r"\[\[1\.0\], \[1\.0, 2\.0\]\]; it has"),
    ],
)
def test_a_credit_of_rewards_gives_a_finite_number_for_each(change: Change, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^method\.credit 'Changed': of_rewards\(\) gave {words}"):
        stepped(Changed(change), Everything())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_branch(lambda a: a * np.nan), r"NaN or infinity as \d+ of \d+ numbers; .* tokens of a branch of problem"),
        (of_branch(lambda a: a[:-1]), r"\d numbers; it has to give a finite number for each of the \d tokens"),
        (lambda field: field[:-1], r"3 of them; it has to give a tuple with an array, or None, for each of the 4 br"),
        (lambda field: None, r"None; it has to give a tuple with an array, or None"),
    ],
)
def test_a_credit_of_trees_gives_a_token_field(change: Change, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^method\.credit 'ChangedField': assign\(\) gave {words}"):
        stepped(ChangedField(change), Everything())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_tree(of_branch(first(np.nan))), r"NaN or infinity as 1 of \d+ numbers; .* tokens of a branch of problem"),
        (of_tree(of_branch(lambda w: np.append(w, 1.0))), r"\d+ numbers; it has to give a finite number for each of "),
        (of_tree(lambda field: None), r"None; it has to give a tuple with an array, or None, for each of the 4 branch"),
        (lambda weights: weights[:0], r"0 of them; it has to give a tuple with a token field for each of the 1 trees"),
        (lambda weights: None, r"None; it has to give a tuple with a token field for each of the 1 trees of problem"),
    ],
)
def test_a_selection_gives_token_fields(change: Change, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^method\.select 'ChangedWeights': weigh\(\) gave {words}"):
        stepped(GroupRelative(), ChangedWeights(change))


def test_numbers_in_other_types_teach_the_same() -> None:
    """Lists, whole numbers and True are the numbers that they say: 1 and -1 in place of 0.5 and -0.5 are twice that."""
    plain = stepped(Changed(), Everything())
    listed = stepped(Changed(lambda a: [round(2 * x) for x in a.tolist()]), ChangedWeights(of_tree(of_branch(list))))
    assert plain.stats.updated
    assert listed.stats.loss == pytest.approx(2 * plain.stats.loss)
    assert all(own.dtype == np.float64 for own in listed.advantages[0][0] if own is not None)
