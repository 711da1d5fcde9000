"""Trees come back from rollouts as they were."""

from pathlib import Path

import numpy as np
import pytest

from creditree.errors import RunError
from creditree.runs.directory import RunDirectory
from creditree.runs.forests import stored_forests
from creditree.runs.rollouts import LATER, rollout_table
from tests.forests import EOS, branch, flat, root
from tests.stored_run import forked_tree, pieces, stored_run

BESIDE = root().grown(branch((2, EOS), 1.0), branch((3, EOS), 0.0, parent=0, fork=0))


def test_trees_and_fields_come_back_as_they_were(tmp_path: Path) -> None:
    run = RunDirectory.read(stored_run(tmp_path))
    forked, replayed = stored_forests(run.rollouts(10), "here")
    assert (len(forked), len(replayed)) == (1, 2)
    (stored,) = forked
    tree = forked_tree()
    assert stored.tree.problem == tree.problem
    for ours, theirs in zip(stored.tree.branches, tree.branches, strict=True):
        assert (ours.parent, ours.fork, ours.verdict, ours.finish_reason, ours.beside) == (
            theirs.parent, theirs.fork, theirs.verdict, theirs.finish_reason, theirs.beside,
        )  # fmt: skip
        np.testing.assert_array_equal(ours.token_ids, theirs.token_ids)
        np.testing.assert_array_equal(ours.logprobs, theirs.logprobs)
    np.testing.assert_array_equal(stored.tree.branches[0].entropies, tree.branches[0].entropies)
    assert stored.tree.branches[2].entropies is None
    assert stored.pieces[2] == (" five\n", "<end>")
    assert replayed[1].tree.kept_ids.tolist() == [2]
    weight, advantage = stored.weights[0], stored.advantages[0]
    assert weight is not None
    assert advantage is not None
    assert (weight.tolist(), advantage[0]) == ([0.25, 0, 0, 0], -0.5)


def test_a_fork_at_the_first_token_is_told_from_another_chain() -> None:
    table = rollout_table(1, [(BESIDE,)], [((None, None),)], [((None, None),)], [[["a", "b"]]], pieces)
    ((stored,),) = stored_forests(table.to_pylist(), "here")
    assert [b.beside for b in stored.tree.branches] == [None, 0]
    assert [b.is_chain for b in stored.tree.branches] == [True, False]


def test_attention_from_step_to_step_comes_back(tmp_path: Path) -> None:
    ((stored,), _) = stored_forests(RunDirectory.read(stored_run(tmp_path)).rollouts(10), "here")
    first, *others = stored.tree.branches
    assert first.attention is not None
    assert (first.attention.ends.tolist(), first.attention.delta) == ([2, 4], 1)
    assert first.attention.weights.tolist() == [[0, 0, 0], [0.25, 0, 0], [0.125, 0.5, 0]]
    assert all(branch.attention is None for branch in others)


def test_a_run_from_before_single_texts_were_kept_is_read(tmp_path: Path) -> None:
    rows = RunDirectory.read(stored_run(tmp_path)).rollouts(10)
    older = [{name: value for name, value in row.items() if name not in LATER} for row in rows]
    (stored,) = stored_forests(older, "here")[0]
    assert stored.pieces == (None,) * 4
    assert stored.tree.branches[0].attention is None


@pytest.mark.parametrize(
    "change",
    [{"parent": 7}, {"tree": 1, "branch": 3}, {"token_ids": None}, {"step_ends": [2], "step_attention": [0.1] * 2}],
)
def test_rows_that_make_no_tree_are_one_sentence(change: dict[str, object]) -> None:
    flat_tree = flat([(2, EOS)], [1.0])
    (row,) = rollout_table(1, [(flat_tree,)], [((None,),)], [((None,),)], [[["a"]]]).to_pylist()
    with pytest.raises(RunError, match=r"^step 1 of a holds no rollout trees \(.*\); choose another step\.$"):
        stored_forests([row | change], "step 1 of a")
