"""The training loop with fake tasks and verifiers: best by validation, patience, no signal, Ctrl-C, metrics."""

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from torch import Tensor

from creditree.batch import Batch, pack
from creditree.credit.rloo import Rloo
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Pulse, Told
from creditree.errors import ConfigError, DataError, ModelError
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.stats import StepStats
from creditree.learner.stretches import stretches_of
from creditree.ledger import Ledger, Seconds
from creditree.methods import METHODS, Method
from creditree.models.adapter import Adapter
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.runs.directory import RunDirectory, Side
from creditree.select.everything import Everything
from creditree.tasks.task import PromptTemplate
from creditree.train.examination import examined
from creditree.train.interrupt import Interrupted, finishing
from creditree.train.minibatches import Size, minibatches
from creditree.train.procedure import run_training
from creditree.train.rollout import Rollout
from creditree.train.settings import Settings, Validation, check_context
from creditree.train.start import Start
from creditree.train.step import learn
from creditree.train.trainer import Trainer
from creditree.tree import IntArray
from tests.forests import EOS, assigned, branch, root
from tests.rollouts import train_step
from tests.training import SETTINGS, Notes, Scripted, Sums, assert_same_end, parts_of, resumed, same, trainer_of


@pytest.mark.parametrize(
    ("step", "seconds", "expected"),
    [(0, 0.0, 1.0), (5, 0.0, 0.55), (9, 0.0, 0.19), (10, 0.0, 0.1), (25, 0.0, 0.1), (3, 999.0, 0.73)],
)
def test_the_learning_rate_falls_in_a_line(step: int, seconds: float, expected: float) -> None:
    """Over 10 steps from 1 to a tenth: 1 - 0.9 * step / 10. Seconds do not matter without a budget of them."""
    settings = Settings(steps=10, learning_rate=1.0, final_learning_rate=0.1)
    assert settings.learning_rate_at(step, spent(seconds, seconds)) == pytest.approx(expected)


def spent(cpu: float, wall: float) -> Seconds:
    """Return seconds of which half are in sampling and half in learning, beside 1000 in measuring."""
    return Seconds(
        {"sample": wall / 2, "learn": wall / 2, "evaluate": 1000.0},
        {"sample": cpu / 2, "learn": cpu / 2, "evaluate": 1e3},
    )


@pytest.mark.parametrize(
    ("step", "cpu", "wall", "expected"),
    [
        (0, 0.0, 0.0, 2.0),
        (2, 40.0, 40.0, 1.2),  # 0.2 by steps, 0.4 by the processor, 0.2 by the clock: 2 * (1 - 0.4)
        (2, 40.0, 140.0, 0.6),  # 0.7 by the clock: 2 * (1 - 0.7)
        (5, 10.0, 20.0, 1.0),
        (0, 100.0, 0.0, 0.0),
        (0, 0.0, 200.0, 0.0),
        (1, 500.0, 500.0, 0.0),
    ],
)
def test_the_learning_rate_follows_the_nearest_limit(step: int, cpu: float, wall: float, expected: float) -> None:
    """10 steps, 100 s of the processor, or 200 s of the clock."""
    settings = Settings(steps=10, cpu_seconds=100.0, seconds=200.0, learning_rate=2.0, final_learning_rate=0.0)
    assert settings.learning_rate_at(step, spent(cpu, wall)) == pytest.approx(expected)


def test_sampled_tokens_are_a_limit_too() -> None:
    """100 tokens: with 25 of them sampled, 2 * (1 - 0.25); the course of training is the share of the nearest limit."""
    settings = Settings(steps=11, tokens=100, learning_rate=2.0, final_learning_rate=0.0)
    assert settings.learning_rate_at(1, Seconds(), 25) == pytest.approx(1.5)
    assert settings.progress(1, Seconds(), 120) == pytest.approx(1.2)
    assert [settings.course(step, Seconds(), 25) for step in (0, 5, 10)] == pytest.approx([0.25, 0.5, 1.0])
    assert settings.course(1, Seconds(), 120) == 1.0
    assert Settings(steps=1).course(0, Seconds()) == 0.0  # the only step is the first


