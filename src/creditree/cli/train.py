"""`creditree train` and `creditree quickstart`."""

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from creditree.cli.dry_run import choices_text, dry_run_record, dry_run_text
from creditree.cli.edited import tell_edited
from creditree.cli.output import print_json, print_text, progress_console, quiet_libraries
from creditree.config.load import check_config, parse_config, parse_values, read_yaml
from creditree.config.overrides import apply_overrides, set_key
from creditree.config.schema import RunConfig
from creditree.config.trust import check_trust
from creditree.errors import ConfigError, RunError
from creditree.evaluate.prompt import text_notes
from creditree.methods import BASELINE
from creditree.report.mirrors import mirrored, open_mirrors
from creditree.report.progress import Progress
from creditree.report.summary import Summary, summary_view
from creditree.runs.directory import RunDirectory
from creditree.setup.defaults import resolved
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.setup.start import named_task, run_values, started, with_data
from creditree.setup.workload import memory_note
from creditree.tasks.benchmarks import BENCHMARKS
from creditree.train.interrupt import continuing
from creditree.train.outcome import REPORT
from creditree.train.procedure import run_training
from creditree.verify.verifier import closing

GRPO = "'method={name: grpo, group: 16, kl: 0, loss_temperature: 0.5}'"
"""Settings with which GRPO learns the quickstart's task too."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Which configuration was asked for; None where the command line did not say.

    `model`, `task`: instead of a file's, or of a whole file;  `start`: what to go on from (`train.start`);  `data`:
    file of the task;  `guard`: file of the guard set;
    `trusted`: code that the run to go on from names may run.
    """

    config: Path | None
    model: str | None = None
    task: str | None = None
    start: str | None = None
    data: str | None = None
    guard: str | None = None
    overrides: tuple[str, ...] = ()
    trusted: bool = False

    def load(self) -> RunConfig:
        """Return the checked configuration: the file's, or that of the run to go on from. Raises ConfigError."""
        if self.config is not None:
            where = str(self.config)
            values = parse_values(read_yaml(self.config), where)
        elif self.start is not None:
            values, where = self._of_run(self.start)
        elif self.model is not None and self.task is not None:
            values, where = {}, "the command line"
        else:
            raise ConfigError(
                "creditree train needs a configuration: name a YAML file, a finished run with --from, or both --model "
                "NAME and --task NAME, such as --task svamp."
            )
        if self.model is not None:
            set_key(values, "model.name", self.model, "--model")
        if self.task is not None:
            values |= {"task": named_task(self.task, self.data)}
        elif self.data is not None:
            values = with_data(values, where, self.data)
        if self.start is not None:
            set_key(values, "train.start", self.start, "--from")
        if self.guard is not None:
            set_key(values, "guard.path", self.guard, "--guard")
        return check_config(apply_overrides(values, self.overrides), where)

    def _of_run(self, start: str) -> tuple[dict[str, Any], str]:
        values, where = run_values(start)
        if self.task in BENCHMARKS:
            values.pop("reward", None)  # a benchmark has its own, as in `creditree eval`
        cure = ", or choose --reward"
        check_trust(values, f"run '{Path(where).parent}'", self.overrides, trusted=self.trusted, cure=cure)
        return values, where

    def flags(self) -> tuple[str, ...]:
        """Return the options as they are written on a command line."""
        named = {
            "--model": self.model, "--task": self.task, "--from": self.start, "--data": self.data,
            "--guard": self.guard,
        }  # fmt: skip
        return (*(part for name, value in named.items() if value for part in (name, value)),
                *(["--trust-run"] if self.trusted else []), *_overriding(self.overrides))  # fmt: skip


def train_command(options: TrainOptions, run: Path | None, *, resume: bool, dry_run: bool, as_json: bool) -> None:
    """Train as the configuration says, or say what that would do."""
    config = options.load()
    if dry_run:
        config, choices = resolved(started(config, offline=True), offline=True)
        if as_json:
            print_json(dry_run_record(config, choices))
        else:
            print_text(dry_run_text(config, choices))
        return
    if run is None:
        raise RunError("creditree train needs a run directory: add --run DIR, or --dry-run to look first.")
    words = [] if options.config is None else [str(options.config)]
    with continuing(_command("train", *words, *options.flags(), run=run)):
        _train(config, run, resume=resume, as_json=as_json)
    if options.config is None and options.start is not None:
        tell_edited(options.start)


