"""The training loop: one loop for every method, interruptible after each step, and resumable to the bit."""

import math
import signal
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch

from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation, Examiner
from creditree.learner.learner import StepStats
from creditree.learner.mismatch import NOT_COMPARED
from creditree.ledger import Ledger, Seconds
from creditree.objective.objective import is_recorded
from creditree.report.progress import Watcher
from creditree.rng import Key
from creditree.runs.checkpoint import Checkpoint
from creditree.runs.directory import RunDirectory
from creditree.train.interrupt import Interrupted, finishing
from creditree.train.measure import with_old_logprobs
from creditree.train.pipeline import Pipeline
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts, Settings
from creditree.train.step import StepResult, learn

MOST_TOLD = 5
"""Different reasons for missing rewards that are shown; all are counted, and in the rollouts."""


@dataclass(slots=True)
class _State:
    """What changes from step to step and goes into a checkpoint, besides the learner's own arrays."""

    step: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    seconds: Seconds = field(default_factory=Seconds)
    best_reward: float | None = None
    best_step: int = 0
    worse: int = 0
    earlier_s: float = 0.0
    """Wall seconds of the processes that worked on this run before this one, up to their checkpoints."""
    best: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


class Trainer:
    """Trains the parts for the settings, and writes metrics, rollouts and checkpoints into the run directory."""

    def __init__(self, parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher) -> None:
        self.parts = parts
        self.settings = settings
        self.run = run
        self.watcher = watcher
        self.key = Key.of(settings.seed)
        self.state = _State()
        self.rollout = Rollout(
            parts.model,
            parts.engine,
            parts.verifier,
            parts.task.prompt,
            settings.sampling,
            settings.max_new_tokens,
            partial(with_old_logprobs, parts.learner),
        )
        self.pipeline = Pipeline(
            self.rollout, parts.task, parts.method.explore, parts.method.schedule, self.key, settings.problems_per_step
        )
        self.examiner = Examiner(
            parts.model, parts.engine, parts.verifier, parts.task.prompt, settings.max_new_tokens, Key.of(settings.seed)
        )
        self._told: set[str] = set()
        self._recorded = 0
        self._updates = parts.learner.num_updates
        self._started = perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Wall seconds of the run, interrupted parts included as far as their checkpoints tell."""
        return self.state.earlier_s + perf_counter() - self._started

    def restore(self) -> None:
        """Continue from the newest sound checkpoint of the run directory, if it has one."""
        checkpoint, warnings = self.run.restore()
        for warning in warnings:
            self.watcher.message(warning)
        if checkpoint is None:
            return
        arrays = dict(checkpoint.arrays)
        best = {name.removeprefix("best/"): arrays.pop(name) for name in list(arrays) if name.startswith("best/")}
        flying = {name: arrays.pop(name) for name in list(arrays) if name.startswith("flying/")}
        self.parts.learner.load_arrays(arrays)
        saved: Any = checkpoint.state
        self.pipeline.load(flying, saved["pipeline"])
        self.state = _State(
            step=checkpoint.step,
            ledger=Ledger(**saved["ledger"]),
            seconds=Seconds(dict(saved["wall"]), dict(saved["cpu"])),
            best_reward=saved["best_reward"],
            best_step=saved["best_step"],
            worse=saved["worse"],
            earlier_s=saved["elapsed_s"],
            best=best,
        )
        self._recorded = checkpoint.step
        self.watcher.message(f"continuing after step {checkpoint.step}")

    def train(self) -> None:
        """Train to the end of the settings, and write a checkpoint.

        Raises Interrupted, after a checkpoint, where a signal stopped it: the first after its step, the second at once.
        """
        try:
            with finishing(self._stopping) as request:
                while not self.is_finished and not request.made:
                    self._one_step()
                    if self._is_due(self.settings.checkpoint_every):
                        self.checkpoint()
        except Exception:
            # What fails (a prompt too long, no memory) fails before its step's first update, mostly: then the steps
            # before it are sound. After a part of its updates the learner is of no step, and nothing is kept.
            if self._recorded == self.state.step and self._updates == self.parts.learner.num_updates:
                self.checkpoint()
            raise
        self.checkpoint()
        if request.number is not None and not self.is_finished:
            raise Interrupted(request.number)

    def _stopping(self, number: int) -> None:
        again = "press Ctrl-C again" if number == signal.SIGINT else "send it again"
        self.watcher.message(f"{signal.Signals(number).name}: stopping after this step; {again} to stop at once")

    def use_best(self) -> None:
        """Put the adapter of the best validation back, where there was a validation."""
        if self.state.best:
            self.parts.learner.trained.load_state({n: torch.from_numpy(a.copy()) for n, a in self.state.best.items()})

    def checkpoint(self) -> None:
        """Write a checkpoint of the present step, unless there is one."""
        state = self.state
        flying, pipeline = self.pipeline.save()
        arrays = self.parts.learner.arrays() | {f"best/{name}": array for name, array in state.best.items()} | flying
        record: dict[str, Any] = {
            "pipeline": pipeline,
            "ledger": state.ledger.as_dict(),
            "wall": state.seconds.wall,
            "cpu": state.seconds.cpu,
            "best_reward": state.best_reward,
            "best_step": state.best_step,
            "worse": state.worse,
            "elapsed_s": self.elapsed_s,
        }
        self.run.save(Checkpoint(state.step, arrays, record))

    @property
    def is_finished(self) -> bool:
        """Whether the steps, the time or the patience of the settings are used up."""
        settings, state = self.settings, self.state
        patience = settings.validation.patience
        used_up = settings.progress(state.step, state.seconds) >= 1.0
        return used_up or (patience is not None and state.worse >= patience)

    def _one_step(self) -> None:
        settings, state = self.settings, self.state
        rate = settings.learning_rate_at(state.step, state.seconds)
        result = self._sampled_and_learned(rate)
        state.step += 1
        state.ledger.add(result.cost)
        validation = self._validate() if self._is_due(settings.validation.every) else None
        record = self._record(result, rate, validation)
        if self._is_due(settings.rollouts_every):
            texts = [
                tuple(tuple(self.rollout.text(tree, leaf) for leaf in tree.leaves) for tree in forest)
                for forest in result.forests
            ]
            self.run.write_rollouts(state.step, result.forests, result.advantages, result.weights, texts)
        self.run.append(record)
        self._recorded, self._updates = state.step, self.parts.learner.num_updates
        self.watcher.update(record)
        self._tell_failures(result)
        if result.stats.note is not None:
            self.watcher.message(f"step {state.step}: {result.stats.note}")

    def _sampled_and_learned(self, rate: float) -> StepResult:
        settings, state = self.settings, self.state
        harvest = self.pipeline.step(state.step, state.seconds, is_last=state.step + 1 == settings.steps)
        forests, keys = [one.forest for one in harvest.chosen], [one.key for one in harvest.chosen]
        key = self.key.at("step", state.step)
        learned = learn(self.parts, forests, keys, key, rate, state.seconds, harvest.cost, settings.mini_batch)
        result = replace(learned, explored=[one.forest for one in harvest.live])
        self.pipeline.learned(result.rows)
        return result

    def _tell_failures(self, result: StepResult) -> None:
        """Show why completions got no reward, each reason once, the first few."""
        branches = (branch for forest in result.explored for tree in forest for branch in tree.branches)
        details = {branch.verdict.detail for branch in branches if branch.verdict is not None and branch.reward is None}
        for detail in sorted(details - self._told)[: MOST_TOLD - len(self._told)]:
            self._told.add(detail)
            self.watcher.message(f"step {self.state.step}: a completion got no reward and is not trained on: {detail}")

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.state.step % every == 0

    def _validate(self) -> Evaluation:
        spec, state = self.settings.validation, self.state
        problems = self.parts.task.held_out("validation", spec.problems)
        with state.seconds.phase("validate"):
            found = self.examiner.evaluate(problems, Sampling(spec.temperature, self.settings.sampling.top_p))
        if state.best_reward is None or found.mean_reward > state.best_reward:
            state.best_reward, state.best_step, state.worse = found.mean_reward, state.step, 0
            state.best = {name: tensor.cpu().numpy() for name, tensor in self.parts.learner.trained.state().items()}
        else:
            state.worse += 1
        return found

    def _record(self, result: StepResult, rate: float, validation: Evaluation | None) -> dict[str, Any]:
        state, reward, stats = self.state, result.reward_mean, result.stats
        record: dict[str, Any] = {
            "step": state.step,
            "reward_mean": None if math.isnan(reward) else reward,
            "mixed_share": result.mixed_share,
            "signal_share": (state.step - state.ledger.no_signal) / state.step,
            "loss": stats.loss,
            "grad_norm": stats.grad_norm,
            "l2_grad_norm": stats.l2_grad_norm,
            "clip_fraction": stats.clip_fraction,
            **self._mismatch(stats),
            "useful_share": result.useful_share,
            "selected_share": result.selected_share,
            **{f"select_{name}": value for name, value in result.chosen.items()},
            "problems": len(result.explored),
            "problems_trained": len(result.forests),
            "rows": result.rows,
            **{f"schedule_{name}": value for name, value in self.pipeline.state.items()},
            "learning_rate": rate,
            "validation_accuracy": None if validation is None else validation.accuracy,
            "validation_reward": None if validation is None else validation.mean_reward,
            **state.ledger.as_dict(),
            "seconds": sum(state.seconds.wall.values()),
            "cpu_seconds": state.seconds.training_cpu,
            "seconds_by_phase": {name: round(value, 4) for name, value in state.seconds.wall.items()},
        }
        return record

    def _mismatch(self, stats: StepStats) -> dict[str, float | None]:
        """Return how far the engine is from the learner; None where no update was made or the softmax is another."""
        settings, objective = self.settings, self.parts.method.objective
        same = is_recorded(objective.loss_temperature, settings.sampling.temperature, settings.sampling.top_p)
        found = stats.mismatch if same else NOT_COMPARED
        return {f"sampler_mismatch_{name}": getattr(found, name) for name in ("mean", "rms", "max")}