def test_the_learning_rate_is_constant_by_default() -> None:
    assert {Settings(learning_rate=0.3).learning_rate_at(step, spent(1e9, 1e9)) for step in (0, 50, 100, 1000)} == {0.3}


def test_a_run_takes_its_steps_and_learns(tmp_path: Path) -> None:
    trainer, notes = trainer_of(tmp_path / "run")
    before = trainer.parts.learner.trained.state()
    trainer.train()
    assert [record["step"] for record in notes.records] == [1, 2, 3, 4, 5, 6]
    assert trainer.state.step == 6
    assert trainer.state.ledger.updates > 0
    assert not same(before, trainer.parts.learner.trained.state())
    trainer.use_best()  # no validation: the last adapter stays
    assert same(notes.adapters[6], trainer.parts.learner.trained.state())
    checkpoint, _ = trainer.run.restore()
    assert checkpoint is not None
    assert checkpoint.step == 6


def test_training_is_a_function_of_the_seed(tmp_path: Path) -> None:
    states = []
    for index, seed in enumerate((1, 1, 2)):
        trainer, _ = trainer_of(tmp_path / str(index), replace(SETTINGS, seed=seed, steps=2))
        trainer.train()
        states.append(trainer.parts.learner.trained.state())
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


def test_early_stopping_puts_the_best_adapter_back(tmp_path: Path) -> None:
    """Validations at steps 2, 4, 6, ... find .2, .6, .4, .4: two without a better one, so step 8 is the last."""
    verifier = Scripted([0.2, 0.6, 0.4, 0.4, 1.0])
    settings = replace(SETTINGS, steps=50, validation=Validation(every=2, problems=5, patience=2))
    trainer, notes = trainer_of(tmp_path / "run", settings, verifier)
    trainer.train()
    assert trainer.state.step == 8
    assert verifier.validations == 4
    assert [record["validation_accuracy"] for record in notes.records] == [None, 0.2, None, 0.6, None, 0.4, None, 0.4]
    assert (trainer.state.best_reward, trainer.state.best_step, trainer.state.worse) == (0.6, 4, 2)
    assert same(notes.adapters[8], trainer.parts.learner.trained.state())
    assert not same(notes.adapters[4], notes.adapters[8])
    trainer.use_best()
    assert same(notes.adapters[4], trainer.parts.learner.trained.state())


def test_an_equal_validation_is_not_a_better_one_and_a_better_one_resets_patience(tmp_path: Path) -> None:
    """Worse is counted 0, 1, 0, 1, 2: .4, .4 (equal), .6, .2, .6 (equal)."""
    verifier = Scripted([0.4, 0.4, 0.6, 0.2, 0.6, 1.0])
    settings = replace(SETTINGS, steps=50, problems_per_step=1, validation=Validation(every=1, problems=5, patience=2))
    trainer, notes = trainer_of(tmp_path / "run", settings, verifier)
    trainer.train()
    assert (trainer.state.step, trainer.state.best_step) == (5, 3)
    trainer.use_best()
    assert same(notes.adapters[3], trainer.parts.learner.trained.state())


def test_without_patience_validation_chooses_but_does_not_stop(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=4, problems_per_step=1, validation=Validation(every=1, problems=5))
    trainer, _ = trainer_of(tmp_path / "run", settings, Scripted([0.6, 0.4, 0.2, 0.0]))
    trainer.train()
    assert (trainer.state.step, trainer.state.best_step, trainer.state.worse) == (4, 1, 3)


def test_the_best_adapter_and_the_patience_survive_an_interruption(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=3, problems_per_step=1, validation=Validation(every=1, problems=5, patience=2))
    trainer, notes = trainer_of(tmp_path / "run", settings, Scripted([0.2, 0.6, 0.4]))
    trainer.train()
    trainer.run.close()
    again, _ = resumed(tmp_path / "run", replace(settings, steps=50), Scripted([0.4, 1.0]))
    assert (again.state.step, again.state.best_step, again.state.worse) == (3, 2, 1)
    assert again.state.ledger == trainer.state.ledger
    again.train()
    assert again.state.step == 4
    again.use_best()
    assert same(notes.adapters[2], again.parts.learner.trained.state())


