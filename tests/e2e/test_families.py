"""Models that are run by their own forward pass, from the configuration to the adapter and back."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file

from creditree.cli.main import app
from creditree.config.load import load_config
from creditree.evaluate.summary import Summary
from creditree.report.shown import Shown
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into
from creditree.train.interrupt import Interrupted
from creditree.train.trainer import Trainer
from tests.e2e.command import Refuse, write_config
from tests.each_once import first_of
from tests.runs_alike import OF_THE_PROCESS
from tests.tiny_models import char_tokenizer, other_model

REWARD = "def parity(prompts, completions, **columns):\n    return [sum(map(ord, text)) % 2 for text in completions]\n"
METHODS: dict[str, dict[str, Any]] = {
    "gpt2": {"name": "t-spmo", "group": 6, "l2": 0.0},
    "gemma3_text": {"name": "grpo", "group": 4, "kl": 0.1},
    "mistral": {"name": "attnrl", "group": 3, "points": 1, "continuations": 1, "delta": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models and configurations of runs of two steps on them."""
    place = tmp_path_factory.mktemp("families")
    (place / "rewards.py").write_text(REWARD)
    for kind, method in METHODS.items():
        other_model(kind, torch.float32).save_pretrained(place / kind)
        char_tokenizer().save_pretrained(place / kind)
        write_config(
            place / f"{kind}.yaml",
            model=str(place / kind),
            method=method,
            reward=f"{place / 'rewards.py'}:parity",
            sampling={"temperature": 1.0, "max_new_tokens": 16},
            train={"steps": 2, "problems_per_step": 2, "learning_rate": 1e-2, "threads": 1},
            evaluation={"problems": 2, "temperatures": [0]},
            log={"checkpoint_every": 1, "rollouts_every": 0},
        )
    return place


def train(place: Path, kind: str, run: Path, *, resume: bool = False) -> Summary:
    """Train in this process; return the summary."""
    with (place / f"{run.name}.txt").open("w") as told:
        return train_into(load_config(place / f"{kind}.yaml"), run, Shown(Console(file=told, width=500)), resume=resume)


@pytest.fixture(scope="module")
def whole(place: Path) -> Summary:
    """The summary of a run on GPT-2 that was never interrupted."""
    return train(place, "gpt2", place / "run-gpt2")


@pytest.mark.parametrize("kind", first_of(METHODS, 1))
def test_it_trains_and_says_how_it_is_run(
    kind: str, whole: Summary, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place / f"run-{kind}"
    summary = whole if kind == "gpt2" else train(place, kind, run)
    assert summary.details.steps is not None
    assert summary.details.steps.updates == 2
    note = f"model '{place / kind}' is run by its own forward pass, which is slower than layer by layer: "
    assert note in (place / f"run-{kind}.txt").read_text()
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert "the forward pass of" in json.loads((run / "inputs.json").read_text())["engine"]
    app(["eval", str(run), "--problems", "2", "--temperature", "0", "--trust-run", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["n"] == 2


def test_interrupted_and_resumed_it_is_the_same_run(
    whole: Summary, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step = Trainer._one_step

    def interrupted(trainer: Trainer) -> None:
        one_step(trainer)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        with pytest.raises(Interrupted):
            train(place, "gpt2", place / "cut")
    train(place, "gpt2", place / "cut", resume=True)
    weights = [load_file(place / name / "adapter" / "adapter_model.safetensors") for name in ("run-gpt2", "cut")]
    assert {name: one.tobytes() for name, one in weights[0].items()} == {
        name: one.tobytes() for name, one in weights[1].items()
    }
    records = [
        [
            {k: v for k, v in record.items() if k not in OF_THE_PROCESS}
            for record in RunDirectory.read(place / name).metrics()
        ]
        for name in ("run-gpt2", "cut")
    ]
    assert records[0] == records[1]
    assert len(records[0]) == 2


def test_it_is_said_before_anything_is_loaded(place: Path, capsys: pytest.CaptureFixture[str], refuse: Refuse) -> None:
    config = str(place / "gpt2.yaml")
    words = "is run by its own forward pass, which is slower than layer by layer: GPT2LMHeadModel is not laid out"
    app(["show", config], standalone_mode=False)
    assert words in " ".join(capsys.readouterr().out.split())
    app(["train", config, "--dry-run"], standalone_mode=False)
    assert words in " ".join(capsys.readouterr().out.split())
    sentence = refuse("plan", config)
    assert words in sentence
    assert "its memory and work are not predicted beyond its " in sentence
    assert "without train.memory" in refuse("train", config, "--run", str(place / "no"), "--set", "train.memory=4GB")
