"""Whatever a function of somebody's own piece gives that is no answer, the run says which function gave what."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.explore.group import Group
from creditree.methods import Method
from creditree.objective.base import Objective
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import Piece
from creditree.rng import Key
from creditree.schedule.fixed import Fixed
from creditree.select.base import ByCompletion, Selection
from creditree.select.everything import Everything
from creditree.select.masked import Masked
from creditree.steps import Separators
from creditree.train.loop import Loop
from creditree.train.soundness import cures, skip_words
from creditree.train.step import StepResult
from creditree.tree import Forest, RolloutTree, token_array
from tests.training import SETTINGS, parts_of

ROOT = Fork(0, None, 0, 4)
OURS: dict[str, Any] = {
    "explore": Group(4),
    "credit": GroupRelative(),
    "select": Everything(),
    "objective": PolicyGradient(kl=0.1),
    "schedule": Fixed(),
}


def stepped(*own: Piece) -> StepResult:
    """Return a step of one problem with pieces in the place of ours."""
    method = Method("m", "", **(OURS | {piece.axis: piece for piece in own}))
    return Loop(parts_of(method=method), replace(SETTINGS, steps=2, problems_per_step=1)).step()


def with_function(base: type[Piece], name: str, function: Callable[..., object], **values: object) -> Piece:
    """Return a piece that is `base` but for one function, as somebody may have written it."""
    kind: Any = dataclass(frozen=True)(type("Own", (base,), {name: function, "name": "Own"}))
    own: Piece = kind(**values)
    return own


def refused(words: str, *own: Piece) -> None:
    """Assert that a step with these pieces is refused in these words, which name the piece."""
    with pytest.raises(ConfigError, match=rf"^method\.{own[0].axis} 'Own': {words}"):
        stepped(*own)


def explorer(grow: Callable[[RolloutTree, Key], Any]) -> Explorer:
    """Return an explorer of up to 8 completions by this function."""
    own: Any = with_function(Explorer, "grow", lambda self, tree, key: grow(tree, key))
    type(own).max_completions = property(lambda self: 8)
    made: Explorer = own
    return made


def second_round(*forks: Any) -> Explorer:
    """Return an explorer of a group, and then these forks."""

    def grow(tree: RolloutTree, key: Key) -> Exploration:
        forest = yield Growth((tree,), (ROOT,))
        return (yield Growth(forest, forks))

    return explorer(grow)


@pytest.mark.parametrize(
    ("fork", "words"),
    [
        (
            Fork(0, 0, 10_000, 2),
            r"Fork\(tree=0, parent=0, at=10000, count=2\); it has to give an at from 0 to \d+: fewer",
        ),
        (Fork(0, 0, -1, 2), r"Fork\(tree=0, parent=0, at=-1, count=2\); it has to give an at from 0"),
        (Fork(0, None, 1, 2), r"Fork\(tree=0, parent=None, at=1, count=2\); it has to give an at from 0 to 0"),
        (Fork(0, 4, 0, 2), r"Fork\(.*\); it has to give forks of one of the 4 branches of tree 0, or None"),
        (Fork(1, None, 0, 2), r"Fork\(.*\); it has to give forks of one of the 1 trees of the Growth, counted from 0"),
        (Fork(0, None, 0, 0), r"0; it has to give a whole number, 1 or more"),
        ((0, None, 0, 2), r"\(0, None, 0, 2\); it has to give forks in each Growth"),
    ],
)
def test_forks_are_of_what_was_sampled(fork: Any, words: str) -> None:
    refused(rf"grow\(\) gave {words}", second_round(fork))


def test_a_root_leaves_a_token_to_sample() -> None:
    """Completions have 8 tokens at most, and this root keeps 8."""

    def grow(tree: RolloutTree, key: Key) -> Exploration:
        whole = replace(tree, kept_ids=token_array([3] * 8))
        return (yield Growth((whole,), (ROOT,)))

    refused(r"grow\(\) gave Fork\(.*\), which keeps 8 of 8 tokens of a completion; it has to give", explorer(grow))


def _no_return(tree: RolloutTree, key: Key) -> Any:
    yield Growth((tree,), (ROOT,))


def _no_growth(tree: RolloutTree, key: Key) -> Any:
    yield from ()
    return (tree,)


def _no_generator(tree: RolloutTree, key: Key) -> Any:
    return None


def _no_trees(tree: RolloutTree, key: Key) -> Any:
    yield Growth((), (ROOT,))


def _no_forks(tree: RolloutTree, key: Key) -> Any:
    yield Growth((tree,), ROOT)  # type: ignore[arg-type]  # the mistake that is to be told


def _forks_alone(tree: RolloutTree, key: Key) -> Any:
    yield (ROOT,)


@pytest.mark.parametrize(
    ("grow", "words"),
    [
        (_no_return, r"None at its end; it has to give the forest that it was sent, or one that it made of it"),
        (_no_growth, r"nothing to sample before it ended; it has to give a generator that yields each Growth"),
        (_no_generator, r"None; it has to give a generator that yields each Growth that it wants sampled, and returns"),
        (_no_trees, r"\(\) as a Growth's forest; it has to give the forest"),
        (_no_forks, r"Fork\(.*; it has to give a tuple of forks in each Growth"),
        (_forks_alone, r"\(Fork\(.*; it has to give a generator that yields each Growth"),
    ],
)
def test_an_explorer_yields_growths_and_returns_the_forest(grow: Callable[..., Any], words: str) -> None:
    refused(rf"grow\(\) gave {words}", explorer(grow))


@pytest.mark.parametrize(
    ("axis", "function", "given", "words"),
    [
        ("explore", "start", None, "None; it has to give a dictionary of values by name"),
        ("explore", "after", {1: 2}, r"\{1: 2\}; it has to give a dictionary of values by name"),
        ("explore", "at_state", None, "None; it has to give a piece for method.explore, itself or another"),
        ("credit", "of_step", None, "None; it has to give a list for each of the 1 problems"),
        ("credit", "observe", None, "None; it has to give the tree, with its notes"),
        ("select", "of_step", GroupRelative(), "GroupRelative.*; it has to give a piece for method.select, itself"),
        ("select", "at_progress", None, "None; it has to give a piece for method.select"),
        ("select", "normaliser", 0.0, "0.0; it has to give a finite number above 0"),
        ("select", "normaliser", np.nan, "nan; it has to give a finite number above 0"),
        ("select", "normaliser", None, "None; it has to give a finite number above 0"),
        ("select", "penalised", (), "0 of them; it has to give a tuple with a token field for each of the 1 trees"),
        ("schedule", "start", None, "None; it has to give a dictionary of values by name"),
        ("schedule", "num_problems", 2.5, "2.5; it has to give a whole number, 1 or more"),
        ("schedule", "num_problems", 0, "0; it has to give a whole number, 1 or more"),
        ("schedule", "num_problems", None, "None; it has to give a whole number, 1 or more"),
        ("schedule", "max_new_tokens", 0, "0; it has to give a whole number, 1 or more"),
        ("schedule", "takes", True, "True; it has to give a pair: whether to draw it, and the state"),
        ("schedule", "expands", [True], r"1 of them; it has to give a pair: which problems go on, and the state"),
        ("schedule", "expands", ([], {}), "0 numbers; it has to give True or False for each of the 1 problems"),
        ("schedule", "trains", None, "None; it has to give True or False for each of the 1 problems"),
        ("schedule", "trains", [True, True], "2 numbers; it has to give True or False for each of the 1 problems"),
        ("schedule", "missing", -1, "-1; it has to give a whole number, 0 or more"),
        ("schedule", "after", None, "None; it has to give a dictionary of values by name"),
    ],
)
def test_an_answer_that_is_none_names_piece_and_function(axis: str, function: str, given: Any, words: str) -> None:
    own: Any = with_function(type(OURS[axis]), function, lambda self, *_, **__: given)
    if function == "observe":
        type(own).asks = frozenset({"texts"})
    refused(rf"{function}\(\) gave {words}", own)


@pytest.mark.parametrize("function", ["fitted", "of_problems"])
def test_what_a_piece_is_fitted_to_is_a_piece(function: str) -> None:
    own = with_function(GroupRelative, function, lambda self, _: None)
    assert isinstance(own, Credit)
    method = Method("m", "", **(OURS | {"credit": own}))
    with pytest.raises(ConfigError, match=rf"^method\.credit 'Own': {function}\(\) gave None; it has to give a piece"):
        getattr(method, function)(Separators(()) if function == "fitted" else [])


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (lambda n: np.ones(n + 1, dtype=bool), r"\d+ numbers; it has to give True or False for each of the \d+ tokens"),
        (lambda n: np.arange(n) + 1, r"numbers other than 0 and 1; it has to give True or False"),
        (lambda n: True, r"True; it has to give True or False for each of the"),
        (lambda n: None, r"None; it has to give True or False for each of the"),
    ],
)
def test_a_mask_is_one_a_token(mask: Callable[[int], Any], words: str) -> None:
    refused(rf"mask\(\) gave {words}", with_function(Masked, "mask", lambda self, branch: mask(len(branch.token_ids))))


def test_a_mask_of_ones_is_everything() -> None:
    ones = with_function(Masked, "mask", lambda self, branch: [1] * len(branch.token_ids))
    assert stepped(ones).stats == stepped().stats


def test_weights_of_a_completion_are_one_a_token() -> None:
    """One too many used to be cut off without a word."""
    own = with_function(ByCompletion, "of_completion", lambda self, completion: np.ones(completion.length + 1))
    assert isinstance(own, Selection)
    refused(
        r"of_completion\(\) gave \d numbers; it has to give a finite number for each of the \d tokens of a com", own
    )


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [
        ("loss", lambda p, *_: None, r"None; it has to give a tensor with one number for each of the \d+ terms"),
        ("loss", lambda p, a, _: (-a * p).mean(), r"a tensor of shape \(\); it has to give a tensor with one number"),
        ("loss", lambda p, a, _: (-a * p)[1:], r"a tensor of shape \(\d+,\); it has to give a tensor with one number"),
        ("divergence", lambda p, *_: 0.0, r"0\.0; it has to give a tensor with one number"),
        ("clipped", lambda p, *_: p[1:] > 0, r"a tensor of shape \(\d+,\); it has to give a tensor with one number"),
        ("terms", lambda p, *_: None, r"None; it has to give a tensor with one number"),
    ],
)
def test_an_objective_gives_one_number_a_term(function: str, given: Callable[..., Any], words: str) -> None:
    own = with_function(PolicyGradient, function, lambda self, *arguments: given(*arguments), kl=0.1)
    refused(rf"{function}\(\) gave {words}", own)


def test_a_loss_has_a_gradient() -> None:
    own = with_function(PolicyGradient, "loss", lambda self, p, a, _: -a * p.detach())
    assert isinstance(own, Objective)
    refused(r"loss\(\) gave numbers without a gradient; it has to give what torch computes", own)


def test_a_loss_that_is_not_a_number_is_skipped_and_says_whose_it_is() -> None:
    """Of M terms the first of each chunk is NaN; the log-probabilities are finite, so it is no model that diverged."""
    own = with_function(PolicyGradient, "loss", lambda self, p, a, _: torch.where(p == p.min(), torch.nan, -a * p))
    result = stepped(own)
    (skip,) = result.skips
    words = r"the loss is nan, as method.objective 'Own' makes it NaN or infinite for \d+ of \d+ terms whose log-prob"
    assert re.match(words, skip_words(skip)), skip_words(skip)
    assert cures(parts_of(), SETTINGS, skip).startswith("a method.objective whose loss is finite")


def test_trees_as_a_list_are_a_forest() -> None:
    def grow(tree: RolloutTree, key: Key) -> Any:
        forest: Forest = yield Growth((tree,), (ROOT,))
        return list(forest)

    assert stepped(explorer(grow)).stats == stepped().stats
