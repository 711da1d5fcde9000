"""Searches over the completions of a run."""

from pathlib import Path

import pyarrow as pa
import pytest

from creditree.errors import ConfigError
from creditree.runs.directory import RunDirectory
from creditree.view.index import CompletionIndex
from creditree.view.query import Query
from tests.stored_run import CONFIG, stored_run, write_trees

Keys = list[tuple[int, int, int, int]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CompletionIndex:
    found = CompletionIndex(RunDirectory.read(stored_run(tmp_path_factory.mktemp("view") / "run")))
    assert found.refresh() == 2
    return found


def keys(index: CompletionIndex, **limits: object) -> Keys:
    match = index.search(Query(**limits))  # type: ignore[arg-type]
    assert match.total == len(match.rows)
    return [(row["step"], row["place"], row["tree"], row["branch"]) for row in match.rows]


def test_a_step_has_a_row_for_each_completion_newest_first(index: CompletionIndex) -> None:
    assert index.num_completions == 14
    every = keys(index)
    assert every[:7] == [
        (20, 0, 0, 0),
        (20, 0, 0, 1),
        (20, 0, 0, 2),
        (20, 0, 0, 3),
        (20, 1, 0, 0),
        (20, 1, 0, 1),
        (20, 1, 1, 0),
    ]
    assert [key[0] for key in every[7:]] == [10] * 7


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"problem": "P-1"}, [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)]),
        ({"problem": "what is"}, [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)]),
        ({"text": "<SCRIPT>"}, [(0, 0, 0)]),
        ({"text": "five"}, [(0, 0, 2), (0, 0, 3), (1, 1, 0)]),
        ({"reward_least": 1}, [(0, 0, 2), (0, 0, 3), (1, 0, 0), (1, 1, 0)]),
        ({"reward_most": 0}, [(0, 0, 0), (1, 0, 1)]),  # the one without a reward is within no limit
        ({"status": "crash"}, [(0, 0, 1)]),
        ({"cut": True}, [(0, 0, 3)]),
        ({"tokens_least": 3}, [(0, 0, 0)]),
        # The builder's -log p is 0.1 (token + 1) + 0.01 t: 0.52 for token 4 at place 2, 0.60 for 5, and 0.61 for 5 5.
        ({"surprisal_least": 0.605}, [(0, 0, 3)]),
        ({"selected_least": 1, "text": "three"}, [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (1, 0, 1)]),
        ({"advantage_least": 0.8}, []),
        ({"advantage_most": -0.6}, []),
        ({"text": "five", "cut": False, "reward_least": 1, "problem": "p-1"}, [(0, 0, 2)]),
    ],
)
def test_limits_by_hand(index: CompletionIndex, limits: dict[str, object], found: list[tuple[int, int, int]]) -> None:
    assert keys(index, step_least=20, **limits) == [(20, *key) for key in found]


def test_a_token_of_some_advantage(index: CompletionIndex) -> None:
    # The advantages of each branch go from -0.5 to 0.75.
    assert len(keys(index, advantage_least=0.75)) == len(keys(index, advantage_most=-0.5)) == 14


@pytest.mark.parametrize("part", [".", "\n", "\\E[", "(1)", "\0", "Ü", "no such"])
def test_a_text_is_searched_for_as_it_is(part: str) -> None:
    texts = ["a.b", "a\nb", "x\\e[", "über (1)", "\0z", ""]
    table = pa.table({"lowered": pa.chunked_array([texts[:2], texts[2:]])})
    assert list(Query(text=part).mask(table)) == [part.lower() in text for text in texts]


def test_answers_come_in_parts(index: CompletionIndex) -> None:
    match = index.search(Query(first=12, most=5))
    assert (match.total, len(match.rows)) == (14, 2)
    assert match.rows[0]["snippet"] == " three<end>"


def test_it_grows_with_the_run_and_forgets_what_was_taken_back(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, CONFIG.format(seed=0, method="grpo")) as run:
        index = CompletionIndex(run)
        assert index.refresh() == 0
        assert index.search(Query()).total == 0
        write_trees(run, 1)
        write_trees(run, 2)
        assert index.refresh(most=1) == 1
        assert index.steps == [2]
        assert index.refresh() == 1
        run.truncate_after(1)
        index.refresh()
        assert index.steps == [1]
        assert {key[0] for key in keys(index)} == {1}


def test_a_step_that_cannot_be_read_is_told_and_the_others_are_found(tmp_path: Path) -> None:
    stored_run(tmp_path)
    (tmp_path / "rollouts" / "step-000010.parquet").write_bytes(b"PAR1")
    index = CompletionIndex(RunDirectory.read(tmp_path))
    index.refresh()
    assert (list(index.failed), index.steps) == ([10], [20])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"colour": ["red"]}, "nothing called 'colour'"),
        ({"reward_least": ["much"]}, "reward_least is 'much': it is a number"),
        ({"reward_least": ["nan"]}, "it is a number"),
        ({"first": ["-1"]}, "first is at least 0"),
        ({"most": ["1000"]}, "most from 1 to 100"),
    ],
)
def test_a_search_that_makes_no_sense_is_one_sentence(words: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Query.of(words)


def test_a_search_from_an_address() -> None:
    found = Query.of({"reward_least": ["0.5"], "cut": ["false"], "text": ["a"], "first": ["100"]})
    assert found == Query(reward_least=0.5, cut=False, text="a", first=100)
