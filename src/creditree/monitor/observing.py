"""One call of a monitor: fresh problems measured piece by piece, each kept at once, and added to the test."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from creditree.engines.engine import Sampling
from creditree.errors import DataError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.scores import mean_over_problems, paired_change
from creditree.evaluate.sequential import DropTest, Evidence
from creditree.evaluate.session import InMemory, measure
from creditree.models.load import load_model
from creditree.models.trained import load_trained
from creditree.monitor.baseline import Baseline, MonitorRequest
from creditree.problem import Problem
from creditree.report.monitor import BasePart
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.runs.observations import Observation, ObservationLog
from creditree.setup.engine import Surroundings, build_engine
from creditree.setup.grading import build_verifier
from creditree.setup.workload import rows_of
from creditree.tasks.table import Table
from creditree.train.inputs import BaseDigests
from creditree.verify.verifier import closing


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """Everything that one call is to do, before anything is loaded."""

    options: MonitorRequest
    baseline: Baseline
    test: DropTest
    table: Table
    log: ObservationLog

    @property
    def key(self) -> Key:
        """Whose random numbers the run measured with."""
        return Key.of(self.baseline.config.seed)

    @property
    def sampling(self) -> Sampling:
        """How the baseline was decoded."""
        return Sampling(self.baseline.temperature, self.baseline.config.sampling.top_p)

    @property
    def label(self) -> str:
        """What progress calls the measurement."""
        return f"{self.table.name} {self.baseline.decoding}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a call measured: new observations, the evidence with them, and the base model where it was asked for."""

    fresh: tuple[Observation, ...]
    evidence: Evidence
    base: BasePart | None = None
    notes: tuple[str, ...] = ()


def observe(call: Call, problems: Sequence[Problem], evidence: Evidence, watcher: Watcher) -> Found:
    """Measure `problems`, and the base model on them where it was asked for; observations go into the log.

    Raises ModelError for a model or adapter that cannot be loaded, ConfigError for a problem that does not fit its
    context, and DataError where no completion got a reward.
    """
    config, options = call.baseline.config, call.options
    total = len(problems) * options.samples * (2 if options.base else 1)
    with ExitStack() as stack:
        stack.enter_context(watcher.measuring(total))
        verifier = stack.enter_context(closing(build_verifier(config.reward)))
        model = load_model(config.model.name, config.model.dtype, config.model.device)
        BaseDigests.of(model, config.model.dtype).check(call.baseline.run.trained)
        trained = load_trained(model, call.baseline.run.trained)
        questions = call.table.prompt, problems
        around = Surroundings(told=watcher.message)
        engine = build_engine(config, model, trained, questions, _rows(call.baseline), around=around)
        stack.callback(engine.close)
        examiner = Examiner(
            model,
            engine,
            verifier,
            call.table.prompt,
            config.sampling.max_new_tokens,
            call.key,
            # A file that is written anew every day may use an id again for another question.
            by_digest=True,
        )
        examiner.check(problems, fixed_length=True)
        observed = _observed(call, examiner, problems, evidence, watcher)
        if not options.base:
            return observed
        with trained.off():
            return replace(observed, base=_base(call, examiner, problems, observed.fresh, watcher))


def _observed(
    call: Call, examiner: Examiner, problems: Sequence[Problem], evidence: Evidence, watcher: Watcher
) -> Found:
    samples, total = call.options.samples, len(problems) * call.options.samples
    watcher.measured(call.label, 0, 0, 0, total)
    fresh: list[Observation] = []
    done: list[Attempt] = []
    correct, unjudged, number = 0, 0, call.log.next_call
    for piece in examiner.pieces(problems, samples):
        told = partial(watcher.beat, call.label)
        measured = Evaluation.of(examiner.examine(piece, call.sampling, samples, told))
        done += [replace(attempt, text="") for attempt in measured.all]
        judged = [problem for problem in piece if _is_judged(measured.attempts[problem.id])]
        new = [_observation(call, number, problem, measured.attempts[problem.id]) for problem in judged]
        if new:
            call.log.add(new, _under_digests(judged, measured))
        fresh += new
        evidence = evidence.after([observation.share for observation in new])
        correct += measured.num_correct
        unjudged += measured.num_unjudged
        watcher.measured(call.label, len(done), 0, correct, total, unjudged)
        if call.options.stop_early and evidence.alarm_at is not None:
            break
    whole = Evaluation.of(done)
    if not fresh:
        raise DataError(f"no completion got a reward, which says nothing of the model: {whole.first_failure}")
    return Found(tuple(fresh), evidence, notes=_failures(whole))


def _is_judged(own: Sequence[Attempt]) -> bool:
    """Return whether any completion of a problem got a reward.

    One without any is not observed, as the baseline leaves it out: a verifier that fails is not taken for a model that
    does.
    """
    return any(attempt.is_correct is not None for attempt in own)


def _failures(whole: Evaluation) -> tuple[str, ...]:
    """Return what is to be said of completions without a reward."""
    left_out = sum(not _is_judged(own) for own in whole.attempts.values())
    wrong = sum(attempt.is_correct is None for own in whole.attempts.values() if _is_judged(own) for attempt in own)
    notes = []
    if left_out:
        notes.append(
            f"Problems of which no completion got a reward, left out until the next call: {left_out} "
            f"({whole.first_failure})."
        )
    if wrong:
        notes.append(f"Completions without a reward that are left out: {wrong} ({whole.first_failure}).")
    return tuple(notes)


def _under_digests(problems: Sequence[Problem], measured: Evaluation) -> list[Attempt]:
    """Return the completions as they are kept: ids of different files may be the same."""
    return [
        replace(attempt, problem_id=problem.digest) for problem in problems for attempt in measured.attempts[problem.id]
    ]


def _rows(baseline: Baseline) -> int:
    """Return how many completions are decoded together; a number that the run recorded needs no plan of its memory."""
    rows = baseline.config.train.max_rows
    return rows if isinstance(rows, int) else rows_of(baseline.config)


def _observation(call: Call, number: int, problem: Problem, own: Sequence[Attempt]) -> Observation:
    share = Evaluation.of(own).accuracy
    assert share is not None
    return Observation(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        call=number,
        digest=problem.digest,
        id=problem.id,
        share=share,
        statuses=dict(Counter(attempt.status for attempt in own)),
        truncated=sum(attempt.truncated for attempt in own),
        tokens=sum(attempt.num_tokens for attempt in own),
        file=call.options.data,
    )


def _base(
    call: Call, examiner: Examiner, problems: Sequence[Problem], fresh: Sequence[Observation], watcher: Watcher
) -> BasePart:
    """Measure the model as it is now on what was observed, and compare the adapter with it."""
    observed = {observation.id for observation in fresh}
    repeated = [problem for problem in problems if problem.id in observed]
    before = measure(
        examiner, repeated, call.sampling, call.options.samples, InMemory(), watcher, f"{call.label}, base"
    )
    old, key = before.share_correct, call.key.at("monitor", "base")
    pairs = [observation for observation in fresh if observation.id in old]
    if not pairs:
        raise DataError(f"no completion of the base model got a reward: {before.first_failure}")
    shares = [old[pair.id] for pair in pairs]
    change = paired_change(shares, [pair.share for pair in pairs], key)
    return BasePart(mean_over_problems(shares, key.at("interval")), before.num_truncated, change)
