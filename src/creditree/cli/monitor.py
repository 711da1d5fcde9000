"""`creditree monitor`: a trained adapter on fresh problems, against the accuracy that its run measured."""

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import yaml
from rich.console import RenderableType

from creditree.cli.baseline import Baseline, MonitorOptions, find_baseline, prompt_values
from creditree.cli.edited import tell_edited
from creditree.cli.observing import Call, Found, observe
from creditree.cli.output import console, print_json, quiet_libraries
from creditree.config.schema import FileConfig, RunConfig
from creditree.errors import ConfigError, CreditreeError
from creditree.evaluate.sequential import DropTest, Evidence
from creditree.report.monitor import Monitored, monitor_record, monitor_view
from creditree.runs.environment import content_digest
from creditree.runs.observations import ObservationLog
from creditree.setup.build import build_columns, build_prompt, build_task
from creditree.tasks.table import Table, load_table
from creditree.train.interrupt import continuing

DEGRADED = 3
"""Exit code where degradation was shown."""
STATE = "monitor"
"""The folder beside the adapter that holds the observations, unless --state names another."""


def monitor_command(options: MonitorOptions, *, as_json: bool, overrides: Sequence[str]) -> None:
    """Measure what is new in the file, and say whether accuracy has fallen; exit code 3 where it has."""
    quiet_libraries()
    options.check()
    baseline = find_baseline(options.target, options.decoding, overrides, trusted=options.trusted)
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
        call = Call(options, baseline, test, table, log)
        with continuing(f"what was measured is kept in {folder}: repeat the command to continue"):
            record = monitor_record(_monitored(call))
    tell_edited(options.target)
    if as_json:
        print_json(record)
    else:
        _show(record["degraded"], monitor_view(record), baseline, options.data)
    if record["degraded"]:
        raise SystemExit(DEGRADED)


def _show(degraded: bool, view: RenderableType, baseline: Baseline, data: str) -> None:
    console().print(view)
    if degraded:
        line = shlex.join(["creditree", "train", "--from", str(baseline.run.path), "--data", data])
        console().print(
            f"\nTry next:\n  {line} --guard GUARD.csv --run NEW    # train on, without forgetting GUARD.csv",
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


def _evidence(call: Call) -> Evidence:
    """Return the evidence of all earlier calls, at the beginning of this one."""
    evidence = call.test.begin()
    for _, own in groupby(call.log.observations, key=lambda one: one.call):
        evidence = evidence.after([one.share for one in own]).next_call()
    return evidence


def _trained_on(config: RunConfig) -> frozenset[str]:
    """Return what stands for the training problems, where they are from a file that is still there."""
    if not isinstance(config.task, FileConfig) or config.task.is_on_hub:
        return frozenset()
    try:
        task = build_task(config.task)
    except CreditreeError:
        return frozenset()
    return frozenset(problem.digest for problem in task.slices["training"]) if isinstance(task, Table) else frozenset()


def _monitored(call: Call) -> Monitored:
    """Measure what is to be measured, and put it together with what was measured before."""
    evidence = _evidence(call)
    seen = {one.digest for one in call.log.observations}
    listed = call.table.held_out("test")
    new = [problem for problem in listed if problem.digest not in seen]
    notes = list(call.table.notes)
    if len(new) < len(listed):
        notes.append(f"Problems measured before, and not counted again: {len(listed) - len(new)}.")
    trained_on = _trained_on(call.baseline.config)
    problems = [problem for problem in new if problem.digest not in trained_on]
    if len(problems) < len(new):
        notes.append(f"Problems that the run was trained on, and not counted: {len(new) - len(problems)}.")
    problems = problems[: call.options.problems]
    if call.options.stop_early and evidence.alarm_at is not None:
        problems = []
    found = observe(call, problems, evidence) if problems else Found((), evidence)
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
