"""Bad input through the command line: exit code 2 and one sentence that says what is wrong and what to do.

In this process, through the very function that the command starts, because a new interpreter takes seconds.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from creditree.config.load import dump_config, load_config
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from tests.e2e.command import SMALL, Refuse, write_config
from tests.tiny_models import char_tokenizer, random_model

RUN_OF = {"evaluation": {"problems": 1, "temperatures": [0]}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a good configuration."""
    return write_config(tmp_path / "run.yaml")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where a run would go."""
    return tmp_path / "run"


def file_task(tmp_path: Path, rows: list[dict[str, object]], **keys: object) -> Path:
    """Write a configuration with a task of these rows."""
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return write_config(tmp_path / "file.yaml", task={"name": "file", "path": str(data), **keys}, **RUN_OF)


def sums(count: int = 30, **extra: object) -> list[dict[str, object]]:
    return [{"question": f"{n}*3=\n", "answer": str(3 * n), **extra} for n in range(count)]


def test_a_missing_configuration_file(refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    missing = tmp_path / "nowhere.yaml"
    for arguments in (["train", missing, "--run", directory], ["train", missing, "--dry-run"], ["show", missing]):
        sentence = refuse(*arguments)
        assert sentence == f"configuration '{missing}' does not exist; give the path of a YAML file."
    assert not directory.exists()


def test_a_configuration_that_is_no_yaml_or_a_directory(refuse: Refuse, tmp_path: Path, config: Path) -> None:
    config.write_text("task: [multiplication")
    assert "is not valid YAML at line 1" in refuse("train", config, "--dry-run")
    config.write_text("")
    assert "holds no configuration: it must be a mapping with at least 'task'" in refuse("train", config, "--dry-run")
    assert "cannot be read (Is a directory)" in refuse("train", tmp_path, "--dry-run")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.grup=16", ["unknown key 'method.grup'", "Did you mean 'group'?"]),
        ("trian.steps=16", ["unknown key 'trian'", "Did you mean 'train'?"]),
        ("task.digit_a=4", ["unknown key 'task.digit_a'", "Did you mean 'digits_a'?"]),
        ("method.name=tspmo", ["method.name is 'tspmo', which is no method", "Did you mean 't-spmo'?"]),
        ("task.name=multiplicatoin", ["task.name is 'multiplicatoin'", "Did you mean 'multiplication'?"]),
        ("method.group=1", ["method.group is 1", "at least 2", "set 2 or more"]),
        ("method={name: s-grpo, alpha: 49}", ["method.alpha is 49", "sampling.max_new_tokens = 48", "lower alpha"]),
        ("method={name: grpo, select: branching_pairs}", ["'branching_pairs'", "'group_relative'", "use credit"]),
        ("method={name: grpo, k: 3}", ["method.k has no effect", "set method.select: early_and_random"]),
        ("train.steps=many", ["train.steps is 'many'", "integer"]),
        ("method.group", ["--set method.group", "write it as key=value"]),
    ],
)
def test_mistakes_that_the_configuration_alone_shows(
    override: str, words: list[str], refuse: Refuse, config: Path, directory: Path
) -> None:
    for arguments in (["--run", directory], ["--dry-run"]):
        sentence = refuse("train", config, *arguments, "--set", override)
        for word in words:
            assert word in sentence
    assert not directory.exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lora.layers=[9]", ["lora.layers names layer 9", "layers 0 to 5", "give indices in that range"]),
        ("lora.targets=[qproj]", ["lora.targets names 'qproj'", "Did you mean 'q_proj'?"]),
        ("reward=nowhere.py:judge", ["nowhere.py:judge", "there is no file"]),
        ("reward=json:lods", ["json:lods", "Did you mean 'loads'?"]),
        ("reward=no_such_module.at_all:judge", ["no_such_module", "install it, or name a file"]),
        ("task={name: file, path: nowhere.jsonl}", ["nowhere.jsonl", "does not exist", "check the path"]),
        ("task={name: svamp, path: nowhere.jsonl}", ["nowhere.jsonl", "does not exist"]),
        ("task={name: file, path: problems.xlsx}", ["'.xlsx'", ".jsonl, .csv, .parquet"]),
        ("task.range_a=[9, 1]", ["range_a is 9..1"]),
        ("model.name=builtin:multiplicatoin", ["'builtin:multiplicatoin'", "Did you mean 'builtin:multiplication'?"]),
        ("model.name=./nowhere", ["model directory './nowhere' does not exist", "give a directory"]),
        ("model.name=nobody-here/no-such-model", ["'nobody-here/no-such-model' could not be loaded", "builtin:"]),
        ("model.device=gpu", ["model.device is 'gpu'", "set cpu or cuda"]),
        ("sampling.max_new_tokens=5000", ["sampling.max_new_tokens 5000", "exceed the context", "lower"]),
        ("task.prompt.chat=true", ["chat template", "set chat to false"]),
    ],
)
def test_mistakes_that_show_when_the_parts_are_made_leave_the_directory_free(
    override: str, words: list[str], refuse: Refuse, config: Path, directory: Path
) -> None:
    sentence = refuse("train", config, "--run", directory, "--set", override)
    for word in words:
        assert word in sentence
    assert not (directory / "config.yaml").exists()
    RunDirectory.create(directory, "task: multiplication\n").close()


def test_an_empty_data_set(refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    sentence = refuse("train", file_task(tmp_path, []), "--run", directory)
    assert "problems.jsonl has no rows: a set needs at least one problem" in sentence


@pytest.mark.parametrize("answer", [None, "", [], True])
def test_a_row_without_an_answer(answer: object, refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    rows = [*sums(2), {"question": "7*3=", "answer": answer}]
    sentence = refuse("train", file_task(tmp_path, rows), "--run", directory)
    assert sentence.startswith("Line 3 of ")
    assert "has no answer in column 'answer'" in sentence
    assert "fill it or drop the row" in sentence


def test_a_missing_column(refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    sentence = refuse("train", file_task(tmp_path, sums(3), answer="anser"), "--run", directory)
    assert "has no column 'anser'" in sentence
    assert "Did you mean 'answer'?" in sentence


def test_a_line_that_is_no_json(refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    config = file_task(tmp_path, sums(2))
    (tmp_path / "problems.jsonl").write_text('{"question": "1"\n')
    assert "Line 1 of " in refuse("train", config, "--run", directory)


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_prompt_longer_than_the_models_context(split: str, refuse: Refuse, tmp_path: Path, directory: Path) -> None:
    rows = [{**row, "split": "train" if n % 2 else "test"} for n, row in enumerate(sums(10))]
    for row in rows:
        if row["split"] == split:
            row["question"] = f"{row['question']}{'1 + ' * 2000}1="
    sentence = refuse("train", file_task(tmp_path, rows), "--run", directory)
    assert "tokens" in sentence
    assert "exceed the context of " in sentence
    assert "lower sampling.max_new_tokens" in sentence
    assert "shorten the prompt" in sentence


def test_no_run_directory_at_all(refuse: Refuse, config: Path) -> None:
    assert "add --run DIR, or --dry-run" in refuse("train", config)


def test_a_run_directory_that_cannot_be_written(refuse: Refuse, tmp_path: Path, config: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is a file; choose another directory" in refuse("train", config, "--run", file)
    sentence = refuse("train", config, "--run", file / "run")
    assert str(file / "run") in sentence
    assert "choose another" in sentence


def test_a_run_directory_that_is_used_already(refuse: Refuse, config: Path, directory: Path) -> None:
    RunDirectory.create(directory, dump_config(load_config(config))).close()
    sentence = refuse("train", config, "--run", directory)
    assert sentence == (
        f"Run directory {directory} already holds a run; continue it with --resume, or choose another directory."
    )
    assert (directory / "config.yaml").exists()


def test_another_configuration_on_resume(refuse: Refuse, config: Path, directory: Path) -> None:
    RunDirectory.create(directory, dump_config(load_config(config))).close()
    sentence = refuse("train", config, "--run", directory, "--resume", "--set", "method.group=7")
    assert "was made with another configuration" in sentence
    for word in ("method.group", "6", "7", "resume with the same one"):
        assert word in sentence
    assert load_config(directory / "config.yaml").method.group == 6


def model_directory(path: Path) -> Path:
    random_model(dtype=torch.float32).save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


def test_a_pickle_instead_of_safetensors(refuse: Refuse, tmp_path: Path, config: Path, directory: Path) -> None:
    model = model_directory(tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    for arguments in (["--run", directory], ["--dry-run"]):
        sentence = refuse("train", config, *arguments, "--set", f"model.name={model}")
        assert f"model directory '{model}' holds its weights as a pickle" in sentence
        assert "save them as safetensors" in sentence
    assert "as a pickle" in refuse("eval", model, "--task", "multiplication")


def test_weights_that_are_damaged_or_incomplete(refuse: Refuse, tmp_path: Path) -> None:
    model = model_directory(tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:999])
    assert f"model '{model}' could not be loaded" in refuse("eval", model, "--task", "multiplication")
    weights.unlink()
    assert "holds no weights" in refuse("eval", model, "--task", "multiplication")


def test_eval_of_nothing(refuse: Refuse, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    for target in (tmp_path, missing):
        sentence = refuse("eval", target)
        assert f"'{target}' is no run directory" in sentence
        assert "add --task" in sentence
    assert "has no config.json" in refuse("eval", tmp_path, "--task", "multiplication")
    assert "does not exist" in refuse("eval", missing, "--task", "multiplication")


def test_eval_of_a_run_that_has_not_ended(refuse: Refuse, config: Path, directory: Path) -> None:
    RunDirectory.create(directory, dump_config(load_config(config))).close()
    sentence = refuse("eval", directory)
    assert f"run '{directory}' has no adapter yet" in sentence
    assert "--resume" in sentence


def test_eval_with_a_task_or_split_that_is_not_there(refuse: Refuse, tmp_path: Path, config: Path) -> None:
    model = "builtin:multiplication"
    assert "Did you mean 'multiplication'?" in refuse("eval", model, "--task", "multiplicaton")
    missing = tmp_path / "nowhere.yaml"
    assert f"--task '{missing}' does not exist" in refuse("eval", model, "--task", missing)
    missing.write_bytes(b"\xff\xfe")
    assert "it is not UTF-8 text" in refuse("eval", model, "--task", missing)
    assert "Did you mean 'test'?" in refuse("eval", model, "--task", "multiplication", "--split", "tests")
    assert "unknown key 'tsk'" in refuse("eval", model, "--task", config, "--set", "tsk.digits_a=3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda adapter: (adapter / "adapter_model.safetensors").unlink(), "holds no adapter_model.safetensors"),
        (lambda adapter: (adapter / "adapter_model.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda adapter: (adapter / "adapter_config.json").write_text("{"), "cannot be used"),
        (lambda adapter: (adapter / "adapter_config.json").write_text("{}"), "belongs to another adapter"),
    ],
)
def test_eval_of_a_damaged_adapter(change: Callable[[Path], Any], words: str, refuse: Refuse, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    Adapter(load_model("builtin:multiplication"), LoraSpec(rank=2), Key.of(0)).save(adapter)
    change(adapter)
    sentence = refuse("eval", adapter, "--task", "multiplication", "--problems", "1")
    assert words in sentence
    assert str(adapter) in sentence


def test_eval_of_an_adapter_of_another_rank(refuse: Refuse, tmp_path: Path) -> None:
    for rank in (2, 4):
        Adapter(load_model("builtin:multiplication"), LoraSpec(rank=rank), Key.of(0)).save(tmp_path / str(rank))
    shutil.copy(tmp_path / "2" / "adapter_config.json", tmp_path / "4")
    assert "belongs to another adapter" in refuse("eval", tmp_path / "4", "--task", "multiplication", "--problems", "1")


def test_compare_needs_two_finished_runs(refuse: Refuse, tmp_path: Path, config: Path, directory: Path) -> None:
    RunDirectory.create(directory, dump_config(load_config(config))).close()
    sentence = refuse("compare", directory)
    assert sentence == "creditree compare needs at least two run directories, and got 1; name another one."
    sentence = refuse("compare", directory, directory)
    assert f"Run {directory} has no summary.json: it has not ended" in sentence
    sentence = refuse("compare", directory, tmp_path / "nowhere")
    assert "it has not ended" in sentence or "There is no run in" in sentence
    assert "There is no run in" in refuse("compare", tmp_path / "nowhere", directory)


@pytest.mark.parametrize(
    ("name", "words"),
    [("tspmo", "Did you mean 't-spmo'?"), ("grop", "Did you mean 'grpo'?"), ("x-y-z", "Known: attnrl, attnrl-paper")],
)
def test_show_of_an_unknown_method(name: str, words: str, refuse: Refuse) -> None:
    sentence = refuse("show", name)
    assert f"'{name}' is no method, no grader and no configuration file" in sentence
    assert words in sentence


def test_errors_are_the_same_with_json(refuse: Refuse, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = refuse("train", config, "--dry-run", "--set", "method.group=1")
    assert refuse("train", config, "--dry-run", "--set", "method.group=1", "--json") == plain
    assert capsys.readouterr().out == ""


def test_the_check_can_fail(refuse: Refuse, config: Path) -> None:
    """A command that works is not refused."""
    assert yaml.safe_load(config.read_text()) == SMALL
    with pytest.raises(AssertionError):
        refuse("train", config, "--dry-run")


def test_a_word_that_no_command_knows_is_one_sentence_too(refuse: Refuse, config: Path) -> None:
    assert "no such option: --no-such-option" in refuse("train", config, "--no-such-option")
    assert "no such command 'trian'" in refuse("trian", config)
    assert "missing argument" in refuse("eval")
    assert "invalid value for '--samples'" in refuse("eval", "x", "--samples", "many")
