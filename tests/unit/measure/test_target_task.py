"""What an evaluation takes for a task: a name, a block as a configuration has it, a function, keys of the run's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from creditree.api.arguments import task_of
from creditree.config.keywords import as_overrides
from creditree.config.task import MixtureConfig, TaskConfig
from creditree.errors import ConfigError
from creditree.measure.target import EvaluationRequest, find_jobs


def sevens() -> Iterator[tuple[str, int]]:
    """Yield problems."""
    return ((f"{a}*7=\n", 7 * a) for a in range(11, 60))


def measured(task: Any, **keywords: Any) -> TaskConfig:
    """Return the task that is measured on."""
    named, keys = task_of(task)
    overrides = (*as_overrides(keys), *as_overrides(keywords.pop("overrides", {})))
    request = EvaluationRequest("builtin:multiplication", named, problems=2, overrides=overrides, **keywords)
    (job,), _ = find_jobs(request)
    return job.config.task


def test_a_block_is_the_task_that_a_configuration_would_have() -> None:
    block = {"name": "multiplication", "digits_a": 3, "prompt": {"text": "What is {question}?"}}
    assert measured(block) == measured("multiplication", overrides={"digits_a": 3, "prompt": block["prompt"]})
    assert measured(block, overrides={"digits_b": 2}) == measured(block | {"digits_b": 2})
    assert block == {"name": "multiplication", "digits_a": 3, "prompt": {"text": "What is {question}?"}}
    assert isinstance(measured({"mixture": ["multiplication", block]}), MixtureConfig)


def test_a_function_is_a_task_of_its_file() -> None:
    assert measured(sevens) == measured(f"{Path(__file__)}:sevens") == measured({"name": sevens})


def test_a_block_without_a_name_sets_keys_of_the_task_at_hand() -> None:
    assert task_of({"digits_a": 3}) == (None, {"task": {"digits_a": 3}})
    assert task_of(Path("tasks/own.yaml")) == ("tasks/own.yaml", {})
    with pytest.raises(ConfigError, match="is no run directory, so its task is not known; add `task` NAME"):
        measured({"digits_a": 3})


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"name": "multiplicatoin"}, r"task.name is 'multiplicatoin', which is no task. Did you mean 'multiplication'"),
        ({"name": 3}, r"task.name is '3', which is no task"),
        ({"name": "multiplication", "digit_a": 3}, r"unknown key 'task.digit_a'. Did you mean 'digits_a'"),
        ({"name": "own.jsonl"}, r"`task` 'own.jsonl' is a file of problems: that is `task` file with `data`"),
        (3, r"task is 3: it is a block of keys"),
        (object(), r"task is <object object at .*>: write a text, a number"),
    ],
)
def test_what_is_no_task_is_refused(task: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        measured(task)


def test_a_file_of_problems_belongs_to_one_task(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`data` and `data_dir` are of one task by its name, and `task` has none"):
        measured({"mixture": ["multiplication"]}, data=str(tmp_path / "own.jsonl"))
