from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import RunError
from creditree.runs.rollouts import SCHEMA, ForestField, rollout_table
from creditree.tree import Forest
from tests.forests import EOS, branch, flat, root

TREE = flat([(2, 3, EOS), (2, 4, EOS), (2, 2)], [1.0, 0.0, None])
FORESTS: list[Forest] = [(TREE, flat([(5, EOS)], [1.0], kept=(2, 3)))]
ADVANTAGES: list[ForestField] = [tuple(PrefixGain().assign(tree) for tree in forest) for forest in FORESTS]
WEIGHTS: list[ForestField] = [((np.ones(3), np.zeros(3), None), (None,))]
TEXTS = [[["ab", "ac", ""], ["é\n"]]]


def test_every_completion_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "step-000010.parquet"
    write_rollouts(path, 10, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
    rows = read_rollouts(path)
    assert [(row["step"], row["problem_id"], row["tree"], row["branch"]) for row in rows] == [
        (10, "p", 0, 0),
        (10, "p", 0, 1),
        (10, "p", 0, 2),
        (10, "p", 1, 0),
    ]
    assert [row["text"] for row in rows] == ["ab", "ac", "", "é\n"]
    assert [row["reward"] for row in rows] == [1.0, 0.0, None, 1.0]
    assert [row["status"] for row in rows] == ["ok", "ok", "crash", "ok"]
    assert [row["finish_reason"] for row in rows] == ["stop", "stop", "length", "stop"]
    assert [row["weights"] for row in rows] == [[1, 1, 1], [0, 0, 0], None, None]
    # Two completions with a reward: both start with 2 (V = 1/2, no gain), then 3 has V = 1 and 4 has V = 0.
    assert [row["advantages"] for row in rows] == [[0, 0.5, 0], [0, -0.5, 0], None, [0, 0]]
    assert (rows[0]["question"], rows[0]["answers"], rows[0]["prompt_ids"]) == ("1+1=", ["2"], [7, 8, 9])
    assert (rows[3]["kept_ids"], rows[3]["token_ids"], rows[3]["entropies"]) == ([2, 3], [5, EOS], None)
    assert rows[0]["logprobs"] == TREE.branches[0].logprobs.tolist()
    assert rows[0]["sampler_logprobs"] == TREE.branches[0].sampler_logprobs.tolist()


def test_forks_and_unjudged_branches_are_told(tmp_path: Path) -> None:
    unjudged = replace(branch((3, EOS), parent=0, fork=1), verdict=None, entropies=np.array([0.5, 0.25]), influence=np.array([2.0, 1.0]))
    tree = root().grown(branch((2, 4, EOS), 1.0), unjudged)
    path = tmp_path / "step.parquet"
    write_rollouts(path, 1, [(tree,)], [((None, None),)], [((None, None),)], [[["x", "y"]]])
    first, second = read_rollouts(path)
    assert (first["parent"], first["fork"], first["entropies"]) == (None, 0, None)
    assert (second["parent"], second["fork"], second["entropies"]) == (0, 1, [0.5, 0.25])
    assert (first["influence"], second["influence"]) == (None, [2.0, 1.0])
    assert (second["reward"], second["status"], second["detail"]) == (None, None, None)


def test_equal_content_gives_equal_bytes_and_other_content_other_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    write_rollouts(paths[0], 1, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
    write_rollouts(paths[1], 1, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
    write_rollouts(paths[2], 1, FORESTS, ADVANTAGES, WEIGHTS, [[["ab", "ac", ""], ["e\n"]]])
    a, b, c = (path.read_bytes() for path in paths)
    assert a == b
    assert a != c


def test_a_step_without_completions_has_the_columns(tmp_path: Path) -> None:
    write_rollouts(tmp_path / "a", 1, [], [], [], [])
    assert read_rollouts(tmp_path / "a") == []
    assert "sampler_logprobs" in pq.read_schema(tmp_path / "a").names


def test_a_field_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tree 0 has 3 branches, but 3 advantages, 3 weights and 2 texts"):
        write_rollouts(tmp_path / "a", 1, FORESTS, ADVANTAGES, WEIGHTS, [[["ab", "ac"], ["d"]]])
    with pytest.raises(ValueError, match="zip"):
        write_rollouts(tmp_path / "a", 1, FORESTS, ADVANTAGES, WEIGHTS, [])
    assert not (tmp_path / "a").exists()


def test_unreadable_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"PAR1")
    for name in ("missing", "cut"):
        with pytest.raises(RunError, match=f"^Cannot read rollouts from .*{name}"):
            read_rollouts(tmp_path / name)