WITH_BASELINE = [name for name, make in METHODS.items() if make().credit.name != "accepted"]
"""What all completions get right is learned by rejection sampling too."""


@pytest.mark.parametrize("name", WITH_BASELINE)
def test_steps_without_signal_are_counted_and_change_nothing(name: str, tmp_path: Path) -> None:
    """Every reward is 1; the penalties alone move nothing either."""
    preset = METHODS[name]()
    flat = Replay(4, 1, 1) if name == "t-spmo" else Group(4)
    explore = preset.explore if preset.looks_at_steps else flat
    method = Method(name, "", explore, preset.credit, preset.select, preset.objective)
    trainer, notes = trainer_of(tmp_path / "run", replace(SETTINGS, steps=3), Scripted(training=lambda _: 1.0), method)
    before = trainer.parts.learner.trained.state()
    trainer.train()
    ledger = trainer.state.ledger
    assert (ledger.no_signal, ledger.updates, ledger.forwarded, ledger.in_loss) == (3, 0, 0, 0)
    assert ledger.sampled > 0
    assert [record["signal_share"] for record in notes.records] == [0.0, 0.0, 0.0]
    assert [record["mixed_share"] for record in notes.records] == [0.0, 0.0, 0.0]
    assert [record["reward_mean"] for record in notes.records] == [1.0, 1.0, 1.0]
    assert same(before, trainer.parts.learner.trained.state())


def test_steps_without_any_reward_are_counted_and_told_once(tmp_path: Path) -> None:
    trainer, notes = trainer_of(tmp_path / "run", replace(SETTINGS, steps=2), Scripted(training=lambda _: None))
    before = trainer.parts.learner.trained.state()
    trainer.train()
    ledger = trainer.state.ledger
    assert ledger.failed_verdicts == ledger.completions == 2 * 2 * 6
    assert ledger.no_signal == 2
    assert [record["reward_mean"] for record in notes.records] == [None, None]
    told = [one for one in notes.messages if "got no reward" in one]
    assert told == ["step 1: a completion got no reward and is not trained on: lost"]
    assert same(before, trainer.parts.learner.trained.state())
    for record in notes.records:
        json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("limit", ["cpu_seconds", "seconds"])
def test_time_can_end_a_run_and_one_step_is_always_taken(tmp_path: Path, limit: str) -> None:
    trainer, _ = trainer_of(tmp_path / "run", replace(SETTINGS, steps=50, **{limit: 1e-9}))  # type: ignore[arg-type]
    trainer.train()
    assert trainer.state.step == 1
    assert trainer.state.seconds.training_cpu > 0


def test_sampled_tokens_end_a_run_after_the_step_that_reaches_them(tmp_path: Path) -> None:
    whole, notes = trainer_of(tmp_path / "whole")
    whole.train()
    third = notes.records[2]["sampled"]
    assert isinstance(third, int)
    trainer, _ = trainer_of(tmp_path / "run", replace(SETTINGS, tokens=third))
    trainer.train()
    assert (trainer.state.step, trainer.state.ledger.sampled) == (3, third)


def test_a_run_that_pauses_and_goes_on_is_the_run_that_did_not_pause(tmp_path: Path) -> None:
    whole, notes = trainer_of(tmp_path / "whole")
    whole.train()
    tokens = notes.records[1]["sampled"]
    assert isinstance(tokens, int)
    trainer, _ = trainer_of(tmp_path / "run")
    trainer.train(pause=tokens - 1)
    assert (trainer.state.step, trainer.is_finished) == (2, False)
    trainer.run.close()
    again, again_notes = resumed(tmp_path / "run")
    assert again_notes.messages == ["continuing after step 2"]
    assert_same_end(again, whole)


def interrupt_at(step: int, times: int = 1) -> Callable[[int], None]:
    def after(done: int) -> None:
        if done == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return after


