"""Going on learning from an earlier run, as a user types it: new data, a guard set, kills, and what is refused.

Commands that nobody kills run in this process, through the function that the command starts: an interpreter takes
seconds to start.
"""

import contextlib
import io
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from creditree.cli.main import run as run_command
from creditree.runs.directory import RunDirectory
from tests.e2e.command import SMALL, Refuse, start, write_config

TRAIN = SMALL["train"] | {"max_rows": 4}
"""Four completions are decoded together, so that a measurement of 20 problems has five parts."""


def write_rows(path: Path, factor: int, numbers: range, *tests: str) -> Path:
    """Write training rows of number * factor, and test rows as given."""
    rows = [f"{number}*{factor},{number}*{factor}=,{number * factor},train" for number in numbers]
    path.write_text("\n".join(["id,question,answer,split", *rows, *tests]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a configuration, data for two runs with the same test problems, and a guard set."""
    path = tmp_path_factory.mktemp("continue")
    write_config(path / "run.yaml", train=TRAIN, lora={"rank": 4})
    tests = [f"t{number},{number}*8=,{number * 8},test" for number in range(300, 320)]
    write_rows(path / "one.csv", 3, range(200, 260), *tests)
    write_rows(path / "two.csv", 7, range(200, 260), *tests)
    guard = [f"{number}*6=,{number * 6}" for number in range(400, 411)]
    (path / "guard.csv").write_text("\n".join(["question,answer", *guard, "200*7=,1400"]) + "\n", encoding="utf-8")
    return path


def typed(place: Path, *arguments: str) -> str:
    """Run a command from a folder, in this process; return what it printed."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(place)
        patch.setattr(sys, "argv", ["creditree", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run_command()
    assert stopped.value.code == 0, out.getvalue()
    return out.getvalue()


@pytest.fixture(scope="module")
def first(place: Path) -> Path:
    printed = typed(place, "train", "run.yaml", "--data", "one.csv", "--run", "runs/first")
    assert "measuring the base model" in printed
    return place / "runs" / "first"


ON = ("--from", "runs/first", "--data", "two.csv", "--guard", "guard.csv", "--set", "train.steps=8")


@pytest.fixture(scope="module")
def second(place: Path, first: Path) -> Path:
    printed = typed(place, "train", *ON, "--run", "runs/second")
    for words in ("going on from the adapter of runs/first", "measuring the adapter of runs/first", "\nguard: "):
        assert words in printed
    return place / "runs" / "second"


def summary_of(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


def test_before_is_what_the_first_run_had_in_the_end(first: Path, second: Path) -> None:
    one, two = RunDirectory.read(first), RunDirectory.read(second)
    for decoding in ("greedy", "T=0.3"):
        assert two.attempts(decoding, "base") == one.attempts(decoding, "trained")
        assert len(two.attempts(decoding, "trained")) == 20
    assert summary_of(second)["before"] == summary_of(first)["after"]
    assert summary_of(second)["start"]["before"] == "the adapter of runs/first"
    assert "- before: the adapter of runs/first" in (second / "report.md").read_text(encoding="utf-8")
    assert summary_of(second)["data"]["sha256"] == summary_of(first)["data"]["sha256"]
    assert summary_of(second)["data"]["training_sha256"] != summary_of(first)["data"]["training_sha256"]
    assert any(attempt.text for attempt in two.attempts("greedy", "base"))


def test_the_second_run_goes_on_from_the_adapter_and_changes_it(place: Path, first: Path, second: Path) -> None:
    old, new = (load_file(path / "adapter" / "adapter_model.safetensors") for path in (first, second))
    assert {name: array.shape for name, array in old.items()} == {name: array.shape for name, array in new.items()}
    moved = sum(float(abs(new[name] - old[name]).sum()) for name in old)
    assert 0 < moved < sum(float(abs(array).sum()) for array in old.values())
    config = RunDirectory.read(second).config_yaml
    assert "rank: 4" in config
    assert "start: runs/first" in config
    assert f"path: {place / 'two.csv'}" in config


def test_the_summary_says_whether_the_guard_set_got_worse(second: Path) -> None:
    guard = summary_of(second)["guard"]
    assert guard["n"] == 12
    assert guard["also_in_training"] == 1
    assert guard["worse"] in (True, False)
    change = guard["loss"]["difference"]
    assert change["value"] == pytest.approx(guard["loss"]["after"]["nats"] - guard["loss"]["before"]["nats"])
    assert change["interval"][0] <= change["value"] <= change["interval"][1]
    assert guard["accuracy"]["before"]["n"] == 12
    assert f"- {guard['conclusion']}" in (second / "report.md").read_text(encoding="utf-8")
    held = RunDirectory.read(second)
    for side, name in (("base", "before"), ("trained", "after")):
        rewards = [attempt.reward for attempt in held.attempts("guard", side)]  # type: ignore[arg-type]
        assert sum(rewards) / 12 == pytest.approx(guard["accuracy"][name]["accuracy"])  # type: ignore[arg-type]


def content(run: Path) -> dict[str, Any]:
    """Everything of a run that must not depend on interruptions."""
    directory, summary = RunDirectory.read(run), summary_of(run)
    places = [(decoding, side) for decoding in ("greedy", "T=0.3", "guard") for side in ("base", "trained")]
    kept = ("before", "after", "decoding", "tokens", "guard", "data", "start")
    return {
        "adapter": {n: a.tobytes() for n, a in load_file(directory.adapter / "adapter_model.safetensors").items()},
        "files": {name: directory.read_json(name) for name in ("evaluation.json", "guard.json", "start.json")},
        "attempts": [directory.attempts(*place) for place in places],  # type: ignore[arg-type]
        "summary": {name: summary[name] for name in kept},
        "rewards": [record["reward_mean"] for record in directory.metrics()],
    }


def kill_when(place: Path, run: str, is_time: Any, *options: str) -> None:
    """Start or continue the second run in another directory, and kill it as soon as `is_time` says so."""
    process = start("train", *ON, "--run", run, *options, cwd=place)
    while process.poll() is None and not is_time(place / run):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def measured_a_part(run: Path) -> bool:
    return (run / "measurement" / "greedy" / "base" / "part-000001.parquet").exists()


def made_three_steps(run: Path) -> bool:
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.read_bytes().count(b"\n") >= 3


def test_killed_while_measuring_and_while_training_and_resumed_equals_uninterrupted(place: Path, second: Path) -> None:
    run = place / "runs" / "killed"
    kill_when(place, "runs/killed", measured_a_part)
    assert not (run / "evaluation.json").exists()
    part = run / "measurement" / "greedy" / "base" / "part-000001.parquet"
    written = part.stat().st_mtime_ns
    kill_when(place, "runs/killed", made_three_steps, "--resume")
    assert part.stat().st_mtime_ns == written
    typed(place, "train", *ON, "--run", "runs/killed", "--resume")
    assert part.stat().st_mtime_ns == written
    assert content(run) == content(second)


def test_a_start_that_has_changed_is_refused(
    place: Path, second: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    weights = place / "runs" / "first" / "adapter" / "adapter_model.safetensors"
    held = weights.read_bytes()
    weights.write_bytes(held[:-4] + b"\0\0\0\1")
    try:
        sentence = refuse("train", *ON, "--run", "runs/second", "--resume")
    finally:
        weights.write_bytes(held)
    assert "runs/first/adapter has changed since run runs/second was started from it" in sentence
    assert "put back what it was, or choose another run directory" in sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["train", "--run", "runs/x"],
            "needs a configuration: name a YAML file, a finished run with --from, or both --model",
        ),
        (["train", "--from", "nowhere", "--dry-run"], "train.start 'nowhere' does not exist; give a run directory"),
        (["train", "--from", "alone", "--dry-run"], "'alone' lies in no run directory, so its task is not known"),
        (["train", "run.yaml", "--from", ".", "--dry-run"], "train.start '.' holds no run and no adapter"),
        (["train", "--from", "runs/first", "--dry-run", "--set", "lora.rank=8"], "lora.rank is 8, but the adapter of"),
        (
            ["train", "run.yaml", "--from", "alone", "--dry-run", "--set", "model=builtin:word_problems"],
            "model.name is",
        ),
        (["train", "--from", "runs/first", "--guard", "no.csv", "--run", "runs/x"], "no.csv does not exist"),
        (["train", "--from", "runs/first", "--data", "no.csv", "--run", "runs/x"], "no.csv does not exist"),
        (["train", "run.yaml", "--dry-run", "--set", "guard.problems=5"], "set guard.path, or remove guard"),
    ],
)
def test_what_cannot_be_gone_on_from(
    arguments: list[str], words: str, first: Path, place: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if not Path("alone").exists():
        shutil.copytree(first / "adapter", "alone")
    assert words in refuse(*arguments)
    assert not Path("runs/x/config.yaml").exists()


@pytest.mark.parametrize("command", [["train", *ON, "--dry-run"], ["plan", "planned.yaml"]])
def test_dry_run_and_plan_know_the_saved_adapter(command: list[str], first: Path, place: Path) -> None:
    more = {"train": TRAIN | {"start": "runs/first/adapter"}, "guard": {"path": "guard.csv"}, "lora": {}}
    write_config(place / "planned.yaml", **more)
    printed = json.loads(typed(place, *command, "--json"))
    if command[0] == "plan":
        assert printed["model"] == "builtin:multiplication"
    else:
        # Rank 4 on q_proj and v_proj of layers 4 and 5, half of the 5,120 numbers of rank 8.
        assert printed["step_at_most"]["trained_parameters"] == 2560
        assert printed["config"]["guard"]["path"] == str(place / "guard.csv")
