"""`creditree monitor` as a user types it: a run on the user's own file, then fresh problems, later."""

import csv
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from creditree.cli.main import run as command_line
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks import Multiplication
from tests.e2e.command import STOPPED, Refuse, creditree, start, write_config

Monitor = Callable[..., Any]
"""Runs `creditree monitor --json`."""
COLUMNS = {"question": "product", "answer": "result", "id": "number"}


def products(task: Multiplication, number: int) -> list[Problem]:
    """So many different problems."""
    found: dict[str, Problem] = {}
    for index in count():
        if len(found) == number:
            return list(found.values())
        problem = task.training(Key.of(5), index)
        found.setdefault(problem.id, problem)
    raise AssertionError


def write(path: Path, problems: Iterable[Problem]) -> Path:
    """A CSV as the run's configuration names its columns."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS.values())
        rows.writerows((problem.question, problem.answers[0], f"n{place}") for place, problem in enumerate(problems))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and files of fresh problems; the training file is gone."""
    path = tmp_path_factory.mktemp("user")
    problems = products(Multiplication(), 420)
    write(path / "train.csv", problems[:300])
    write(path / "fresh.csv", problems[300:360])
    write(path / "renamed.csv", problems[359:299:-1])
    write(path / "more.csv", problems[340:400])
    write(path / "hard.csv", products(Multiplication(5, 2), 60))
    config = write_config(
        path / "run.yaml",
        task={"name": "file", "path": "train.csv", "test": 0.3, "prompt": {"text": "{question}\n"}, **COLUMNS},
        method={"name": "t-spmo", "group": 16, "l2": 0.0},
        train={"steps": 60, "problems_per_step": 2, "learning_rate": 4e-3, "threads": 1},
        evaluation={"problems": 100, "temperatures": [0, 0.3]},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sys, "argv", ["creditree", "train", str(config), "--run", "run"])
        with pytest.raises(SystemExit, match=r"^0$"):
            command_line()
    (path / "train.csv").unlink()
    return path


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy of the run: every test begins with no observations."""
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Monitor:
    """Return a function that runs a command in this process and checks its exit code.

    It returns what --json prints, and for exit code 2 the sentence.
    """

    def of(*arguments: str | Path, code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["creditree", "monitor", *map(str, arguments), "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, err
        return err.splitlines()[-1] if code == 2 else json.loads(out)

    return of


def test_fresh_problems_of_the_same_kind_and_then_much_harder_ones(place: Path, run: Path, monitor: Monitor) -> None:
    after = json.loads((run / "evaluation.json").read_text())["after"]["greedy"]
    first = monitor(run / "adapter", place / "fresh.csv")
    assert (first["baseline"]["n"], first["baseline"]["value"]) == (len(after), sum(after.values()) / len(after))
    assert (first["degraded"], first["fresh"]["n"], first["all"]["n"], first["alarm_at"]) == (False, 60, 60, None)
    assert first["baseline"]["lower_bound"] < first["baseline"]["interval"][0] < 0.95
    assert first["truncated"]["baseline"] is not None
    more = monitor(run, place / "more.csv")
    assert more["notes"] == ["Problems measured before, and not counted again: 20."]
    assert (more["fresh"]["n"], more["all"]["n"]) == (40, 100)
    lines = [json.loads(line) for line in (run / "monitor" / "observations.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["digest"] for line in lines}) == 100
    assert {line["file"] for line in lines} == {str(place / "fresh.csv"), str(place / "more.csv")}
    texts = [
        row for part in sorted((run / "monitor" / "completions").iterdir()) for row in pq.read_table(part).to_pylist()
    ]
    assert [row["problem_id"] for row in texts] == [line["digest"] for line in lines]
    assert [row["reward"] for row in texts] == [line["share"] for line in lines]

    worse = creditree("monitor", run.parent, place / "hard.csv", "--state", run.parent / "elsewhere", code=3)
    for words in ("baseline", "fresh, this call", "alarm at 40", "Degraded: accuracy on fresh problems is below"):
        assert words in worse.stdout
    assert f"creditree train --from {run} --data {place / 'hard.csv'} --guard GUARD.csv --run NEW" in worse.stdout
    # Seen already, nothing is measured; the alarm stays.
    again = monitor(run, place / "hard.csv", "--state", run.parent / "elsewhere", code=3)
    assert (again["degraded"], again["fresh"]["n"], again["all"]["n"]) == (True, 0, 60)
    assert again["alarm_at"] <= 60
    assert again["e_value"] >= again["threshold"] == 40
    assert len((run / "monitor" / "observations.jsonl").read_text().splitlines()) == 100


def test_an_adapter_that_was_lost_is_seen_early_and_other_tests_are_refused(
    place: Path, run: Path, monitor: Monitor, refuse: Refuse
) -> None:
    file = run / "adapter" / "adapter_model.safetensors"
    monitor(run, place / "fresh.csv", "--problems", "5")
    save_file({name: 0 * tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    assert "has another content than when it was written" in refuse("monitor", run, place / "fresh.csv")
    (run / "adapter" / "creditree.sha256").unlink()
    refused = refuse("monitor", run, place / "fresh.csv")
    assert "adapter is '" in refused
    assert "begin a new test with another --state" in refused
    options = ("--state", run.parent / "state", "--stop-early", "--set", "train.max_rows=4")
    found = monitor(run, place / "fresh.csv", "--base", *options, code=3)
    assert found["alarm_at"] <= found["fresh"]["n"] < 60
    assert found["fresh"]["n"] % 4 == 0
    # An adapter of zeros is the base model: the same completions of the same problems.
    assert found["base"]["value"] == found["fresh"]["value"]
    assert (found["base"]["difference"]["value"], found["base"]["difference"]["p_value"]) == (0, 1)
    other = refuse("monitor", run, place / "fresh.csv", *options, "--margin", "0.1")
    assert "margin is 0.0 in the state and 0.1 now" in other
    assert monitor(run, place / "fresh.csv", *options, code=3)["fresh"]["n"] == 0


SEVERAL = ("--samples", "3", "--decoding", "T=0.3", "--set", "train.max_rows=3")
"""Several completions a problem, in many small pieces."""


@STOPPED
def test_killed_and_repeated_it_measures_what_is_missing(
    how: signal.Signals, code: int, place: Path, run: Path, monitor: Monitor
) -> None:
    process = start("monitor", run, place / "fresh.csv", *SEVERAL)
    path = run / "monitor" / "observations.jsonl"
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= 4):
        time.sleep(0.002)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert how is signal.SIGKILL or "repeat the command to continue" in err
    kept = path.read_bytes().count(b"\n")
    assert 4 <= kept < 60
    resumed = monitor(run, place / "fresh.csv", *SEVERAL)
    # The same problems in another order and under other ids: nothing may depend on either.
    whole = monitor(run, place / "renamed.csv", *SEVERAL, "--state", run.parent / "whole")
    assert (resumed["fresh"]["n"], whole["fresh"]["n"]) == (60 - kept, 60)
    for name in ("all", "baseline", "degraded"):
        assert resumed[name] == whole[name]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # The repeated command is a call of its own, with a gambler of its own.
    assert [line["call"] for line in lines] == [1] * kept + [2] * (60 - kept)
    shares = {line["share"] for line in lines}
    assert shares <= {0, 1 / 3, 2 / 3, 1}
    assert shares & {1 / 3, 2 / 3}


def test_mistakes_are_refused_in_one_sentence(place: Path, run: Path, tmp_path: Path, refuse: Refuse) -> None:
    fresh = place / "fresh.csv"
    for options, words in (
        (["--margin", "1.5"], "--margin is 1.5"),
        (["--alpha", "0"], "--alpha is 0.0"),
        (["--margin", "0.99"], "no accuracy would be a degradation; lower --margin"),
        (["--samples", "2"], "greedy decoding gives one completion"),
        (["--decoding", "T=0.33"], "Did you mean 'T=0.3'?"),
        (["--set", "sampling.max_new_tokens=9"], "sampling.max_new_tokens is 48 in the run and 9 now"),
        (["--set", "task.prompt.text='{question} ?'"], "--set changes what is measured: task.prompt.text is"),
        (["--set", "reward=exact"], "reward is 'last_integer' in the run and 'exact' now"),
        (["--state", fresh], "is a file"),
        (["--state", run], "holds a training run"),
    ):
        assert words in refuse("monitor", run, fresh, *options)
    assert "is no run, nor the adapter of one" in refuse("monitor", "builtin:multiplication", fresh)
    assert "does not exist" in refuse("monitor", run, "nowhere.csv")
    (tmp_path / "other.csv").write_text("question,answer\n2*3=,6\n")
    assert "no column 'product' for the question" in refuse("monitor", run, tmp_path / "other.csv")
    (tmp_path / "long.csv").write_text(f"product,result\n{'2*' * 300}3=,6\n")
    assert "leave the problem out" in refuse("monitor", run, tmp_path / "long.csv")
    assert not (run / "monitor" / "monitor.yaml").exists()
    (run / "evaluation.json").write_text('{"before": {}}')
    assert "has another content than when it was written" in refuse("monitor", run, fresh)
    (run / "creditree.sha256").unlink()
    assert "has no baseline yet: it has not ended" in refuse("monitor", run, fresh)


def test_a_verifier_that_fails_is_not_taken_for_a_model_that_does(place: Path, run: Path, monitor: Monitor) -> None:
    rewards = run.parent / "rewards.py"
    rewards.write_text(
        "def score(completions, id, result):\n"
        "    return [None if name.endswith(('1', '2')) else 1.0 for name in id]\n"
        "def none(completions):\n"
        "    return [None for _ in completions]\n"
    )
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("reward: last_integer", f"reward: {rewards}:none"))
    assert "no completion got a reward, which says nothing of" in monitor(
        run, place / "fresh.csv", "--trust-run", code=2
    )
    (run / "config.yaml").write_text(config.replace("reward: last_integer", f"reward: {rewards}:score"))
    # Of n0 to n59, twelve end with 1 or 2.
    found = monitor(run, place / "fresh.csv", "--base", "--trust-run")
    assert (found["fresh"]["n"], found["fresh"]["value"], found["base"]["n"]) == (48, 1, 48)
    assert found["notes"][0].startswith(
        "Problems of which no completion got a reward, left out until the next call: 12"
    )
    assert "no completion got a reward" in monitor(run, place / "fresh.csv", "--trust-run", code=2)


def test_problems_that_were_trained_on_are_no_fresh_ones(
    place: Path, run: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = products(Multiplication(), 420)
    monkeypatch.chdir(place)
    write(place / "train.csv", problems[:300])
    try:
        mixed = write(place / "mixed.csv", [*problems[:300], *problems[300:310]])
        found = monitor(run, mixed)
    finally:
        (place / "train.csv").unlink()
    (note,) = found["notes"]
    trained_on = int(note.removeprefix("Problems that the run was trained on, and not counted: ").removesuffix("."))
    # 30 % are the test and 10 % validation: by the hash of the question, so about so many.
    assert 130 < trained_on < 230
    assert found["fresh"]["n"] == 310 - trained_on
