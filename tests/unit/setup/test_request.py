"""What `creditree train` is asked for: a file, a run, or a model and a task by name."""

from pathlib import Path

import pytest

from creditree.config.task import FileConfig, SvampConfig
from creditree.errors import ConfigError
from creditree.runs.directory import RunDirectory
from creditree.setup.request import TrainRequest


def test_a_model_and_a_task_need_no_file() -> None:
    options = TrainRequest(None, model="random:qwen2-1.5b", task="svamp", data="rows.jsonl", overrides=("seed=3",))
    config = options.load()
    assert isinstance(config.task, SvampConfig)
    assert (config.model.name, config.task.path, config.seed) == ("random:qwen2-1.5b", "rows.jsonl", 3)


def test_they_replace_those_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: {name: builtin:multiplication, device: cpu}\ntask: {name: svamp, path: old.jsonl}\n")
    config = TrainRequest(path, model="some/model").load()
    assert (config.model.name, config.model.device, config.task.path) == ("some/model", "cpu", "old.jsonl")  # type: ignore[union-attr]
    config = TrainRequest(path, task="file", data="mine.csv").load()
    assert isinstance(config.task, FileConfig)
    assert config.task.path == "mine.csv"


@pytest.mark.parametrize(
    "options",
    [
        TrainRequest(None, model="some/model", data="own.csv"),
        TrainRequest({}, data="own.csv", overrides=("model=some/model",)),  # the Python door
        TrainRequest({"model": "some/model"}, data="own.csv"),
    ],
)
def test_problems_of_a_file_are_a_task_where_none_is_named(options: TrainRequest) -> None:
    config = options.load()
    assert config.model.name == "some/model"
    assert isinstance(config.task, FileConfig)
    assert config.task.path == "own.csv"
    assert config == TrainRequest(None, model="some/model", task="file", data="own.csv").load()


def test_a_benchmark_in_the_place_of_a_run_s_task_has_its_own_grader(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "a", "task: multiplication\nreward: last_integer\n"):
        pass
    start = str(tmp_path / "a")
    assert TrainRequest(None, task="math500", start=start).load().reward.name == "math"
    assert (
        TrainRequest(None, task="math500", start=start, overrides=("reward=numeric",)).load().reward.name == "numeric"
    )
    assert TrainRequest(None, task="svamp", start=start).load().reward.name == "last_integer"


def test_what_goes_on_from_a_run_does_not_repeat_its_warm_start(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "a", "task: {name: file, path: x.jsonl}\nwarm_start: {steps: 5}\n"):
        pass
    assert TrainRequest(None, start=str(tmp_path / "a")).load().warm_start.steps == 0
    again = TrainRequest(None, start=str(tmp_path / "a"), overrides=("warm_start.steps=2",))
    assert again.load().warm_start.steps == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (TrainRequest(None), "name a YAML file, a finished run with `start`, or both `model` NAME and `task` NAME"),
        (TrainRequest(None, model="some/model"), "both `model` NAME and `task` NAME"),
        (TrainRequest(None, model="some/model", task="file"), "add `data` FILE"),
        (TrainRequest(None, model="some/model", task="multiplication", data="x.csv"), "are generated; use `task` file"),
        (TrainRequest(None, model="some/model", task="swamp"), "Did you mean 'svamp'"),
        (
            TrainRequest(None, model="some/model", task="own.csv"),
            "is a file of problems: that is `task` file with",
        ),
        (
            TrainRequest(None, model="some/model", data="x.csv", overrides=("task=svamp",)),
            "task=svamp: `data` sets task.path itself; leave one of the two out",
        ),
    ],
)
def test_what_is_missing_is_said(options: TrainRequest, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options.load()
    assert words in str(refused.value)
