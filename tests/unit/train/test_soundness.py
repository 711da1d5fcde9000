"""Nothing that is not finite is kept, and there is always a sound state to go back to."""

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from creditree.batch import Batch
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Told
from creditree.errors import DataError, ModelError, NonFiniteError
from creditree.learner.learner import Learner
from creditree.learner.stats import StepStats
from creditree.ledger import Ledger
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.train.interrupt import Interrupted
from creditree.train.keeping import Keeper
from creditree.train.procedure import run_training
from creditree.train.settings import Settings
from creditree.train.trainer import Trainer
from tests.training import SETTINGS, Notes, Scripted, assert_same_end, parts_of, resumed, same, trainer_of

Step = Callable[[Learner, Batch, Key, float | None], StepStats]


def breaking(monkeypatch: pytest.MonkeyPatch, at: Sequence[int]) -> None:
    """Let the passes of some calls of `Learner.step`, counted from 0, give a loss that is not a number."""
    passes, calls = Learner.accumulate, iter(range(10**6))

    def broken(self: Learner, *given: Any) -> Any:
        found = passes(self, *given)
        return (float("nan"), *found[1:]) if next(calls) in at else found

    monkeypatch.setattr(Learner, "accumulate", broken)


def test_a_step_without_a_finite_loss_changes_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of six steps: weights and moments after it are those before it, to the bit; then training goes on."""
    trainer, notes = trainer_of(tmp_path / "run")
    states: dict[int, dict[str, Any]] = {}
    notes.after = lambda step: states.__setitem__(step, trainer.parts.learner.arrays())
    breaking(monkeypatch, [2])
    trainer.train()
    assert states[2].keys() == states[3].keys()
    assert all(np.array_equal(states[2][name], states[3][name]) for name in states[2])
    assert not same(notes.adapters[3], notes.adapters[4])
    assert (trainer.state.ledger.skipped, trainer.state.ledger.updates, trainer.state.ledger.no_signal) == (1, 5, 0)
    assert notes.records[2]["skipped"] == 1
    told = [message for message in notes.messages if "left out" in message]
    assert told == ["step 3: an update is left out: the loss is nan (problems 'training-4', 'training-5')"]
    assert all(json.dumps(record, allow_nan=False) for record in trainer.run.metrics())


def test_many_in_a_row_end_the_run_with_the_last_sound_state_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the fourth step on nothing is finite: the weights after the third, from which that came, are not trusted."""
    settings = replace(SETTINGS, steps=20, max_skipped=3, checkpoint_every=1, evaluation_problems=2)
    parts = parts_of()
    notes = Notes(parts.learner)
    breaking(monkeypatch, range(3, 100))
    with (
        RunDirectory.create(tmp_path, "seed: 0\n") as run,
        pytest.raises(
            ModelError, match=r"3 steps in a row were skipped, up to step 6: the loss is nan .*'training-10'"
        ),
    ):
        run_training(parts, settings, run, notes)
    assert same(notes.adapters[2], parts.learner.trained.state())
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "summary.json").exists()
    with RunDirectory.resume(tmp_path, "seed: 0\n") as run:
        checkpoint, said = run.restore()
    assert checkpoint is not None
    assert (checkpoint.step, said) == (2, [])
    assert [record["step"] for record in RunDirectory.read(tmp_path).metrics()] == [1, 2]


def test_the_checkpoint_that_is_known_to_be_sound_outlives_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 4 to 6 are skipped, and each has a checkpoint: that of step 2 has shown a finite gradient, and stays."""
    trainer, _ = trainer_of(tmp_path / "run", replace(SETTINGS, checkpoint_every=1))
    breaking(monkeypatch, range(3, 100))
    trainer.train()
    kept = sorted(folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-000002", "step-000005", "step-000006"]


class Sick(InProcessEngine):
    """An engine whose logits are not finite in some calls."""

    calls = 0
    at: Sequence[int] = ()

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Fail as the engine does, or sample."""
        self.calls += 1
        if self.calls - 1 in self.at:
            raise NonFiniteError("logits are NaN.")
        return super().sample(requests, sampling, told)


def test_logits_that_are_not_finite_skip_the_step_with_its_problems(tmp_path: Path) -> None:
    parts = parts_of()
    engine = Sick(parts.model)
    engine.at = [2]  # two calls a step: the first completions, and the replays
    parts = replace(parts, engine=engine)
    notes = Notes(parts.learner)
    trainer = Trainer(parts, replace(SETTINGS, steps=3), RunDirectory.create(tmp_path / "run", "seed: 0\n"), notes)
    trainer.train()
    reason = "the logits of sampling are NaN or infinite (problems 'training-2', 'training-3')"
    assert f"step 2: an update is left out: {reason}" in notes.messages
    assert same(notes.adapters[1], notes.adapters[2])
    assert not same(notes.adapters[2], notes.adapters[3])
    assert trainer.loop.pipeline.next_problem == 6


