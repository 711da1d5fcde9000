"""One trie of all trees of a step: parts of it are what each tree's own would be, until its branches are others."""

from dataclasses import replace

from creditree.forest import forest_trie, share
from creditree.trie import TokenTrie
from tests.forests import branch, flat

FOREST = (flat([[2, 3, 1], [2, 4]], [1.0, 0.0]), flat([[4, 5], [1]], [0.0, 0.0], kept=(2, 3)))
OTHER = (flat([[2, 1]], [0.0], prompt=(7, 8)),)


def same(one: TokenTrie, other: TokenTrie) -> bool:
    """Whether two tries are equal, array by array."""
    names = ("token", "parent", "depth", "exit", "node_of", "lengths")
    return all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in names)


def test_parts_of_the_trie_of_a_step_are_the_tries_of_its_trees_and_forests() -> None:
    for forest, shared in zip((FOREST, OTHER), share([FOREST, OTHER]), strict=True):
        for alone, tree in zip(forest, shared, strict=True):
            assert alone.part is None
            assert tree.part is not None
            for leaves in ([*tree.leaves], [*tree.leaves][:1], [*tree.leaves][::-1]):
                assert same(tree.trie(leaves), alone.trie(leaves))
            assert tree.trie([0]) is tree.trie([0])  # cut out once
        places = [(number, leaf) for number, tree in enumerate(forest) for leaf in tree.leaves]
        assert same(forest_trie(shared, places), forest_trie(forest, places))


def test_a_tree_whose_branches_are_others_has_a_trie_of_its_own() -> None:
    ((first, replayed),) = share([FOREST])
    fewer = replace(first, branches=first.branches[1:])
    assert fewer.part is None
    assert same(fewer.trie([0]), flat([[2, 4]], [0.0]).trie([0]))
    assert replace(first, kept_ids=replayed.kept_ids).part is None
    assert first.rooted(0, 1).part is None
    grown = first.grown(branch([5]))
    assert same(grown.trie([2]), flat([[5]], [0.0]).trie([0]))
    assert same(forest_trie((grown, replayed), [(0, 2)]), grown.trie([2]))
    judged = first.judged({}).noted("classes", [None, None])
    assert judged.part is not None
