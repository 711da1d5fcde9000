"""What an evaluation measures of a run: another file in the run's own columns and words, and what is said of it."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from creditree.config.load import dump_config, parse_config
from creditree.errors import ConfigError
from creditree.measure.target import EvaluationRequest, Job, find_jobs
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.rng import Key
from creditree.runs.directory import RunDirectory

COLUMNS = {"question": "asked", "answer": "wanted", "id": "number"}
WORDS = "Q: {question}\nA:"


def write(path: Path, questions: list[str], columns: dict[str, str] = COLUMNS, **more: str) -> str:
    rows = [
        {columns["question"]: question, columns["answer"]: "1", columns["id"]: f"n-{question}", **more}
        for question in questions
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@lru_cache
def adapter() -> Adapter:
    """Some adapter of the configuration's model."""
    return Adapter(load_model("builtin:multiplication"), LoraSpec(rank=1), Key.of(0))


def made(path: Path, task: dict[str, Any]) -> str:
    """Return a run that has trained on a task, as far as an evaluation looks at it before it loads a model."""
    config = parse_config(json.dumps({"task": task, "sampling": {"max_new_tokens": 7}}), "run.yaml")
    with RunDirectory.create(path, dump_config(config)) as run, run.published("adapter") as folder:
        adapter().save(folder)
    return str(path)


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run on a file with its own columns, words and test file."""
    path = write(tmp_path / "train.jsonl", ["a", "b", "c"])
    test = write(tmp_path / "test.jsonl", ["t"])
    return made(
        tmp_path / "run",
        {"name": "file", "path": path, "test_path": test, "validation": 0.0, "prompt": {"text": WORDS}, **COLUMNS},
    )


def job_of(target: str, **options: Any) -> Job:
    (job,), _ = find_jobs(EvaluationRequest(target, **options))
    return job


@pytest.mark.parametrize("task", ["file", None])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_all_problems_of_another_file_are_measured(run: str, tmp_path: Path, task: str | None, split: str) -> None:
    job = job_of(run, task=task, data=write(tmp_path / "new.jsonl", ["x", "y"]), split=split)
    assert {problem.id for problem in job.problems} == {"n-x", "n-y"}
    assert {job.task.prompt.render(problem) for problem in job.problems} == {"Q: x\nA:", "Q: y\nA:"}
    assert (job.max_new_tokens, job.notes, job.also_in_training) == (7, (), 0)


def test_without_another_file_a_run_is_measured_on_its_own(run: str) -> None:
    for task in ("file", None):
        assert [problem.id for problem in job_of(run, task=task).problems] == ["n-t"]


def test_problems_that_the_run_was_trained_on_are_counted(run: str, tmp_path: Path) -> None:
    data = write(tmp_path / "new.jsonl", ["a", "x", "c"])
    job = job_of(run, data=data)
    assert job.also_in_training == 2
    assert job.notes == ("Problems that the run was trained on, and counted: 2 of 3.",)
    Path(tmp_path / "train.jsonl").unlink()
    job = job_of(run, data=data)
    assert (job.also_in_training, job.notes) == (None, ())


def test_other_words_than_the_run_s_are_told_of(run: str, tmp_path: Path) -> None:
    plain = {"question": "question", "answer": "answer", "id": "id"}
    data = write(tmp_path / "new.jsonl", ["a", "x"], plain)
    other = made(tmp_path / "other", {"name": "multiplication", "prompt": {"text": WORDS}})
    words = (
        r"The prompt is not the one that the run was trained with: task.prompt.text is '{question}', and was "
        r"'Q: {question}\nA:'."
    )
    assert job_of(other, task="file", data=data).notes == (words,)
    assert job_of(f"{run}/adapter", task="file", data=data).notes == (
        words,
        "Problems that the run was trained on, and counted: 1 of 2.",
    )
    again = job_of(other, task="file", data=data, overrides=(f"task.prompt.text={json.dumps(WORDS)}",))
    assert again.notes == ()


def test_a_run_of_one_task_of_a_mixture_knows_its_words(run: str, tmp_path: Path) -> None:
    parts = [
        {"name": "multiplication", "prompt": {"text": WORDS}},
        {"name": "word_problems", "prompt": {"chat": False}},
    ]
    target = made(tmp_path / "mixed", {"mixture": parts})
    assert job_of(target, problems=4).notes == ()
    assert job_of(target, task="word_problems", problems=4, overrides=("task.prompt.chat=false",)).notes == ()
    assert len(job_of(target, task="word_problems", problems=4).notes) == 1


def test_a_file_alone_says_what_it_holds_only_for_a_run_on_a_file(tmp_path: Path) -> None:
    data = write(tmp_path / "new.jsonl", ["x"])
    other = made(tmp_path / "other", {"name": "multiplication"})
    for target in (other, "builtin:multiplication"):
        with pytest.raises(ConfigError, match="need to know what they hold: add `task`, such as `task` file"):
            job_of(target, data=data)
    assert job_of(other, problems=3).notes == ()