def test_the_first_ctrl_c_stops_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    whole, _ = trainer_of(tmp_path / "whole")
    whole.train()
    trainer, notes = trainer_of(tmp_path / "run")
    notes.after = interrupt_at(3)
    with pytest.raises(Interrupted) as stopped:
        trainer.train()
    assert stopped.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert trainer.state.step == 3
    assert notes.messages[-1] == (
        "SIGINT: stopping after this step, or without it in 3 s; press Ctrl-C again to stop at once"
    )
    trainer.run.close()

    again, again_notes = resumed(tmp_path / "run")
    assert again_notes.messages == ["continuing after step 3"]
    assert_same_end(again, whole)
    assert [record["step"] for record in again_notes.records] == [4, 5, 6]
    assert again.elapsed_s > trainer.state.earlier_s


def test_a_step_that_lasts_is_stopped_in_its_midst_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = trainer_of(tmp_path / "whole")
    whole.train()
    trainer, _ = trainer_of(tmp_path / "run")
    monkeypatch.setattr("creditree.train.trainer.finishing", partial(finishing, grace_s=0.01))

    class Slow(InProcessEngine):
        """Needs for ever from its sixth call on: the second of the third step."""

        calls = 0

        def sample(
            self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
        ) -> tuple[list[list[Sample]], Ledger]:
            self.calls += 1
            found = super().sample(requests, sampling, told)
            if self.calls == 6:
                signal.raise_signal(signal.SIGTERM)
                while True:
                    assert told is not None
                    told(Pulse(1))
            return found

    loop = trainer.loop
    loop.rollout = loop.pipeline.rollout = replace(loop.rollout, engine=Slow(trainer.parts.model))
    with pytest.raises(Interrupted) as stopped:
        trainer.train()
    assert stopped.value.exit_code == 143
    assert trainer.state.step == 2
    trainer.run.close()

    again, _ = resumed(tmp_path / "run")
    assert again.state.step == 2
    assert_same_end(again, whole)


def test_ctrl_c_after_the_last_step_is_no_interruption(tmp_path: Path) -> None:
    trainer, notes = trainer_of(tmp_path / "run", replace(SETTINGS, steps=2))
    notes.after = interrupt_at(2)
    trainer.train()


