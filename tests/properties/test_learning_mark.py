"""What does not learn (`Branch.learns`): no advantage, no weight, no loss term, whatever the pieces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.batch import pack
from creditree.credit.base import Credit
from creditree.credit.reinforce_pp import ReinforcePP
from creditree.fields import TokenField, num_learning, num_trained, only_learning
from creditree.pieces import PIECES
from creditree.schedule.mixed import is_mixed
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.everything import Everything
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, assigned, branch, flat, forests, grown_trees, root

CREDITS = [kind() for kind in PIECES["credit"].values()]
SELECTIONS = [kind() for kind in PIECES["select"].values() if kind.name != "adapter_residual"]
FORESTS = st.one_of(forests(failures=True), grown_trees(failures=True).map(lambda tree: (tree,)))


@st.composite
def marked(draw: st.DrawFn) -> Forest:
    """Draw a forest in which some branches do not learn; their entropies are made up, for selections that look."""
    forest = draw(FORESTS)
    return tuple(
        replace(
            tree,
            branches=tuple(
                replace(one, learns=draw(st.booleans()), entropies=np.abs(one.logprobs)) for one in tree.branches
            ),
        )
        for tree in forest
    )


def _fields(forest: Forest, credit: Credit, select: Selection) -> tuple[tuple[TokenField, ...], tuple[TokenField, ...]]:
    """Return advantages and weights as a training step makes them."""
    found = tuple(only_learning(tree, field) for tree, field in zip(forest, credit.of_step([forest])[0], strict=True))
    ready = select.of_step([forest], [found])
    return found, ready.weigh(forest, found, KEY)


@given(marked(), st.sampled_from(CREDITS), st.sampled_from(SELECTIONS))
def test_no_piece_lets_it_learn(forest: Forest, credit: object, select: object) -> None:
    assert isinstance(credit, Credit)
    assert isinstance(select, Selection)
    if select.unique_pairs and not credit.per_pair:
        return
    for tree, field in zip(forest, credit.of_step([forest])[0], strict=True):
        for index, values in enumerate(field):
            assert values is None or tree.branches[index].learns  # the credit itself, before anything is taken away
    advantages, weights = _fields(forest, credit, select)
    learns = [one.learns for tree in forest for one in tree.branches]
    held = [w is not None and bool(np.any(w != 0)) for tree in weights for w in tree]
    assert all(own or not weighed for own, weighed in zip(learns, held, strict=True))
    batch = pack([forest], [advantages], [weights], keep_zero_advantage=True)
    assert batch.num_terms == sum(
        int(np.count_nonzero(w))
        for a, w in zip((v for t in advantages for v in t), (v for t in weights for v in t), strict=True)
        if a is not None and w is not None
    )
    assert num_trained(forest, advantages) <= sum(len(tree.learning) for tree in forest)


@given(FORESTS, st.sampled_from(SELECTIONS))
def test_where_all_learn_nothing_changes(forest: Forest, select: object) -> None:
    """A completion learns whole, so means are over what they were."""
    assert isinstance(select, Selection)
    for tree in forest:
        assert tree.learning == tree.rewarded
        field = ReinforcePP().assign(tree)
        assert only_learning(tree, field) == field
        assert all(num_learning(tree, leaf, field) == tree.branches[leaf].end for leaf in tree.rewarded)


def test_a_mean_over_tokens_is_one_over_those_that_learn() -> None:
    """A fork after 2 of 3 tokens that do not learn is weighed as if these were kept tokens of a root of its own."""
    held = replace(branch([5, 6, 1], 0.0), learns=False)
    inside = root().grown(held, branch([2, 1], 1.0, 0, 2), branch([3, 4, 1], 0.0, 0, 2))
    apart = flat([[2, 1], [3, 4, 1]], [1.0, 0.0], kept=[5, 6])
    for select in (Everything(), Everything(loss_mean="tokens")):
        given = (tuple(None if i == 0 else np.ones(len(b.token_ids)) for i, b in enumerate(inside.branches)),)
        alone = (tuple(np.ones(len(b.token_ids)) for b in apart.branches),)
        ours, theirs = select.weigh((inside,), given, KEY)[0], select.weigh((apart,), alone, KEY)[0]
        assert ours[0] is None
        for one, other in zip(ours[1:], theirs, strict=True):
            assert assigned(one).tolist() == assigned(other).tolist()
        assert select.normaliser([(inside,)], [given]) == select.normaliser([(apart,)], [alone])
        # and the batches are the same: the same skeleton, the same terms
        mine, alone_packed = (
            pack([(tree,)], [fields], [select.weigh((tree,), fields, KEY)], keep_zero_advantage=True)
            for tree, fields in ((inside, given), (apart, alone))
        )
        for name in ("token_ids", "exit", "row", "token", "weight"):
            assert getattr(mine, name).tolist() == getattr(alone_packed, name).tolist(), name


def test_a_pair_is_weighed_on_a_completion_that_learns() -> None:
    held = replace(branch([2, 1], 0.0), learns=False)
    tree = RolloutTree(root().problem, root().prompt_ids).grown(held, branch([2, 1], 0.0), branch([3, 1], 1.0))
    given = (tuple(np.ones(len(b.token_ids)) if b.learns else None for b in tree.branches),)
    weights = BranchingPairs().weigh((tree,), given, KEY)[0]
    assert weights[0] is None
    assert assigned(weights[1]).tolist() == [0.5, 0.0]  # 2 or 3 after the prompt: two pairs
    assert assigned(weights[2]).tolist() == [0.5, 0.0]


def test_a_step_is_normalised_by_completions_that_learn() -> None:
    held = replace(branch([2, 1], 100.0), learns=False)
    (mixed,) = ReinforcePP().of_step([(root().grown(held, branch([3, 1], 1.0), branch([4, 1], 0.0)),)])
    (alone,) = ReinforcePP().of_step([(flat([[3, 1], [4, 1]], [1.0, 0.0]),)])
    assert [assigned(v).tolist() for v in mixed[0][1:]] == [assigned(v).tolist() for v in alone[0]]


@pytest.mark.parametrize(("learns", "mixed"), [(True, True), (False, False)])
def test_a_problem_is_mixed_by_what_learns(learns: bool, mixed: bool) -> None:
    tree = root().grown(replace(branch([2, 1], 1.0), learns=learns), branch([3, 1], 0.0))
    assert is_mixed((tree,)) is mixed
