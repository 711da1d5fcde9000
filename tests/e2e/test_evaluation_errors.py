"""Mistakes with `creditree eval`, `compare` and `sweep`: exit code 2 and one sentence that says what to do."""

import json
from pathlib import Path

import pytest

from tests.e2e.command import Refuse

MODEL = "builtin:multiplication"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"question": "2*3=", "answers": ["6"]}) + "\n")
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "file"], ["'task.path' is missing"]),
        (["--task", "file", "--data", "nowhere.jsonl"], ["nowhere.jsonl does not exist", "check the path"]),
        (["--data", "DATA"], ["--data and --data-dir need to know what they hold", "--task file"]),
        (["--task", "multiplication", "--data", "DATA"], ["are generated", "--task file"]),
        (["--task", "file", "--data-dir", "."], ["'file' is none", "--data"]),
        (["--task", "aime24", "--data", "x.jsonl", "--data-dir", "."], ["keep one of them"]),
        (["--task", "aime24", "--data-dir", "."], ["has no aime24.jsonl", "leave out --data-dir"]),
        (["--task", "own.jsonl"], ["'own.jsonl' is a file of problems", "--task file with --data 'own.jsonl'"]),
        (["--task", "aime-24", "--data", "DATA"], ["Did you mean 'aime24'?"]),
        (["--task", "aime25"], ["math-ai/aime25", "could not be loaded", "(task.path)"]),
        (["--suite", "attnrk"], ["Did you mean 'attnrl'?"]),
        (["--suite", "attnrl", "--task", "aime24"], ["leave out --task"]),
        (["--task", "multiplication", "--set", "model.device=tpu"], ["model.device is 'tpu'", "set cpu or cuda"]),
        (
            ["--task", "multiplication", "--set", "evaluation.problems=9"],
            ["an evaluation sets evaluation itself", "--problems"],
        ),
        (["--suite", "attnrl", "--set", "sampling.max_new_tokens=9"], ["use --max-new-tokens"]),
        (["--task", "file", "--data", "DATA", "--set", "sampling={temperature: 1}"], ["use --temperature"]),
        (["--task", "file", "--data", "DATA", "--k", "1,x"], ["--k is '1,x'", "such as 1,4,32"]),
        (["--task", "file", "--data", "DATA", "--k", "0"], ["--k is '0'"]),
        (["--task", "file", "--data", "DATA", "--k", "4"], ["--k 4", "--samples is 1", "raise --samples"]),
        (
            ["--task", "file", "--data", "DATA", "--samples", "4", "--k", "4", "--temperature", "0"],
            ["--k 4", "greedy decoding (--temperature 0) gives one", "such as 0.6."],
        ),
        (
            ["--task", "file", "--data", "DATA", "--k", "4", "--temperature", "0"],
            ["--k 4", "set --temperature to more than 0, such as 0.6, and --samples to 4 or more"],
        ),
        (["--task", "file", "--data", "DATA", "--max-new-tokens", "9999"], ["context of 512", "--max-new-tokens to 5"]),
        (
            ["--task", "math500", "--data", "DATA", "--set", "reward=mth"],
            ["reward.name is 'mth'", "did you mean 'math'"],
        ),
    ],
)
def test_eval_says_what_to_do(options: list[str], words: list[str], data: Path, refuse: Refuse) -> None:
    sentence = refuse("eval", MODEL, *(str(data) if option == "DATA" else option for option in options))
    for word in words:
        assert word in sentence, sentence


def test_an_evaluation_that_cannot_start_leaves_the_directory_free(data: Path, tmp_path: Path, refuse: Refuse) -> None:
    out = tmp_path / "out"
    refuse("eval", MODEL, "--task", "file", "--data", data, "--out", out, "--max-new-tokens", "9999")
    sentence = refuse("compare", out, out)
    assert "There is no run in" in sentence


def test_compare_of_what_has_not_ended(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "evaluation.yaml").write_text("seed: 0")
    assert "has not ended; repeat it with the same --out" in refuse("compare", tmp_path, tmp_path)
    assert "--by-method averages training runs" in refuse("compare", tmp_path, tmp_path, "--by-method")


def test_compare_of_a_file_is_told_that_it_is_no_run(data: Path, refuse: Refuse) -> None:
    assert f"There is no run in {data}: config.yaml is missing" in refuse("compare", data, data)


def test_sweep_says_what_to_do(tmp_path: Path, refuse: Refuse) -> None:
    assert "sweep 'nowhere.yaml' does not exist" in refuse("sweep", "nowhere.yaml", "--dry-run")
    path = tmp_path / "sweep.yaml"
    path.write_text("base: {task: multiplication}\ncases: {a: , b: {train.stps: 3}}")
    assert "Did you mean 'steps'?" in refuse("sweep", path, "--dry-run")
    path.write_text("base: {task: multiplication}\ncases: {a: }")
    assert "add --out DIR" in refuse("sweep", path)