def test_the_second_ctrl_c_interrupts_at_once(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    trainer, notes = trainer_of(tmp_path / "run")
    notes.after = interrupt_at(2, times=2)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert signal.getsignal(signal.SIGINT) is handler
    assert trainer.state.step == 2


def test_an_error_keeps_the_steps_before_it(tmp_path: Path) -> None:
    """The third step's problem has no prompt: the first two steps are in a checkpoint, and the error is raised."""

    @dataclass(frozen=True, slots=True)
    class Holed(Sums):
        def training(self, key: Key, index: int) -> Problem:
            return replace(Sums.training(self, key, index), question="" if index == 4 else "1+1=")

    parts = replace(parts_of(), task=Holed())
    trainer = Trainer(parts, SETTINGS, RunDirectory.create(tmp_path / "run", "seed: 0\n"), Notes(parts.learner))
    with pytest.raises(DataError, match="has no token"):
        trainer.train()
    checkpoint, _ = trainer.run.restore()
    assert checkpoint is not None
    assert checkpoint.step == 2


def test_steps_that_nobody_can_read_are_told_once(tmp_path: Path) -> None:
    """Random weights end no completion within two tokens."""
    trainer, notes = trainer_of(tmp_path / "run", replace(SETTINGS, steps=4, max_new_tokens=2))
    trainer.train()
    (told,) = [one for one in notes.messages if "cut off" in one]
    assert told.startswith("step 1: 29 of 30 completions were cut off at 2 tokens")
    assert told.endswith("Set sampling.max_new_tokens to 8, or ask for a shorter answer in task.prompt.text.")


def test_metrics_are_complete_and_plain(tmp_path: Path) -> None:
    settings = replace(SETTINGS, final_learning_rate=0.1, validation=Validation(every=3, problems=5))
    trainer, notes = trainer_of(tmp_path / "run", settings, Scripted([0.2, 0.6]))
    trainer.train()
    keys = {
        "step", "reward_mean", "mixed_share", "signal_share", "loss", "grad_norm", "l2_grad_norm", "clip_fraction",
        "sampler_mismatch_mean", "sampler_mismatch_rms", "sampler_mismatch_max",
        "surprisal", "memory_peak", "useful_share", "selected_share", "problems", "problems_trained", "rows",
        "schedule_problems",
        "learning_rate", "validation_accuracy", "validation_reward", "seconds", "cpu_seconds", "seconds_by_phase",
    } | set(Ledger().as_dict())  # fmt: skip
    for record in notes.records:
        assert set(record) == keys
        assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert trainer.run.metrics() == notes.records
    last = notes.records[-1]
    for name, value in trainer.state.ledger.as_dict().items():
        assert last[name] == value
        counts = [record[name] for record in notes.records]
        assert counts == sorted(counts)  # type: ignore[type-var]
    assert last["decoded"] == last["unique_prefixes"]
    assert last["updates"] + last["no_signal"] == 6  # type: ignore[operator]
    assert last["signal_share"] == trainer.state.ledger.updates / 6
    rates = [settings.learning_rate_at(step, spent(0.0, 0.0)) for step in range(6)]
    assert [record["learning_rate"] for record in notes.records] == pytest.approx(rates)
    phases = last["seconds_by_phase"]
    assert isinstance(phases, dict)
    assert set(phases) == {"sample", "judge", "explore", "credit", "learn", "validate"}
    assert last["seconds"] == pytest.approx(sum(phases.values()), abs=1e-3)


def test_the_learning_rate_reaches_the_optimiser(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=3, final_learning_rate=0.5)
    trainer, _ = trainer_of(tmp_path / "run", settings)
    trainer.train()
    assert trainer.parts.learner.optimiser.param_groups[0]["lr"] == pytest.approx(1e-2 * (1 - 0.5 * 2 / 3))


@pytest.mark.parametrize(("every", "steps"), [(0, []), (2, [2, 4, 6]), (4, [4, 6]), (10, [6])])
def test_rollouts_are_kept_when_they_are_due(every: int, steps: list[int], tmp_path: Path) -> None:
    trainer, notes = trainer_of(tmp_path / "run", replace(SETTINGS, rollouts_every=every))
    trainer.train()
    assert trainer.run.rollout_steps() == steps
    for step in steps:
        rows = trainer.run.rollouts(step)
        now, before = notes.records[step - 1]["completions"], notes.records[step - 2]["completions"]
        assert len(rows) == now - before  # type: ignore[operator]


def test_a_steps_ledger_sums_what_it_did() -> None:
    """Micro-batches of 16 tokens repeat nothing: what the batch holds is forwarded once."""
    parts = parts_of()
    rollout = Rollout(parts.model, parts.engine, parts.verifier, PromptTemplate(), Sampling(0.7), 8)
    seconds = Seconds()
    problems = [Sums().training(Key.of(3), index) for index in range(3)]
    result = train_step(parts, rollout, problems, Key.of(2), 1e-3, seconds)
    cost, trees = result.cost, [tree for forest in result.forests for tree in forest]
    assert len(result.forests) == 3
    assert cost.completions == sum(len(tree.branches) for tree in trees)
    assert cost.sampled == sum(len(branch.token_ids) for tree in trees for branch in tree.branches)
    assert cost.decoded == cost.unique_prefixes
    batch = pack(result.forests, result.advantages, result.weights, keep_zero_advantage=False)
    assert len(stretches_of(batch, 16)) > 1
    assert cost.forwarded == result.stats.forwarded == batch.num_tokens
    assert cost.in_loss == result.stats.in_loss == batch.num_terms
    assert (cost.updates, cost.no_signal, cost.failed_verdicts) == (1, 0, 0)
    assert set(seconds.wall) == {"sample", "judge", "explore", "credit", "learn"}
    first = [forest[0].rewards(forest[0].leaves) for forest in result.forests]
    assert result.reward_mean == pytest.approx(float(np.concatenate(first).mean()))
    assert result.mixed_share == np.mean([len(set(rewards.tolist())) > 1 for rewards in first])


GRPO = Method("grpo", "", Group(6), METHODS["grpo"]().credit, Everything(loss_mean="tokens"), Clipped())


def test_mini_batches_make_several_updates_of_one_step() -> None:
    """Eight problems of 6 completions, 12 a mini-batch: four updates, each with its own mean over its tokens."""
    parts = parts_of(method=GRPO)
    rollout = Rollout(parts.model, parts.engine, parts.verifier, PromptTemplate(), Sampling(1.0), 8)
    problems = [Sums().training(Key.of(3), index) for index in range(8)]
    result = train_step(parts, rollout, problems, Key.of(2), 0.1, Seconds(), mini_batch=12)
    assert result.cost.updates == parts.learner.num_updates == 4
    assert result.cost.no_signal == 0
    whole = pack(result.forests, result.advantages, result.weights, keep_zero_advantage=True)
    assert result.cost.forwarded == result.stats.forwarded == whole.num_tokens
    assert result.cost.in_loss == result.stats.in_loss == whole.num_terms

    again = parts_of(method=GRPO)
    sizes = [Size.of(forest, field) for forest, field in zip(result.forests, result.advantages, strict=True)]
    losses = []
    for number, chosen in enumerate(minibatches(sizes, 12, Key.of(2).at("minibatches"))):
        weights = [result.weights[index] for index in chosen]
        tokens = sum(float(w.sum()) for forest in weights for tree in forest for w in tree if w is not None)
        batch = pack(
            [result.forests[index] for index in chosen],
            [result.advantages[index] for index in chosen],
            weights,
            keep_zero_advantage=True,
            normaliser=tokens,
        )
        losses.append(again.learner.step(batch, Key.of(number), 0.1).loss)
    assert same(parts.learner.trained.state(), again.learner.trained.state())
    assert result.stats.loss == pytest.approx(np.mean(losses), abs=1e-12)
    assert result.stats.clip_fraction > 0


def test_a_step_without_mini_batches_is_one_update_of_all_problems() -> None:
    states = []
    for mini_batch in (None, 1000):
        parts = parts_of(method=GRPO)
        rollout = Rollout(parts.model, parts.engine, parts.verifier, PromptTemplate(), Sampling(1.0), 8)
        problems = [Sums().training(Key.of(3), index) for index in range(3)]
        assert train_step(parts, rollout, problems, Key.of(2), 1e-2, Seconds(), mini_batch).cost.updates == 1
        states.append(parts.learner.trained.state())
    assert same(*states)


def test_the_trunk_that_sampling_stored_serves_every_mini_batch() -> None:
    """Layers below the first adapted one do not change: the same step with and without the store, and it is used."""

    @dataclass
    class Counted:
        engine: InProcessEngine
        found: int = 0

        def trunk(self, handles: IntArray) -> Tensor | None:
            stored = self.engine.trunk(handles)
            self.found += stored is not None
            return stored

    states = []
    for stored in (False, True):
        parts = parts_of(method=GRPO)
        engine = InProcessEngine(parts.model, keep_layer=parts.learner.trained.first_layer)
        store = Counted(engine)
        parts = replace(parts, engine=engine)
        # eps 1: an update in proportion to its gradient, so that rounding stays rounding
        spec = OptimiserSpec(1e-2, eps=1.0, micro_batch_tokens=16)
        learner = Learner(parts.learner.trained, GRPO.objective, spec, store if stored else None)
        parts = replace(parts, learner=learner)
        rollout = Rollout(parts.model, engine, parts.verifier, PromptTemplate(), Sampling(1.0), 8)
        problems = [Sums().training(Key.of(3), index) for index in range(4)]
        result = train_step(parts, rollout, problems, Key.of(2), 1e-2, Seconds(), mini_batch=6)
        assert store.found == (result.cost.updates if stored else 0)
        assert result.cost.updates > 1
        states.append(parts.learner.trained.state())
    assert all(torch.allclose(states[0][name], states[1][name], atol=1e-7) for name in states[0])


def test_forests_that_were_grown_elsewhere_are_learned_from_alike() -> None:
    one, other = parts_of(), parts_of()
    rollout = Rollout(one.model, one.engine, one.verifier, PromptTemplate(), Sampling(0.7), 8)
    problems, key = [Sums().training(Key.of(3), index) for index in range(2)], Key.of(2)
    result = train_step(one, rollout, problems, key, 1e-2, Seconds())
    keys = [key.at("problem", index) for index in range(2)]
    learned = learn(other, result.forests, keys, key, 1e-2, Seconds(), Ledger(sampled=5))
    assert same(one.learner.trained.state(), other.learner.trained.state())
    assert (learned.cost.sampled, learned.cost.forwarded, learned.cost.updates) == (5, result.cost.forwarded, 1)


def test_a_token_that_completions_share_learns_as_a_row_of_each_would() -> None:
    """Of 3 completions of 20, 2 and 2 tokens only the first is right: A = 1, -1/2, -1/2. Its first token is also the
    second's: 1 / (3 * 20) - 1/2 / (3 * 2) = -1/15."""
    parts = parts_of(method=Method("m", "", Group(3), Rloo(), Everything(), PolicyGradient()))
    tree = root().grown(branch([4] * 19 + [EOS], 1.0), branch([EOS], 0.0, 0, 1), branch([6, EOS], 0.0))
    learned = learn(parts, [(tree,)], [Key.of(0)], Key.of(1), 1e-2, Seconds(), Ledger())
    (advantages,), (weights,) = learned.advantages[0], learned.weights[0]
    assert assigned(advantages[0])[0] * assigned(weights[0])[0] == pytest.approx(-1 / 15, abs=1e-15)
    assert learned.stats.updated


def test_mini_batches_survive_an_interruption(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=4, problems_per_step=4, mini_batch=6)
    whole, expected = trainer_of(tmp_path / "whole", settings, method=GRPO)
    whole.train()
    assert whole.state.ledger.updates > 4
    assert [record["signal_share"] for record in expected.records] == [1.0] * 4
    trainer, notes = trainer_of(tmp_path / "run", settings, method=GRPO)
    notes.after = interrupt_at(2)
    with pytest.raises(Interrupted):
        trainer.train()
    trainer.run.close()
    assert_same_end(resumed(tmp_path / "run", settings, method=GRPO)[0], whole)


def test_a_step_that_fails_after_a_part_of_its_updates_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third update fails, in the first step, and with it the run: what was learned by then belongs to no step."""
    trainer, _ = trainer_of(tmp_path / "run", replace(SETTINGS, problems_per_step=4, mini_batch=6), method=GRPO)
    learner, step = trainer.parts.learner, Learner.step

    def failing(
        self: Learner, batch: Batch, key: Key, learning_rate: float | None = None, *, at_old: bool = False
    ) -> StepStats:
        if self.num_updates == 2:
            raise ModelError("lost")
        return step(self, batch, key, learning_rate, at_old=at_old)

    monkeypatch.setattr(Learner, "step", failing)
    with pytest.raises(ModelError, match="lost"):
        trainer.train()
    assert learner.num_updates == 2
    assert trainer.run.restore()[0] is None


def test_evaluation_can_switch_the_adapter_off(tmp_path: Path) -> None:
    trainer, _ = trainer_of(tmp_path / "run", verifier=Scripted(training=lambda text: float(len(text) % 2)))
    with torch.no_grad():
        for matrix in trainer.parts.learner.matrices:
            matrix.add_(1.0)
    adapted, base = examined(trainer, "trained")["greedy"], examined(trainer, "base")["greedy"]
    assert adapted.num_tokens != base.num_tokens or adapted.correct != base.correct
    assert set(base.correct) == {f"test-{n}" for n in range(4)}
    assert trainer.state.seconds.wall.keys() == {"evaluate"}
    assert trainer.state.seconds.training_cpu == 0


def test_a_run_that_goes_on_is_measured_against_its_start_even_after_steps(tmp_path: Path) -> None:
    """As after a resume: the trained weights are put back, and what was measured first is not sampled again."""
    trainer, _ = trainer_of(tmp_path / "run", verifier=Scripted(training=lambda text: float(len(text) % 2)))
    trained = trainer.parts.learner.trained
    assert isinstance(trained, Adapter)
    with torch.no_grad():
        for matrix in trained.matrices:
            matrix.add_(1.0)
    (tmp_path / "start").mkdir()
    trained.save(tmp_path / "start")
    trainer.parts = replace(trainer.parts, start=Start.of(str(tmp_path / "start")))
    with torch.no_grad():
        for matrix in trained.matrices:
            matrix.mul_(-2.0)
    trainer.state.step, now = 3, trained.state()
    start, after = examined(trainer, "base")["greedy"], examined(trainer, "trained")["greedy"]
    assert same(now, trained.state())
    assert start.num_tokens != after.num_tokens or start.correct != after.correct
    trained.load(tmp_path / "start")
    trainer.state.step = 0
    trainer.run.forget_measurement("base")
    assert examined(trainer, "base")["greedy"].attempts == start.attempts


def attempts_of(path: Path) -> list[Attempt]:
    return RunDirectory.read(path).attempts("greedy", "trained")


def test_what_was_measured_after_training_is_kept_unless_steps_are_made_again(tmp_path: Path) -> None:
    """A part from elsewhere stands for one of an earlier process, whose time-limited steps were others."""

    def resumed() -> None:
        with RunDirectory.resume(tmp_path, "seed: 0\n") as run:
            run_training(parts_of(), replace(SETTINGS, steps=2), run, Notes(parts_of().learner))

    resumed()
    found = attempts_of(tmp_path)
    other = [replace(attempt, text="from elsewhere") for attempt in found]
    with RunDirectory.resume(tmp_path, "seed: 0\n") as run:
        run.forget_measurement("trained")
        run.measurement("greedy", "trained").add(other)
    resumed()
    assert attempts_of(tmp_path) == other
    shutil.rmtree(tmp_path / "checkpoints")
    resumed()
    assert attempts_of(tmp_path) == found


def test_a_run_whose_rewards_are_no_verdicts_shows_their_means(tmp_path: Path) -> None:
    """No completion is correct, as none has a reward of 1: accuracy says nothing, the mean reward does."""
    parts = parts_of(Scripted(training=lambda text: sum(map(ord, text)) % 7 / 10))
    with RunDirectory.resume(tmp_path, "seed: 0\n") as run:
        summary = run_training(parts, replace(SETTINGS, steps=2), run, Notes(parts.learner))
        assert summary is not None
        found = summary.rewards["greedy"]
        sides: dict[Side, float] = {
            side: mean(one.reward or 0.0 for one in run.attempts("greedy", side)) for side in ("base", "trained")
        }
        assert (summary.main.before.value, summary.main.after.value) == (0.0, 0.0)
        assert found.before.value == pytest.approx(sides["base"])
        assert found.after.value == pytest.approx(sides["trained"])
        assert found.difference.value == pytest.approx(sides["trained"] - sides["base"])
        assert summary.details.grading == {"grader": "Scripted"}
        assert "mean reward" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_reward_that_judges_nothing_leaves_the_directory_free(tmp_path: Path) -> None:
    parts = parts_of(Scripted(training=lambda text: None))
    with (
        pytest.raises(DataError, match=r"no completion of the base model got a reward, .*: lost"),
        RunDirectory.create(tmp_path, "seed: 0\n") as run,
    ):
        run_training(parts, SETTINGS, run, Notes(parts.learner))
    assert not (tmp_path / "config.yaml").exists()
    assert not (tmp_path / "measurement").exists()


def test_a_context_that_cannot_hold_prompt_and_completion_is_refused() -> None:
    parts = parts_of()
    check_context(parts, replace(SETTINGS, max_new_tokens=124))
    with pytest.raises(
        ConfigError,
        match=r"of 4 tokens \(problem 'test-0'\) and sampling\.max_new_tokens 125 exceed the context of 128",
    ):
        check_context(parts, replace(SETTINGS, max_new_tokens=125))
