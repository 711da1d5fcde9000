"""What a run says of its pace on a GPU: the first step's seconds, and steps that no graph launched."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from creditree.engines.static.decoder import StaticDecoder
from creditree.engines.static.record import Recorder
from creditree.ledger import Ledger
from creditree.runs.directory import RunDirectory
from creditree.train.pace import eager_words, first_step
from creditree.train.procedure import run_training
from creditree.train.trainer import Trainer
from tests.strict_graphs import StrictGraphs
from tests.training import SETTINGS, Notes, parts_of
from tests.unit.engines.test_static import static_engine


def recorded_trainer(path: Path, graphs: StrictGraphs) -> tuple[Trainer, Notes]:
    """Return a trainer whose engine records its steps on a fake device."""
    parts = parts_of()
    engine = static_engine(parts.model)
    decoder = engine._decoder()
    assert isinstance(decoder, StaticDecoder)
    decoder.recorder = Recorder(torch.device("cpu"), graphs=graphs)
    notes = Notes(parts.learner)
    parts = replace(parts, engine=engine)
    return Trainer(parts, SETTINGS, RunDirectory.create(path, "seed: 0\n"), notes), notes


def test_the_first_step_says_where_its_seconds_went(tmp_path: Path) -> None:
    trainer, notes = recorded_trainer(tmp_path / "run", StrictGraphs())
    trainer.train()
    said = [text for text in notes.messages if " took " in text]
    assert len(said) == 1
    assert re.fullmatch(r"step 1 took .* with \d+ decoding steps? recorded as graphs and kernels compiled .*", said[0])
    assert notes.records[-1]["eager"] == 0
    assert notes.records[-1]["captures"] == trainer.state.ledger.captures > 0


def test_steps_that_no_graph_launched_are_a_metric_one_message_and_a_sentence_of_the_summary(tmp_path: Path) -> None:
    trainer, notes = recorded_trainer(tmp_path / "run", StrictGraphs(broken=99))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        summary = run_training(trainer.parts, SETTINGS, trainer.run, notes)
    said = [text for text in notes.messages if "kernel by kernel" in text]
    assert len(said) == 1
    assert said[0].startswith("warning: step 1: ")
    assert "update PyTorch" in said[0]
    eager = notes.records[-1]["eager"]
    assert isinstance(eager, int)
    assert eager > 0
    assert notes.records[-1]["captures"] == 0
    assert str(summary.details.eager) in (trainer.run.path / "report.md").read_text()


@pytest.mark.parametrize(("cost", "expected"), [(Ledger(captures=1), "1 decoding step recorded"), (Ledger(), None)])
def test_words_of_the_first_step(cost: Ledger, expected: str | None) -> None:
    """28 s in all: 5.7 of sampling, 22.3 of learning; the two seconds of measuring are no part of a step."""
    before, after = {"sample": 1.0, "evaluate": 0.0}, {"sample": 6.7, "learn": 22.3, "evaluate": 2.0}
    found = first_step(1, before, after, cost)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith("step 1 took 28.0 s (sampling 5.7 s, learning 22.3 s), with " + expected)


def test_nothing_is_said_where_every_step_was_launched_by_a_graph() -> None:
    assert eager_words(Ledger(captures=5)) is None
