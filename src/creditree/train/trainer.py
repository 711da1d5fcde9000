"""A training run in a directory: the loop with its files, interruptible after each step, and resumable to the bit."""

import signal
from time import perf_counter

import torch

from creditree.engines.engine import Sampling
from creditree.errors import DataError, NonFiniteError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.first_look import cure_settings
from creditree.evaluate.legible import Alarm, Counts, Kind
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.runs.rollouts import rollout_table
from creditree.train.interrupt import GRACE_S, Interrupted, finishing
from creditree.train.keeping import Keeper, Whole
from creditree.train.loop import Loop
from creditree.train.pace import eager_words, first_step
from creditree.train.page import PageWriter
from creditree.train.record import step_record
from creditree.train.sameness import Sameness
from creditree.train.settings import Parts, Settings
from creditree.train.soundness import divergence, is_proven, skip_words, was_skipped
from creditree.train.state import State, sorted_by_owner
from creditree.train.step import Skip, StepResult
from creditree.train.unrewarded import reasons_in
from creditree.train.watchdog import Watchdog
from creditree.tree import RolloutTree

MOST_TOLD = 20
"""Different reasons for missing rewards that are shown; all are counted, and in the rollouts."""
MOST_SKIPS_TOLD = 20
"""Skipped updates that are shown; all are counted, and in the metrics."""


