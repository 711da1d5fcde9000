"""A trained adapter on fresh problems, against the accuracy that its run measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from creditree.config.task import MixtureConfig
from creditree.disk import is_folder
from creditree.errors import ConfigError
from creditree.evaluate.sequential import DropTest, Evidence
from creditree.monitor.baseline import Baseline, MonitorRequest, find_baseline, prompt_values
from creditree.monitor.observing import Call, Found, observe
from creditree.report.monitor import Monitored, monitor_record
from creditree.report.watcher import Watcher
from creditree.runs.environment import content_digest
from creditree.runs.observations import ObservationLog
from creditree.setup.build import build_columns, build_prompt
from creditree.setup.edited import edited
from creditree.setup.problems import trained_on
from creditree.tasks.table import load_table
from creditree.train.interrupt import continuing

STATE = "monitor"
"""The folder beside the adapter that holds the observations, unless `state` names another."""


@dataclass(frozen=True, eq=False, slots=True)
class MonitorResult:
    """What a call of a monitor says. `record` is all of it, as JSON; `run`: of the baseline."""

    record: Mapping[str, Any]
    run: Path
    edited: str = ""

    @property
    def degraded(self) -> bool:
        """Whether it was ever shown that accuracy has fallen."""
        return bool(self.record["degraded"])

    @property
    def conclusion(self) -> str:
        """One sentence: what may be concluded."""
        return str(self.record["conclusion"])

    def to_json(self) -> dict[str, Any]:
        """Return all that was found."""
        return dict(self.record)


def monitor(request: MonitorRequest, watcher: Watcher) -> MonitorResult:
    """Measure what is new in the file, and say whether accuracy has fallen since the run measured it.

    Raises ConfigError, DataError, ModelError or RunError, and Interrupted where a signal stopped it: the same request
    goes on.
    """
    request.check()
    baseline = find_baseline(request.target, request.decoding, request.overrides, trusted=request.trusted)
    test = _test(request, baseline)
    config = baseline.config
    if isinstance(config.task, MixtureConfig):
        raise ConfigError(
            f"run '{baseline.run.path}' was measured on a mixture of tasks, and fresh problems are of one; evaluate "
            "the run on them, or monitor a run of one task."
        )
    table = load_table(
        test_path=request.data,
        columns=build_columns(config.task),
        conflicts="drop",
        prompt=build_prompt(config.task),
    )
    folder = request.state or baseline.run.path / STATE
    with ObservationLog.open(folder, _settings(request, baseline)) as log:
        call = Call(request, baseline, test, table, log)
        with continuing(f"what was measured is kept in {folder}: repeat the command to continue"):
            record = monitor_record(_monitored(call, watcher))
    return MonitorResult(record, baseline.run.path, edited(request.target))


def _test(options: MonitorRequest, baseline: Baseline) -> DropTest:
    if baseline.temperature == 0 and options.samples > 1:
        raise ConfigError(
            f"`samples` is {options.samples}, and greedy decoding gives one completion; leave it out, or choose a "
            "decoding with a temperature with `decoding`."
        )
    test = DropTest(baseline.successes, baseline.n, options.margin, options.alpha)
    if test.tolerated <= 0:
        raise ConfigError(
            f"the baseline has {baseline.successes} of {baseline.n} problems right, so its accuracy may be as low as "
            f"{test.lower_bound:.3f}, and with `margin` {options.margin:g} no accuracy would be a degradation; lower "
            "`margin`, or train a run that solves more."
        )
    return test


def _settings(options: MonitorRequest, baseline: Baseline) -> str:
    """Return all that the test depends on, as YAML: observations are added up only under the same."""
    config = baseline.config
    folder = Path(config.model.name)
    settings = {
        "adapter": content_digest(baseline.run.trained),
        "model": {"content": content_digest(folder)} if is_folder(folder) else {"name": config.model.name},
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


def _evidence(call: Call) -> Evidence:
    """Return the evidence of all earlier calls, at the beginning of this one."""
    evidence = call.test.begin()
    for _, own in groupby(call.log.observations, key=lambda observation: observation.call):
        evidence = evidence.after([observation.share for observation in own]).next_call()
    return evidence


def _monitored(call: Call, watcher: Watcher) -> Monitored:
    """Measure what is to be measured, and put it together with what was measured before."""
    evidence = _evidence(call)
    seen = {observation.digest for observation in call.log.observations}
    listed = call.table.held_out("test")
    new = [problem for problem in listed if problem.digest not in seen]
    notes = list(call.table.notes)
    if len(new) < len(listed):
        notes.append(f"Problems measured before, and not counted again: {len(listed) - len(new)}.")
    learned = {problem.digest for problem in trained_on(call.baseline.config.task) or ()}
    problems = [problem for problem in new if problem.digest not in learned]
    if len(problems) < len(new):
        notes.append(f"Problems that the run was trained on, and not counted: {len(new) - len(problems)}.")
    problems = problems[: call.options.problems]
    if call.options.stop_early and evidence.alarm_at is not None:
        problems = []
    observed = observe(call, problems, evidence, watcher) if problems else Found((), evidence)
    if call.options.base and not problems:
        notes.append("No problem is new, so the base model was not measured.")
    return Monitored(
        call.test,
        observed.evidence,
        observed.fresh,
        call.log.observations,
        call.baseline.truncated,
        call.baseline.statuses,
        observed.base,
        [*notes, *observed.notes],
        call.key.at("monitor"),
    )