class Stale(InProcessEngine):
    """An engine that says other log-probabilities than the learner has, from some call on."""

    calls = 0
    since = 0
    off = 0.75

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Sample, and be off by as many nats a token."""
        found, cost = super().sample(requests, sampling, told)
        self.calls += 1
        off = self.off if self.calls > self.since else 0.0
        shifted = [[replace(s, logprobs=s.logprobs + off, sampler_logprobs=s.sampler_logprobs + off) for s in samples]
                   for samples in found]  # fmt: skip
        return shifted, cost


@pytest.mark.parametrize(("off", "words"), [(0.75, "0.75"), (float("nan"), "nan")])
def test_an_engine_that_samples_from_another_model_is_not_learned_from(off: float, words: str, tmp_path: Path) -> None:
    """The base is measured by one call, a step makes two: off from the third step on, which is skipped like the 4th."""
    parts = parts_of()
    engine = Stale(parts.model)
    engine.since, engine.off = 5, off
    parts = replace(parts, engine=engine)
    parts.learner.spec = replace(parts.learner.spec, max_mismatch=0.5)
    notes = Notes(parts.learner)
    settings = replace(SETTINGS, steps=20, max_skipped=2, evaluation_problems=2)
    ended = (
        rf"2 steps in a row were skipped, up to step 4: who samples and who learns differ by {words} nats a token, "
        r"above train.max_mismatch 0.5 \(problems 'training-6', 'training-7'\); the last sound state, after step 3, .*"
        r"another engine or model.dtype"
    )
    with RunDirectory.create(tmp_path, "seed: 0\n") as run, pytest.raises(ModelError, match=ended):
        run_training(parts, settings, run, notes)
    assert same(notes.adapters[2], parts.learner.trained.state())
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_rewards_that_overflow_are_no_lesson_and_named(tmp_path: Path) -> None:
    huge = Scripted(training=lambda text: 1e308 if len(text) % 2 else -1e308)
    trainer, _ = trainer_of(tmp_path / "run", replace(SETTINGS, max_skipped=2), huge)
    before = trainer.parts.learner.trained.state()
    with pytest.raises(NonFiniteError, match=r"2 steps in a row .*: a reward has the size 1e\+308, and above 1e\+30"):
        trainer.train()
    assert same(before, trainer.parts.learner.trained.state())


def test_nobody_judges_ends_the_run_before_what_could_not_be_judged(tmp_path: Path) -> None:
    """The judge fails from the third step on; when it is back, the run is the one that it would have been."""
    whole, _ = trainer_of(tmp_path / "whole")
    whole.train()
    down = [False]
    usual = Scripted().training
    verifier = Scripted(training=lambda text: None if down[0] else usual(text))
    settings = replace(SETTINGS, max_unjudged=2)
    trainer, notes = trainer_of(tmp_path / "run", settings, verifier)
    notes.after = lambda step: down.__setitem__(0, step >= 2)
    with pytest.raises(DataError, match=r"no completion got a reward in 2 training steps in a row \(lost\); .* step 2"):
        trainer.train()
    trainer.run.close()
    again, _ = resumed(tmp_path / "run")
    assert again.state.step == 2
    assert_same_end(again, whole)


def test_the_second_signal_keeps_the_last_whole_step(tmp_path: Path) -> None:
    """Both signals come while the fourth step is judged: three steps are kept, and the run goes on to the same end."""
    whole, _ = trainer_of(tmp_path / "whole")
    whole.train()
    trainer, notes = trainer_of(tmp_path / "run")
    usual, ring = Scripted().training, [False]

    def judged(text: str) -> float | None:
        if ring[0]:
            signal.raise_signal(signal.SIGTERM)
        return usual(text)

    trainer.parts.verifier.training = judged  # type: ignore[attr-defined]
    notes.after = lambda step: ring.__setitem__(0, step == 3)
    with pytest.raises(Interrupted) as stopped:
        trainer.train()
    assert (stopped.value.exit_code, trainer.state.step) == (143, 3)
    trainer.run.close()
    again, _ = resumed(tmp_path / "run")
    assert again.state.step == 3
    assert_same_end(again, whole)


def test_an_update_that_is_interrupted_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when the third update has changed the weights and not yet ended its step."""
    trainer, notes = trainer_of(tmp_path / "run")
    step = torch.optim.AdamW.step

    def interrupted(self: torch.optim.AdamW, *given: Any) -> Any:
        found = step(self, *given)
        if trainer.parts.learner.num_updates == 3:
            raise Interrupted(signal.SIGINT)
        return found

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(Interrupted):
        trainer.train()
    assert not same(notes.adapters[2], trainer.parts.learner.trained.state())
    checkpoint, _ = trainer.run.restore()
    assert checkpoint is not None
    assert checkpoint.step == 2
    trainer.restore()
    assert same(notes.adapters[2], trainer.parts.learner.trained.state())


def test_checkpoints_are_due_by_time_and_take_a_twentieth_of_it_at_most(tmp_path: Path) -> None:
    now = [0.0]
    trainer, _ = trainer_of(tmp_path / "run")
    keeper = Keeper(trainer.parts.learner, trainer.run, 60.0, lambda: now[0])
    keeper.begin(trainer._whole())
    now[0] = 59.0
    early, now[0] = keeper.is_due, 60.0
    assert (early, keeper.is_due) == (False, True)
    trainer.state.step = 1
    keeper.done(trainer._whole(), proven=True)
    saved, save = trainer.run.save, []

    def slow(*given: Any, **named: Any) -> None:
        saved(*given, **named)
        save.append(now[0])
        now[0] += 10.0  # so the next is due after 10 / .05 = 200 seconds

    trainer.run.save = slow  # type: ignore[method-assign]
    keeper.save()
    keeper.save()  # there is one of this step already
    assert save == [60.0]
    now[0] = 269.0
    early, now[0] = keeper.is_due, 270.0
    assert (early, keeper.is_due) == (False, True)


def test_settings_have_limits_by_default() -> None:
    assert (Settings().max_skipped, Settings().max_unjudged, Settings().checkpoint_every_s) == (5, 5, 60.0)