def quickstart_command(run: Path, *, resume: bool, as_json: bool, overrides: Sequence[str]) -> None:
    """Train the built-in model as the shipped configuration says, and point to what comes next."""
    text = files("creditree.config").joinpath("quickstart.yaml").read_text(encoding="utf-8")
    with continuing(_command("quickstart", *_overriding(overrides), run=run)):
        _train(parse_config(text, "quickstart", overrides), run, resume=resume, as_json=as_json)
    if not as_json:
        _print_next_steps(progress_console(stderr=False), run)


def _overriding(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _command(*words: str, run: Path) -> str:
    """Return how to continue a run, for whoever has stopped it."""
    return f"continue with: {shlex.join(['creditree', *words, '--run', str(run), '--resume'])}"


def _train(config: RunConfig, run: Path, *, resume: bool, as_json: bool) -> None:
    out = progress_console(stderr=as_json)
    if resume and not os.path.lexists(run / "config.yaml"):
        out.print(f"there is no run in {run} to continue, so it starts now", soft_wrap=True)
    summary = train_into(config, run, out, resume=resume)
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(out, summary, run)


def train_into(config: RunConfig, run: Path, out: Console, *, resume: bool) -> Summary:
    """Train into a run directory, with progress on `out`. Raises Interrupted where a signal stopped it."""
    quiet_libraries()
    is_there = resume and os.path.lexists(run / "config.yaml")
    recorded = _recorded(run) if is_there else None
    ready = resolve(config, recorded=recorded)
    config, choices = ready.config, ready.choices
    opened = RunDirectory.resume if resume else RunDirectory.create
    with opened(run, ready.yaml) as directory:
        parts, settings = build(ready), ready.settings
        size = parts.learner.trained.description
        out.print(f"{parts.method.name} on {parts.task.name}: {config.model.name}, {size}", soft_wrap=True)
        if choices:
            out.print(choices_text(choices), soft_wrap=True)
        if config.train.memory is not None:
            out.print(memory_note(config))
        if parts.start is not None:
            out.print(f"going on from {parts.start.words}", soft_wrap=True)
        guard = parts.guard.notes if parts.guard else ()
        texts = text_notes(parts.task.prompt, parts.model.texts)
        for note in (*parts.task.notes, *(f"guard: {note}" for note in guard), *texts):
            out.print(note, soft_wrap=True)
        with (
            ExitStack() as held,
            Progress(settings.steps, out, settings.cpu_seconds, settings.seconds) as progress,
            mirrored(
                progress, open_mirrors(config.log.mirrors, run, config.model_dump(mode="json"), progress.message)
            ) as watcher,
        ):
            for verifier in parts.verifiers:
                held.enter_context(closing(verifier))
            return run_training(parts, settings, directory, watcher)


def _recorded(run: Path) -> RunConfig:
    return parse_config(RunDirectory.read(run).config_yaml, str(run / "config.yaml"))


def _print_summary(out: Console, summary: Summary, run: Path) -> None:
    trained = RunDirectory.read(run).trained
    what = "adapter (PEFT)" if trained.name == "adapter" else "model"
    out.print(summary_view(summary))
    out.print(
        f"\nSaved: {what} in {trained}, figures in {run / 'summary.json'}, report in {run / REPORT}, "
        f"sampled completions in {run / 'rollouts'}, all steps in {run / 'metrics.jsonl'}.",
        soft_wrap=True,
    )
    out.print(
        f"To train longer: creditree train --from {quote(str(run))} --run NEW goes on from it, and a new run with "
        "--set train.steps=N takes more steps at once.",
        soft_wrap=True,
    )


def _print_next_steps(out: Console, run: Path) -> None:
    commands = {
        f"creditree eval {run} --set task.digits_a=4": "the trained adapter on longer numbers",
        "creditree show t-spmo": "what the method is made of",
        f"creditree quickstart --run {run.parent / BASELINE} --set {GRPO}": "the same with GRPO",
        f"creditree compare {run} {run.parent / BASELINE}": "and what may be concluded",
    }
    out.print("\nTry next:")
    for command, purpose in commands.items():
        out.print(f"  {command}    # {purpose}", soft_wrap=True)
