"""Code of others in a run: not run unasked, and unable to end, hang or silence a command."""

import json
from pathlib import Path

import pytest

from tests.e2e.command import Refuse, creditree, write_config

JUDGE = """
from pathlib import Path
Path(__file__).with_name("canary").touch()
def score(completions, **columns):
    return [1.0 for _ in completions]
"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a finished run, as far as it is read before anything of it runs, that names a function."""
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    (run / "judge.py").write_text(JUDGE)
    write_config(run / "config.yaml", reward="judge.py:score")
    after = {name: {"12*3=": 1} for name in ("greedy", "T=0.3")}
    (run / "evaluation.json").write_text(json.dumps({"before": after, "after": after}))
    return run


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "RUN", "--problems", "2"],
        ["monitor", "RUN", "fresh.csv"],
        ["train", "--from", "RUN", "--run", "new"],
        ["train", "--from", "RUN", "--dry-run"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_what_a_saved_run_names_does_not_run_unasked(
    command: list[str], saved: Path, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fresh.csv").write_text("question,answer\n2*3=,6\n")
    words = [str(saved) if word == "RUN" else word for word in command]
    sentence = refuse(*words)
    assert f"the function score in {saved / 'judge.py'}" in sentence
    assert "--trust-run" in sentence
    write_config(saved / "config.yaml", reward={"name": "program", "allow_execution": True})
    assert "'program', which runs what the model writes" in refuse(*words)
    assert not (saved / "canary").exists()
    assert not (tmp_path / "new").exists()


def test_it_runs_where_the_command_line_asks_for_it(saved: Path, refuse: Refuse) -> None:
    assert "--trust-run" not in refuse("eval", saved, "--problems", "2", "--reward", "last_integer")
    assert not (saved / "canary").exists()
    assert "--trust-run" not in refuse("eval", saved, "--problems", "2", "--trust-run")  # it has no adapter
    assert (saved / "canary").exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(0)", "it ended its process with exit code 0"),
        ("raise SystemExit", "it raises SystemExit"),
        ("while True: pass", "it took longer than 1 s (the option deadline)"),
        ("score = __import__('os').system", "is no reward function"),
    ],
)
def test_a_reward_that_cannot_be_imported_is_refused_before_training(
    source: str, reason: str, tmp_path: Path, refuse: Refuse
) -> None:
    (tmp_path / "judge.py").write_text(source)
    deadline = 1 if "longer than" in reason else 60
    config = write_config(tmp_path / "run.yaml", reward={"name": "judge.py:score", "deadline": deadline})
    assert reason in refuse("train", config, "--run", tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_reward_that_prints_hangs_and_leaves_does_not_spoil_the_output(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "import sys, time\n"
        "async def score(completions, answers):\n"
        "    print('looking', flush=True)\n"
        "    if completions[0] == '7':\n        sys.exit(0)\n"
        "    if completions[0] == '8':\n        time.sleep(600)\n"
        "    return [float(text in known) for text, known in zip(completions, answers)]\n"
    )
    rows = tmp_path / "rows.jsonl"
    found = {}
    for prediction, seconds, code in (("5", "60", 0), ("7", "60", 2), ("8", "2", 2)):  # 2: nothing was judged
        rows.write_text(json.dumps({"id": "a", "prediction": prediction, "answers": ["5"]}) + "\n")
        words = ("grade", rows, "--grader", f"{tmp_path}/judge.py:score", "--json", "--deadline", seconds)
        done = creditree(*words, code=code)
        (line,) = map(json.loads, done.stdout.splitlines())
        found[prediction] = (line["reward"], line["status"])
        assert "looking" in done.stderr
    assert found == {"5": (1.0, "ok"), "7": (None, "crash"), "8": (None, "timeout")}
