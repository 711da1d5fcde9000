"""`creditree monitor`: a trained adapter on fresh problems, against the accuracy that its run measured."""

import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from rich.console import Console

from creditree.cli.baseline import Baseline, find_baseline, prompt_values
from creditree.cli.output import STOPPED, console, print_json, quiet_libraries
from creditree.config.build import build_columns, build_prompt
from creditree.config.reward import build_verifier
from creditree.config.workload import rows_of
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError, DataError
from creditree.evaluate.accuracy import Evaluation, Examiner
from creditree.evaluate.scores import mean_over_problems, paired_change
from creditree.evaluate.sequential import DropTest, Evidence
from creditree.evaluate.session import InMemory, Watcher, measure
from creditree.models.load import load_model
from creditree.models.trained import load_trained
from creditree.problem import Problem
from creditree.report.measuring import MeasureProgress
from creditree.report.monitor import BasePart, Monitored, monitor_record, monitor_view
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.runs.environment import content_digest
from creditree.runs.observations import Observation, ObservationLog
from creditree.tasks.table import Table, load_table
from creditree.verify.verifier import closing

DEGRADED = 3
"""Exit code where degradation was shown."""
STATE = "monitor"
"""The folder beside the adapter that holds the observations, unless --state names another."""


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What the command line asked for."""

    target: str
    data: str
    decoding: str | None = None
    margin: float = 0.0
    alpha: float = 0.05
    samples: int = 1
    problems: int | None = None
    base: bool = False
    stop_early: bool = False
    state: Path | None = None

    def check(self) -> None:
        """Raise ConfigError for numbers that make no test."""
        if not 0 <= self.margin < 1:
            raise ConfigError(f"--margin is {self.margin}: it is a share such as 0.05, from 0 to below 1.")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"--alpha is {self.alpha}: it is a chance such as 0.05, between 0 and 1.")


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """Everything that one call is to do, before anything is loaded."""

    options: MonitorOptions
    baseline: Baseline
    test: DropTest
    table: Table
    log: ObservationLog

    @property
    def key(self) -> Key:
        return Key.of(self.baseline.config.seed)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.baseline.temperature, self.baseline.config.sampling.top_p)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a call measured: new observations, the evidence with them, and the base model where it was asked for."""

    fresh: tuple[Observation, ...]
    evidence: Evidence
    base: BasePart | None
    notes: tuple[str, ...] = ()


def monitor_command(options: MonitorOptions, *, as_json: bool, overrides: Sequence[str]) -> None:
    """Measure what is new in the file, and say whether accuracy has fallen; exit code 3 where it has."""
    quiet_libraries()
    options.check()
    baseline = find_baseline(options.target, options.decoding, overrides)
    test = _test(options, baseline)
    config = baseline.config
    table = load_table(
        test_path=options.data,
        columns=build_columns(config.task),
        conflicts="drop",
        prompt=build_prompt(config.task),
    )
    folder = options.state or baseline.run.path / STATE
    with ObservationLog.open(folder, _settings(options, baseline)) as log:
        call = _Call(options, baseline, test, table, log)
        try:
            record = monitor_record(_monitored(call))
        except KeyboardInterrupt:
            said = f"stopped; what was measured is kept in {folder}: repeat the command to continue"
            Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)
            raise SystemExit(STOPPED) from None
    if as_json:
        print_json(record)
    else:
        _show(record["degraded"], monitor_view(record), baseline, options.data)
    if record["degraded"]:
        raise SystemExit(DEGRADED)


def _show(degraded: bool, view: object, baseline: Baseline, data: str) -> None:
    console().print(view)
    if degraded:
        line = shlex.join(["creditree", "train", "--from", str(baseline.run.path), "--data", data])
        console().print(
            f"\nTry next:\n  {line} --guard GUARD.csv --run NEW    # train on, without forgetting GUARD.csv",
            markup=False,
            soft_wrap=True,
        )


def _test(options: MonitorOptions, baseline: Baseline) -> DropTest:
    if baseline.temperature == 0 and options.samples > 1:
        raise ConfigError(
            f"--samples is {options.samples}, and greedy decoding gives one completion; leave it out, or choose a "
            "decoding with a temperature with --decoding."
        )
    test = DropTest(baseline.successes, baseline.n, options.margin, options.alpha)
    if test.tolerated <= 0:
        raise ConfigError(
            f"the baseline has {baseline.successes} of {baseline.n} problems right, so its accuracy may be as low as "
            f"{test.lower_bound:.3f}, and with --margin {options.margin:g} no accuracy would be a degradation; lower "
            "--margin, or train a run that solves more."
        )
    return test


def _settings(options: MonitorOptions, baseline: Baseline) -> str:
    """Return all that the test depends on, as YAML: observations are added up only under the same."""
    config = baseline.config
    folder = Path(config.model.name)
    settings = {
        "adapter": content_digest(baseline.run.trained),
        "model": {"content": content_digest(folder)} if folder.is_dir() else {"name": config.model.name},
        "dtype": config.model.dtype,
        "baseline": {"correct": baseline.successes, "problems": baseline.n},
        "margin": float(options.margin),
        "alpha": float(options.alpha),
        "temperature": float(baseline.temperature),
        "top_p": config.sampling.top_p,
        "samples": options.samples,
        "max_new_tokens": config.sampling.max_new_tokens,
        "seed": config.seed,
        "reward": config.reward.written,
        "prompt": prompt_values(config),
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)


