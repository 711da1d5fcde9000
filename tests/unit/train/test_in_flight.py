"""Problems in flight come back from a checkpoint as they were."""

from dataclasses import replace

import numpy as np

from creditree.explore.group import Group
from creditree.rng import Key
from creditree.train.exploring import Exploring
from creditree.train.in_flight import restored, stored
from creditree.tree import RolloutTree
from tests.forests import EOS, branch
from tests.stored_run import forked_tree


def flying(tree: RolloutTree, index: int) -> Exploring:
    start = Exploring.start(Group(group=2), replace(tree, branches=()), index, Key.of(index), 8)
    start.forest = (tree,)
    return start


def test_branches_keep_their_numbers_and_their_maps() -> None:
    """Two problems: the second's only map comes after the first's in the arrays."""
    trees = [forked_tree("p-0"), forked_tree("p-1").grown(branch((5, EOS), 0.0))]
    back = restored(*stored([flying(tree, index) for index, tree in enumerate(trees)]), lambda at: trees[at].problem)
    assert [entry.index for entry in back] == [0, 1]
    for entry, tree in zip(back, trees, strict=True):
        (again,) = entry.forest
        for ours, theirs in zip(again.branches, tree.branches, strict=True):
            np.testing.assert_array_equal(ours.token_ids, theirs.token_ids)
            np.testing.assert_array_equal(ours.logprobs, theirs.logprobs)
            assert (ours.influence is None) == (theirs.influence is None)
            assert (ours.attention is None) == (theirs.attention is None)
            if ours.attention is not None and theirs.attention is not None:
                assert ours.attention.ends.tolist() == theirs.attention.ends.tolist()
                np.testing.assert_array_equal(ours.attention.weights, theirs.attention.weights)


def test_a_checkpoint_from_before_there_were_maps_is_read() -> None:
    arrays, records = stored([flying(forked_tree(), 0)])
    older = {name: array for name, array in arrays.items() if "step" not in name}
    for record in records[0]["trees"][0]["branches"]:
        del record["attention"]
    (entry,) = restored(older, records, lambda at: forked_tree().problem)
    assert entry.forest[0].branches[0].attention is None
