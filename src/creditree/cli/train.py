"""`creditree train` and `creditree quickstart`."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from creditree.cli.dry_run import dry_run_record, dry_run_text
from creditree.cli.output import STOPPED, console, print_json, quiet_libraries
from creditree.config.build import build_parts, build_settings
from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.schema import RunConfig
from creditree.config.workload import memory_note, settled
from creditree.errors import RunError
from creditree.report.mirrors import mirrored, open_mirrors
from creditree.report.progress import Progress
from creditree.report.summary import Summary, summary_view
from creditree.runs.directory import RunDirectory
from creditree.train.procedure import REPORT, run_training
from creditree.verify.verifier import closing

GRPO = "'method={name: grpo, group: 16, kl: 0, loss_temperature: 0.5}'"
"""Settings with which GRPO learns the quickstart's task too."""


def train_command(
    path: Path, run: Path | None, *, resume: bool, dry_run: bool, as_json: bool, overrides: Sequence[str]
) -> None:
    """Train as the configuration says, or say what that would do."""
    config = load_config(path, overrides)
    if dry_run:
        if as_json:
            print_json(dry_run_record(config))
        else:
            print(dry_run_text(config))
        return
    if run is None:
        raise RunError("creditree train needs a run directory: add --run DIR, or --dry-run to look first.")
    _train(config, run, resume=resume, as_json=as_json)


def quickstart_command(run: Path, *, resume: bool, as_json: bool, overrides: Sequence[str]) -> None:
    """Train the built-in model as the shipped configuration says, and point to what comes next."""
    text = files("creditree.config").joinpath("quickstart.yaml").read_text(encoding="utf-8")
    _train(parse_config(text, "quickstart", overrides), run, resume=resume, as_json=as_json)
    if not as_json:
        _print_next_steps(console(), run)


def _train(config: RunConfig, run: Path, *, resume: bool, as_json: bool) -> None:
    out = Console(stderr=True, highlight=False) if as_json else console()
    summary = train_into(config, run, out, resume=resume)
    if summary is None:
        out.print(f"continue with --resume --run {run}", markup=False, soft_wrap=True)
        raise SystemExit(STOPPED)
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(out, summary, run)


def train_into(config: RunConfig, run: Path, out: Console, *, resume: bool) -> Summary | None:
    """Train into a run directory, with progress on `out`; return None where Ctrl-C stopped it."""
    quiet_libraries()
    config = settled(config)
    opened = RunDirectory.resume if resume else RunDirectory.create
    with opened(run, dump_config(config)) as directory:
        parts, settings = build_parts(config), build_settings(config)
        size = parts.learner.trained.description
        out.print(f"{parts.method.name} on {parts.task.name}: {config.model.name}, {size}")
        if config.train.memory is not None:
            out.print(memory_note(config), markup=False)
        for note in parts.task.notes:
            out.print(note, markup=False)
        mirrors = open_mirrors(config.log.mirrors, run, config.model_dump(mode="json"))
        with (
            closing(parts.verifier),
            Progress(settings.steps, out, settings.cpu_seconds, settings.seconds) as progress,
            mirrored(progress, mirrors) as watcher,
        ):
            return run_training(parts, settings, directory, watcher)


def _print_summary(out: Console, summary: Summary, run: Path) -> None:
    trained = RunDirectory.read(run).trained
    what = "adapter (PEFT)" if trained.name == "adapter" else "model"
    out.print(summary_view(summary))
    out.print(
        f"\nSaved: {what} in {trained}, figures in {run / 'summary.json'}, report in {run / REPORT}, "
        f"sampled completions in {run / 'rollouts'}, all steps in {run / 'metrics.jsonl'}."
    )


def _print_next_steps(out: Console, run: Path) -> None:
    commands = {
        f"creditree eval {run} --set task.digits_a=4": "the trained adapter on longer numbers",
        "creditree show t-spmo": "what the method is made of",
        f"creditree quickstart --run {run.parent / 'grpo'} --set {GRPO}": "the same with GRPO",
        f"creditree compare {run} {run.parent / 'grpo'}": "and what may be concluded",
    }
    out.print("\nTry next:")
    for command, purpose in commands.items():
        out.print(f"  {command}    # {purpose}", markup=False, soft_wrap=True)
