"""`task:` in configurations: a mixture, a function, and what is refused."""

import sys
from pathlib import Path

import pytest
import yaml

from creditree.config.keywords import as_overrides
from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.schema import RunConfig
from creditree.config.task import FunctionConfig, MixtureConfig
from creditree.config.trust import check_trust
from creditree.errors import ConfigError
from creditree.setup.build import build_prompt, build_task
from creditree.setup.start import located, named_task, with_data
from creditree.tasks import Mixture, Table

MIXED = "{mixture: [{name: multiplication, weight: 3, digits_a: 2}, word_problems]}"


def config(task: str, *overrides: str) -> RunConfig:
    return parse_config(f"task: {task}", "run.yaml", overrides)


def test_a_mixture_is_read_written_and_built() -> None:
    read = config(MIXED)
    assert isinstance(read.task, MixtureConfig)
    assert [(one.task.label, one.weight) for one in read.task.mixture] == [("multiplication", 3), ("word_problems", 1)]
    written = yaml.safe_load(dump_config(read))["task"]["mixture"]
    assert [(one["name"], one["weight"]) for one in written] == [("multiplication", 3.0), ("word_problems", 1.0)]
    assert parse_config(dump_config(read), "run.yaml").task == read.task
    task = build_task(read.task)
    assert isinstance(task, Mixture)
    assert (task.name, task.parts[0].task.name) == ("multiplication+word_problems", "multiplication-2x1")
    assert task.prompt == build_prompt(read.task)


def test_items_of_a_mixture_can_be_set() -> None:
    read = config(MIXED, "task.mixture.1.weight=2", "task.mixture.0.digits_a=1").task
    assert isinstance(read, MixtureConfig)
    assert [one.weight for one in read.mixture] == [3, 2]
    assert read.mixture[0].model_dump()["digits_a"] == 1


def test_two_of_one_name_are_told_apart() -> None:
    read = config("{mixture: [multiplication, {name: file, path: a/sums.csv}, multiplication, 'x.py:sums']}").task
    assert isinstance(read, MixtureConfig)
    assert read.labels == ["multiplication", "sums", "multiplication_2", "sums_2"]


def test_the_grader_is_that_of_all_tasks_or_has_to_be_named() -> None:
    assert config("{mixture: [gsm8k, svamp]}").reward.name == "last_integer"
    assert config("{mixture: [math500, minerva]}").reward.name == "math"
    with pytest.raises(
        ConfigError, match=r"^run.yaml: the tasks of the mixture have different graders .*last_integer, m"
    ):
        config("{mixture: [math500, svamp]}")
    assert parse_config("task: {mixture: [math500, svamp]}\nreward: math", "run.yaml").reward.name == "math"


def test_a_function_is_named_relative_to_its_file_and_its_code_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def sums(): return [(f'{a}+1', a + 1) for a in range(60)]\n")
    for written in ("mine.py:sums", "{name: 'mine.py:sums'}", "{mixture: [{name: 'mine.py:sums'}, multiplication]}"):
        (tmp_path / "run.yaml").write_text(f"task: {written}\n")
        read = load_config(tmp_path / "run.yaml")
        assert read.task.locations == (f"{tmp_path / 'mine.py'}:sums",)
        values = yaml.safe_load(dump_config(read))
        with pytest.raises(ConfigError, match=r"names code that would run on this machine: task is .*mine.py; add"):
            check_trust(values, "run 'x'", trusted=False)
        check_trust(values, "run 'x'", ["task=multiplication"], trusted=False)
        check_trust(values, "run 'x'", trusted=True)
    one = config(f"{tmp_path / 'mine.py'}:sums", "task.problems=50").task
    assert isinstance(one, FunctionConfig)
    task = build_task(one)
    assert isinstance(task, Table)
    assert sum(map(len, task.slices.values())) == 50


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # that of a file of the same size and second would be stale
    file = tmp_path / "mine.py"
    block = config(f"{file}:f").task
    for answer in ("1", "2"):
        file.write_text(f"def f(): return [('a', {answer})]\n")
        task = build_task(block)
        assert isinstance(task, Table)
        assert {one.answers for part in task.slices.values() for one in part} == {(answer,)}


def test_a_function_may_be_given_as_it_is() -> None:
    (override,) = as_overrides({"task": parse_config})
    assert override.endswith('load.py:parse_config"')


def test_paths_of_a_mixture_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = located(config("{mixture: [{name: file, path: sums.csv}, multiplication]}")).task
    assert isinstance(read, MixtureConfig)
    assert read.source == f"{tmp_path / 'sums.csv'}, generated"


def test_data_replaces_the_problems_of_one_task_only() -> None:
    with pytest.raises(ConfigError, match="`data` replaces the problems of one task, and those here are a mixture"):
        with_data(yaml.safe_load(f"task: {MIXED}"), "run.yaml", "x.csv")
    with pytest.raises(ConfigError, match="are generated; use `task` file"):
        named_task("mine.py:f", "x.csv")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("{mixture: []}", "task.mixture is []"),
        ("{mixture: svamp}", "task.mixture is 'svamp'"),
        ("{mixture: [multiplicaton]}", "task.mixture.0.name is 'multiplicaton', which is no task. Did you mean"),
        ("{mixture: [svamp, {weight: 3}]}", "task.mixture.1.name is missing; name one of "),
        ("{mixture: [{name: svamp, weight: 0}]}", "task.mixture.0.weight is 0"),
        ("{mixture: [{name: multiplication, digits_c: 3}]}", "unknown key 'task.mixture.0.digits_c'. Did you mean"),
        ("{mixture: [{name: multiplication, digits_a: x}]}", "task.mixture.0.digits_a is 'x'"),
        ("{mixture: [{mixture: [svamp]}]}", "task.mixture.0 is a mixture in a mixture; put its tasks into the outer"),
        ("{mixture: [3]}", "task.mixture.0 is 3: each task of a mixture is a name, or a block"),
        ("{mixture: [svamp], digits_a: 3}", "unknown key 'task.digits_a'"),
        ("{name: 'x.py:f', problms: 3}", "unknown key 'task.problms'. Did you mean 'problems'? (in task)"),
        ("{name: 'x.py:f', problems: 0}", "task.problems is 0"),
        ("nope", "task.name is 'nope', which is no task."),
        ("{digits_a: 3}", "task.name is missing; name one of aime24, "),
    ],
)
def test_what_is_refused(task: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(task)
    assert str(error.value).startswith("run.yaml: ")
    assert words in str(error.value)
