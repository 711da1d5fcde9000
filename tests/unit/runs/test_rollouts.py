from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import RunError
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock
from creditree.runs.rollouts import SCHEMA, ForestField, ForestTexts, rollout_table
from creditree.runs.tables import read_table, write_table
from creditree.tree import Forest
from tests.forests import EOS, branch, flat, root

TREE = flat([(2, 3, EOS), (2, 4, EOS), (2, 2)], [1.0, 0.0, None])
FORESTS: list[Forest] = [(TREE, flat([(5, EOS)], [1.0], kept=(2, 3)))]
ADVANTAGES: list[ForestField] = [tuple(PrefixGain().assign(tree) for tree in forest) for forest in FORESTS]
WEIGHTS: list[ForestField] = [((np.ones(3), np.zeros(3), None), (None,))]
TEXTS = [[["ab", "ac", ""], ["é\n"]]]


FILE = "rollouts.parquet"


def kept(
    folder: Path,
    step: int,
    forests: Sequence[Forest],
    advantages: Sequence[ForestField],
    weights: Sequence[ForestField],
    texts: Sequence[ForestTexts],
) -> list[dict[str, Any]]:
    """Write rollouts and return the rows that are read back."""
    folder.mkdir(exist_ok=True)
    held = HeldDirectory(folder, RunLock(folder))
    write_table(held, FILE, rollout_table(step, forests, advantages, weights, texts))
    return read_table(held, FILE, SCHEMA.names, "choose another step")


def test_every_completion_is_a_row(tmp_path: Path) -> None:
    rows = kept(tmp_path, 10, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
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
    unjudged = replace(
        branch((3, EOS), parent=0, fork=1),
        verdict=None,
        entropies=np.array([0.5, 0.25]),
        influence=np.array([2.0, 1.0]),
    )
    tree = root().grown(branch((2, 4, EOS), 1.0), unjudged)
    first, second = kept(tmp_path, 1, [(tree,)], [((None, None),)], [((None, None),)], [[["x", "y"]]])
    assert (first["parent"], first["fork"], first["entropies"]) == (None, 0, None)
    assert (second["parent"], second["fork"], second["entropies"]) == (0, 1, [0.5, 0.25])
    assert (first["influence"], second["influence"]) == (None, [2.0, 1.0])
    assert (second["reward"], second["status"], second["detail"]) == (None, None, None)


def test_equal_content_gives_equal_bytes_and_other_content_other_bytes(tmp_path: Path) -> None:
    kept(tmp_path / "a", 1, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
    kept(tmp_path / "b", 1, FORESTS, ADVANTAGES, WEIGHTS, TEXTS)
    kept(tmp_path / "c", 1, FORESTS, ADVANTAGES, WEIGHTS, [[["ab", "ac", ""], ["e\n"]]])
    a, b, c = ((tmp_path / name / FILE).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_step_without_completions_has_the_columns(tmp_path: Path) -> None:
    assert kept(tmp_path, 1, [], [], [], []) == []
    assert "sampler_logprobs" in pq.read_schema(tmp_path / FILE).names


def test_a_field_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="tree 0 has 3 branches, but 3 advantages, 3 weights and 2 texts"):
        rollout_table(1, FORESTS, ADVANTAGES, WEIGHTS, [[["ab", "ac"], ["d"]]])
    with pytest.raises(ValueError, match="zip"):
        rollout_table(1, FORESTS, ADVANTAGES, WEIGHTS, [])


def test_unreadable_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"PAR1")
    pq.write_table(pa.table({"step": [1]}), tmp_path / "other")
    for name, words in (
        ("missing", "^Cannot read .*missing: No such"),
        ("cut", "^Cannot read .*cut"),
        ("other", "no column"),
    ):
        with pytest.raises(RunError, match=words):
            read_table(HeldDirectory(tmp_path, None), name, SCHEMA.names, "choose another step")
