"""`creditree train`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creditree.cli.options import (
    JsonOption,
    MemoryOption,
    ResumeOption,
    RewardOption,
    RunOption,
    SetOption,
    TrustOption,
    WorkersOption,
    memory_override,
)
from creditree.config.reading import read_yaml
from creditree.engines.native.library import prepare
from creditree.errors import RunError

if TYPE_CHECKING:
    from creditree.config.schema import RunConfig
    from creditree.setup.request import TrainRequest


def train(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration (YAML); with --from RUN it may be left out: the run's.")
    ] = None,
    run: RunOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Base model: directory, hub name or GGUF file; with --task or --data no YAML."),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task: svamp, gsm8k, file, FILE.py:function.")] = None,
    resume: ResumeOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and what a step costs.")
    ] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="ADAPTER", help="Run or adapter directory to go on learning from.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="File of problems: the task, or in place of its own."),
    ] = None,
    guard: Annotated[
        str | None, typer.Option("--guard", metavar="FILE", help="File of problems that must not get worse.")
    ] = None,
    reward: RewardOption = None,
    trust_run: TrustOption = False,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train a model as a configuration says; measure it before and after."""
    if config is not None:
        read_yaml(config)
    if not dry_run:
        prepare()
    from creditree.config.trust import reward_override
    from creditree.setup.request import TrainRequest

    overrides = (*reward_override(reward), *(set_ or []), *memory_override(memory))
    request = TrainRequest(config, model, task, start, data, guard, overrides, trust_run)
    if dry_run:
        _dry_run(request, as_json=json)
        return
    loaded = request.load()
    if run is None:
        raise RunError("creditree train needs a run directory: add --run DIR, or --dry-run to look first.")
    words = [*words_of(request), *([] if workers is None else ["--workers", str(workers)])]
    train_shown(loaded, run, words, resume=resume, as_json=json, workers=workers)
    if config is None and start is not None:
        from creditree.cli.output import tell_edited

        tell_edited(start)


def words_of(request: "TrainRequest") -> list[str]:
    """Return a request as it is written on a command line."""
    named = {
        "--model": request.model, "--task": request.task, "--from": request.start, "--data": request.data,
        "--guard": request.guard,
    }  # fmt: skip
    words = ["train", *([] if request.config is None else [str(request.config)])]
    words += [part for name, value in named.items() if value for part in (name, value)]
    return [*words, *(["--trust-run"] if request.trusted else []), *overriding(request.overrides)]


def overriding(overrides: tuple[str, ...]) -> list[str]:
    """Return overrides as they are written on a command line."""
    return [part for override in overrides for part in ("--set", override)]


def train_shown(
    config: "RunConfig", run: Path, words: list[str], *, resume: bool, as_json: bool, workers: int | None = None
) -> None:
    """Train with progress, and print the summary; `words`: the command, for whoever has stopped it."""
    from creditree.cli.output import print_json, quiet_libraries, shown
    from creditree.setup.training import tell_of_start, train_into
    from creditree.train.interrupt import continuing

    quiet_libraries()
    watcher = shown(stderr=as_json)
    if resume:
        tell_of_start(run, watcher)
    again = shlex.join(["creditree", *words, "--run", str(run), "--resume"])
    with continuing(f"continue with: {again}"):
        summary = train_into(config, run, watcher, resume=resume, workers=workers)
    if as_json:
        print_json(summary.to_json())
        return
    _print_saved(run)


def _print_saved(run: Path) -> None:
    from creditree.cli.output import progress_console
    from creditree.report.summary import summary_view
    from creditree.setup.run import Run

    out, made = progress_console(stderr=False), Run(run)
    out.print(summary_view(made.summary))
    out.print(f"\nSaved: {', '.join(f'{name} in {place}' for name, place in made.saved.items())}.", soft_wrap=True)
    out.print(
        f"To train longer: creditree train --from {shlex.quote(str(run))} --run NEW goes on from it, and a new run "
        "with --set train.steps=N takes more steps at once.",
        soft_wrap=True,
    )


def _dry_run(request: "TrainRequest", *, as_json: bool) -> None:
    from creditree.cli.output import print_json, print_text
    from creditree.setup.defaults import resolved
    from creditree.setup.dry_run import dry_run_record, dry_run_text
    from creditree.setup.start import started

    config, choices = resolved(started(request.load(), offline=True), offline=True)
    if as_json:
        print_json(dry_run_record(config, choices))
    else:
        print_text(dry_run_text(config, choices))