class Trainer:
    """Trains the parts for the settings, and writes metrics, rollouts and checkpoints into the run directory."""

    def __init__(self, parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher) -> None:
        self.parts = parts
        self.run = run
        self.watcher = watcher
        self.examiner = Examiner(
            parts.model, parts.engine, parts.verifier, parts.task.prompt, settings.max_new_tokens, Key.of(settings.seed)
        )
        self.keeper = Keeper(parts.learner, run, settings.checkpoint_every_s)
        self.page = PageWriter(run, watcher.message)
        self.watchdog = Watchdog(watcher, lambda: self.state.seconds)
        self.loop = Loop(
            parts,
            settings,
            told=lambda pulse: self.watchdog.beat("", pulse),
            learning=self.keeper.learning,
        )
        self.last_skip: Skip | None = None
        self._told: set[str] = set()
        self._skips_told = 0
        self._alarm: Alarm | None = None
        self._sameness = Sameness()
        self._steps_made = 0
        self._eager_told = False
        self._started = perf_counter()
        self._judged = self._whole()
        self.keeper.begin(self._judged)

    @property
    def settings(self) -> Settings:
        """The numbers of the run."""
        return self.loop.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.loop.settings = settings

    @property
    def state(self) -> State:
        """Counts and choices up to the last step."""
        return self.loop.state

    @property
    def key(self) -> Key:
        """Whose random numbers the run draws."""
        return self.loop.key

    @property
    def elapsed_s(self) -> float:
        """Wall seconds of the run, interrupted parts included as far as their checkpoints tell."""
        return self.state.earlier_s + perf_counter() - self._started

    def restore(self) -> None:
        """Continue from the newest undamaged checkpoint of the run directory, if it has one."""
        checkpoint, warnings = self.run.restore()
        for warning in warnings:
            self.watcher.message(warning)
        if checkpoint is None:
            return
        arrays = sorted_by_owner(checkpoint)
        self.parts.learner.load_arrays(arrays["learner"])
        self.loop.pipeline.load(arrays["flying"], dict(checkpoint.state)["pipeline"])  # type: ignore[arg-type]
        self.loop.state = State.of(checkpoint)
        sound = checkpoint.state.get("sound_step")
        self._judged = self._whole()
        self.keeper.begin(self._judged, saved=True, sound_step=sound if isinstance(sound, int) else None)
        self.watcher.message(f"continuing after step {checkpoint.step}")

    def train(self, pause: int | None = None) -> None:
        """Train to the end of the settings, or until `pause` tokens are sampled, and write a checkpoint.

        Raises Interrupted, after a checkpoint, where a signal stopped it: the first after its step, or `GRACE_S` later
        where that takes longer, the second at once. A step that was stopped in its midst is made again on resume.
        Raises NonFiniteError where nothing could be learned in `max_skipped` steps in a row, or validation found the
        weights unusable: `Keeper.back` goes back to sound ones. Raises DataError where nothing was judged in
        `max_unjudged` steps in a row; the checkpoint is then the one from before them.
        """
        with finishing(self._stopping) as request:
            try:
                while not self._is_done(pause) and not request.made:
                    self._one_step()
                    if self._is_due(self.settings.checkpoint_every) or self.keeper.is_due:
                        self.keeper.save()
                        self.page.refresh()
                self.keeper.save()
            except NonFiniteError:
                raise
            except BaseException:  # whatever it is: the last whole step is in memory
                self.keeper.save()
                raise
        if request.number is not None and (pause is not None or not self.is_finished):
            raise Interrupted(request.number)

    def _is_done(self, pause: int | None) -> bool:
        return self.is_finished or (pause is not None and self.state.ledger.sampled >= pause)

    def _stopping(self, number: int) -> None:
        again = "press Ctrl-C again" if number == signal.SIGINT else "send it again"
        self.watcher.message(
            f"{signal.Signals(number).name}: stopping after this step, or without it in {GRACE_S:.0f} s; {again} to "
            "stop at once"
        )

    def use_best(self) -> None:
        """Put the adapter of the best validation back, where there was a validation."""
        if self.state.best:
            self.parts.learner.trained.load_state({n: torch.from_numpy(a.copy()) for n, a in self.state.best.items()})

    @property
    def is_finished(self) -> bool:
        """Whether the steps, the time, the tokens or the patience of the settings are used up."""
        settings, state = self.settings, self.state
        patience = settings.validation.patience
        used_up = settings.progress(state.step, state.seconds, state.ledger.sampled) >= 1.0
        return used_up or (patience is not None and state.worse >= patience)

    def _whole(self) -> Whole:
        """Return the state as it is after a whole step."""
        state = self.state
        in_flight, pipeline = self.loop.pipeline.save()
        record = {**state.record(), "pipeline": pipeline, "elapsed_s": self.elapsed_s}
        return Whole(state.step, record, {f"best/{name}": array for name, array in state.best.items()} | in_flight)

    def _one_step(self) -> None:
        settings, state = self.settings, self.state
        rate, before = self.loop.learning_rate, dict(state.seconds.wall)
        result = self.loop.step()
        validation = self._choose() if self._is_due(settings.validation.every) else None
        record = step_record(self.loop, result, rate, validation)
        if self._keeps_rollouts and settings.own_step(state.step) > 0:
            texts, by_token = self.loop.texts(result.forests), self.parts.model.texts.by_token
            fields = result.advantages, result.weights
            self.run.write_rollouts(state.step, rollout_table(state.step, result.forests, *fields, texts, by_token))
        self.run.append(record)
        whole = self._whole()
        self.keeper.done(whole, proven=is_proven(result))
        self.watcher.update(record)
        self._tell(result)
        self._tell_pace(result, before)
        self._check_course(result, whole)

    def _check_course(self, result: StepResult, whole: Whole) -> None:
        """Raise NonFiniteError or DataError where too many steps in a row taught nothing."""
        settings, state = self.settings, self.state
        if was_skipped(result):
            self.last_skip = result.skips[-1]
            if state.skipped >= settings.max_skipped:
                raise NonFiniteError(divergence(state.step, state.skipped, self.last_skip))
        if state.unjudged == 0:
            self._judged = whole
        elif state.unjudged >= settings.max_unjudged:
            self.keeper.rewind(self._judged)
            reason = next((detail for detail, _ in reasons_in(result.explored).values()), "without a reason")
            raise DataError(
                f"no completion got a reward in {state.unjudged} training steps in a row ({reason}); the state after "
                f"step {self._judged.step}, before them, is kept in {self.run.path}: mend what judges, and continue "
                "with `resume`."
            )

    def _tell(self, result: StepResult) -> None:
        """Show what the user should know of a step: why completions got no reward, each reason once, the first few."""
        for kind, (detail, _) in reasons_in(result.explored).items():
            if kind not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(kind)
                said = f"a completion got no reward and is not trained on: {detail}"
                self.watcher.message(f"step {self.state.step}: {said}")
        self._check_legible(result)
        same = self._sameness.take(len(result.explored), result.mixed_share, result.useful_share, result.cost)
        if same is not None and (self._alarm is None or not self._alarm.has_rung):  # that says more
            self.watcher.message(f"warning: step {self.state.step}: {same}")
        for skip in result.skips:
            if self._skips_told < MOST_SKIPS_TOLD:
                self.watcher.message(f"step {self.state.step}: an update is left out: {skip_words(skip)}")
            self._skips_told += 1
        if result.stats.note is not None:
            self.watcher.message(f"step {self.state.step}: {result.stats.note}")

    def _tell_pace(self, result: StepResult, before: dict[str, float]) -> None:
        """Show where the seconds of this process's first step went, and once if steps were not recorded."""
        self._steps_made += 1
        state = self.state
        words = first_step(state.step, before, state.seconds.wall, result.cost) if self._steps_made == 1 else None
        if words is not None:
            self.watcher.message(words)
        slow = None if self._eager_told else eager_words(result.cost)
        if slow is not None:
            self._eager_told = True
            self.watcher.message(f"warning: step {state.step}: {slow}")

    def _check_legible(self, result: StepResult) -> None:
        """Warn where nearly all that steps sample is cut off, or has no answer."""
        cost = result.cost
        if not result.explored:
            return
        if self._alarm is None:
            problem = result.explored[0][0].problem
            self._alarm = Alarm(cure_settings(self.examiner, problem), self.watcher.message)
        leaves = [(tree, leaf) for forest in result.explored for tree in forest for leaf in tree.rewarded]

        def example(kind: Kind) -> str:
            return next((self.loop.rollout.text(*leaf) for leaf in leaves if _has(*leaf, kind)), "")

        counts = Counts(cost.completions, cost.truncated, cost.unparsable)
        self._alarm.take(counts, example, f"step {self.state.step}: ")

    @property
    def _keeps_rollouts(self) -> bool:
        """Whether the completions of the step that was made are kept: every so many steps', and the last one's."""
        every = self.settings.rollouts_every
        return self._is_due(every) or (every > 0 and self.is_finished)

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.state.step % every == 0

    def validate(self) -> Evaluation:
        """Measure what learns on the validation problems; nothing depends on it."""
        spec = self.settings.validation
        problems = self.parts.task.held_out("validation", spec.problems)
        with self.state.seconds.phase("validate"):
            sampling = Sampling(spec.temperature, self.settings.sampling.top_p)
            return self.examiner.evaluate(problems, sampling, told=lambda pulse: self.watchdog.beat("", pulse))

    def _choose(self) -> Evaluation:
        """Validate, and keep what learns where it is the best so far."""
        state, evaluation = self.state, self.validate()
        if evaluation.mean_reward is None or evaluation.is_inconclusive:
            self.watcher.message(
                f"step {state.step}: {evaluation.num_unjudged} of {evaluation.num_completions} completions of the "
                f"validation got no reward ({evaluation.first_failure}): it chooses nothing"
            )
        elif state.best_reward is None or evaluation.mean_reward > state.best_reward:
            state.best_reward, state.best_step, state.worse = evaluation.mean_reward, state.step, 0
            state.best = {name: tensor.cpu().numpy() for name, tensor in self.parts.learner.trained.state().items()}
        else:
            state.worse += 1
        return evaluation


def _has(tree: RolloutTree, leaf: int, kind: Kind) -> bool:
    branch = tree.branches[leaf]
    if kind == "truncated":
        return branch.finish_reason == "length"
    return branch.verdict is not None and branch.verdict.status == "unparsable"