def _monitored(call: _Call) -> Monitored:
    """Measure what is to be measured, and put it together with what was."""
    evidence = call.test.begin().after([one.share for one in call.log.observations])
    seen = {one.digest for one in call.log.observations}
    listed = call.table.held_out("test")
    problems = [problem for problem in listed if problem.digest not in seen]
    notes = list(call.table.notes)
    if len(problems) < len(listed):
        notes.append(f"Problems measured before, and not counted again: {len(listed) - len(problems)}.")
    problems = problems[: call.options.problems]
    if call.options.stop_early and evidence.alarm_at is not None:
        problems = []
    found = _measured(call, problems, evidence) if problems else _Found((), evidence, None)
    if call.options.base and not problems:
        notes.append("No problem is new, so the base model was not measured.")
    return Monitored(
        call.test,
        found.evidence,
        found.fresh,
        call.log.observations,
        call.baseline.truncated,
        call.baseline.statuses,
        found.base,
        [*notes, *found.notes],
        call.key.at("monitor"),
    )


def _measured(call: _Call, problems: Sequence[Problem], evidence: Evidence) -> _Found:
    config, options = call.baseline.config, call.options
    total = len(problems) * options.samples * (2 if options.base else 1)
    with ExitStack() as held:
        progress = held.enter_context(MeasureProgress(total, Console(stderr=True, highlight=False)))
        verifier = held.enter_context(closing(build_verifier(config.reward)))
        model = load_model(config.model.name, config.model.dtype, config.model.device)
        trained = load_trained(model, call.baseline.run.trained)
        examiner = Examiner(
            model,
            InProcessEngine(model, _rows(call.baseline)),
            verifier,
            call.table.prompt,
            config.sampling.max_new_tokens,
            call.key,
        )
        examiner.check(problems, fixed_length=True)
        fresh, evidence, failures = _observed(call, examiner, problems, evidence, progress)
        base = None
        if options.base:
            measured = [_renamed(problem) for problem in problems[: len(fresh)]]
            label = f"{call.table.name} {call.baseline.decoding}, base"
            with trained.off():
                before = measure(examiner, measured, call.sampling, options.samples, InMemory(), progress, label)
            base = _base_part(before, fresh, call.key.at("monitor", "base"))
    return _Found(fresh, evidence, base, failures)


def _observed(
    call: _Call, examiner: Examiner, problems: Sequence[Problem], evidence: Evidence, watcher: Watcher
) -> tuple[tuple[Observation, ...], Evidence, tuple[str, ...]]:
    """Measure piece by piece, each kept at once. Raises DataError for a piece in which nothing could be judged."""
    label, samples = f"{call.table.name} {call.baseline.decoding}", call.options.samples
    total = len(problems) * samples
    watcher.update(label, 0, 0, 0, total)
    fresh: list[Observation] = []
    unjudged, correct, failure = 0, 0, ""
    for piece in examiner.pieces(problems, samples):
        attempts = examiner.examine([_renamed(problem) for problem in piece], call.sampling, samples)
        found = Evaluation.of(attempts)
        if found.num_unjudged == found.num_completions:
            raise DataError(
                f"no completion of {len(piece)} problems got a reward, which says nothing of the model: "
                f"{found.first_failure}"
            )
        new = [_observation(problem, found.attempts[problem.digest], call.options.data) for problem in piece]
        call.log.add(new, attempts)
        fresh += new
        evidence = evidence.after([one.share for one in new])
        unjudged, correct = unjudged + found.num_unjudged, correct + found.num_correct
        failure = failure or found.first_failure
        watcher.update(label, len(fresh) * samples, 0, correct, total)
        if call.options.stop_early and evidence.alarm_at is not None:
            break
    notes = (f"Completions without a reward, which count as wrong: {unjudged} ({failure}).",) if unjudged else ()
    return tuple(fresh), evidence, notes


def _rows(baseline: Baseline) -> int:
    """Return how many completions are decoded together; a number that the run recorded needs no plan of its memory."""
    rows = baseline.config.train.max_rows
    return rows if isinstance(rows, int) else rows_of(baseline.config)


def _renamed(problem: Problem) -> Problem:
    """Return the problem under its digest: random numbers go by the id, and two files can use one id for two questions.

    So the numbers that a problem is sampled with do not depend on the file that it comes in either.
    """
    return replace(problem, id=problem.digest)


def _observation(problem: Problem, own: Sequence[Attempt], file: str) -> Observation:
    share = Evaluation.of(own).accuracy
    return Observation(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=problem.digest,
        id=problem.id,
        share=share,
        statuses=dict(Counter(attempt.status for attempt in own)),
        truncated=sum(attempt.truncated for attempt in own),
        tokens=sum(attempt.num_tokens for attempt in own),
        file=file,
    )


def _base_part(before: Evaluation, fresh: Sequence[Observation], key: Key) -> BasePart:
    old = before.share_correct
    shares = [old[one.digest] for one in fresh]
    change = paired_change(shares, [one.share for one in fresh], key)
    return BasePart(mean_over_problems(shares, key.at("interval")), before.num_truncated, change)
