"""The command line. Commands import what they need when they run, so that `--help` stays instant."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.ending import Commands, ended
from creditree.cli.own_problems import TrustOption, monitor, pilot
from creditree.engines.native.library import prepare
from creditree.errors import ConfigError
from creditree.text import shortened

app = typer.Typer(
    name="creditree",
    cls=Commands,
    help="Reinforcement learning that teaches small language models to reason, on the hardware you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunOption = Annotated[Path, typer.Option("--run", help="Run directory to write.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as method.group=16.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Limit such as 8GB or 500MB: settings are chosen so that it holds."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
RewardOption = Annotated[
    str | None, typer.Option("--reward", metavar="GRADER", help="Who judges: a grader, or file.py:function.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run that is there, if any.")]


@app.command()
def quickstart(
    run: RunOption = Path("runs/quickstart"),
    resume: ResumeOption = False,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train the built-in model with T-SPMO and show that it learned (about a minute on two CPU cores)."""
    prepare()
    from creditree.cli.train import quickstart_command

    quickstart_command(run, resume=resume, as_json=json, overrides=set_ or [])


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration (YAML); with --from RUN it may be left out: the run's.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run directory to write.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Base model: a directory, hub name or GGUF file; with --task no YAML.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task by name, such as svamp, gsm8k or file.")] = None,
    resume: ResumeOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and what a step costs.")
    ] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="ADAPTER", help="Run or adapter directory to go on learning from.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="File of problems in place of the task's own."),
    ] = None,
    guard: Annotated[
        str | None, typer.Option("--guard", metavar="FILE", help="File of problems that must not get worse.")
    ] = None,
    reward: RewardOption = None,
    trust_run: TrustOption = False,
    memory: MemoryOption = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train a model as a configuration says; measure it before and after."""
    if not dry_run:
        prepare()
    from creditree.cli.train import TrainOptions, train_command
    from creditree.config.trust import reward_override

    overrides = (*reward_override(reward), *(set_ or []), *memory_override(memory))
    options = TrainOptions(config, model, task, start, data, guard, overrides, trust_run)
    train_command(options, run, resume=resume, dry_run=dry_run, as_json=json)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML).")],
    memory: MemoryOption = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option("--prompt-tokens", min=1, max=10**7, help="Longest prompt; default: looked up."),
    ] = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Predict memory, tokens and FLOPs of a run without loading the model, and say what fits which card."""
    from creditree.cli.plan import plan_command

    overrides = [*(set_ or []), *memory_override(memory)]
    plan_command(config, prompt_tokens=prompt_tokens, as_json=json, overrides=overrides)


def memory_override(memory: str | None) -> list[str]:
    """Return ``--memory`` as an override of the configuration."""
    return [] if memory is None else [f"train.memory='{memory}'"]


@app.command("eval")
def evaluate(
    target: Annotated[str, typer.Argument(help="Run directory, PEFT adapter directory, or model.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Task name, or a YAML file with a task block; default: the run's.")
    ] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Several benchmarks and their average: attnrl.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="File of the task's problems (JSONL, CSV, parquet).")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder with a file for each benchmark, such as aime24.jsonl.")
    ] = None,
    problems: Annotated[
        int | None,
        typer.Option(
            "--problems", min=1, max=1_000_000, help="At most so many; default: 500, of benchmarks and files all."
        ),
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option("--temperature", min=0, help="Repeat for several; 0 is greedy. Default: 0, 0.3, 1; several: 0.6."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=1000, help="Completions of each problem; default: 1.")
    ] = None,
    k: Annotated[
        str | None, typer.Option("--k", metavar="K,K,...", help="pass@k and maj@k for these; default: 1 and --samples.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, max=10**7, help="Tokens of a completion, at most.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="test or validation.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory to save in; the same command continues a stopped one.")
    ] = None,
    base: Annotated[bool, typer.Option("--base/--no-base", help="Measure the base of what was trained, too.")] = True,
    reward: RewardOption = None,
    trust_run: TrustOption = False,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Measure pass@1, pass@k and maj@k on held-out problems, with intervals, and the difference to the base model."""
    from creditree.cli.evaluate import eval_command
    from creditree.cli.target import EvalOptions
    from creditree.config.trust import reward_override

    temperatures = tuple(temperature) if temperature else None
    options = EvalOptions(
        target, task, suite, data, data_dir, problems, temperatures, samples, whole_numbers("--k", k), max_new_tokens,
        split, out, base, trust_run,
    )  # fmt: skip
    eval_command(options, as_json=json, overrides=[*reward_override(reward), *(set_ or [])])


def whole_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of an option such as ``1,4,32``. Raises ConfigError for anything else."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(_WHOLE.fullmatch(part) for part in parts):
        raise ConfigError(
            f"{option} is '{shortened(text)}': write whole numbers of at least 1 with commas, such as 1,4,32."
        )
    return tuple(sorted({int(part) for part in parts}))


_WHOLE = re.compile("0{0,9}[1-9][0-9]{0,8}")

app.command()(pilot)
app.command()(monitor)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or directories of creditree eval --out.")],
    decoding: Annotated[
        str | None, typer.Option("--decoding", help="greedy, T=0.3, ...; default: the first shared.")
    ] = None,
    by_method: Annotated[bool, typer.Option("--by-method", help="Average the runs of each method over seeds.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare finished runs or saved evaluations, paired by problem."""
    from creditree.cli.compare import compare_command

    compare_command(runs, decoding=decoding, by_method=by_method, as_json=json)


GraderOption = Annotated[
    str, typer.Option("--grader", help="math, numeric, exact, choice, last_integer, program, or file.py:function.")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", min=0.01, help="Seconds for one answer (math, program), or for one call of a function."),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Processes; math and program.")]
RewardSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the grader, such as tolerance=1e-6."),
]


@app.command()
def grade(
    file: Annotated[Path, typer.Argument(help="Rows with prediction and answers (JSONL, CSV, parquet).")],
    grader: GraderOption = "math",
    deadline: DeadlineOption = None,
    workers: WorkersOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one verdict a line as JSON.")] = False,
    set_: RewardSetOption = None,
) -> None:
    """Grade the predictions of a file."""
    from creditree.cli.grade import grade_command

    grade_command(file, grader, deadline=deadline, workers=workers, as_json=json, overrides=set_ or [])


@app.command("verify-audit")
def verify_audit(
    file: Annotated[Path, typer.Argument(help="Rows with prediction, answers and label (JSONL, CSV, parquet).")],
    grader: GraderOption = "math",
    deadline: DeadlineOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
    set_: RewardSetOption = None,
) -> None:
    """Compare a grader with labels: agreement, false positives and negatives, asymmetries, timeouts."""
    from creditree.cli.grade import audit_command

    audit_command(file, grader, deadline=deadline, workers=workers, as_json=json, overrides=set_ or [])


@app.command()
def sweep(
    config: Annotated[Path, typer.Argument(help="Sweep (YAML): base, grid or cases, seeds.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of the runs; the same command continues a stopped sweep.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all configurations and list the runs.")] = False,
    decoding: Annotated[
        str | None, typer.Option("--decoding", help="greedy, T=0.3, ...; default: the first shared.")
    ] = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train every combination of settings and seeds, and compare the cases."""
    if not dry_run:
        prepare()
    from creditree.cli.sweep import sweep_command

    sweep_command(config, out, dry_run=dry_run, decoding=decoding, as_json=json, overrides=set_ or [])


@app.command()
def methods(json: JsonOption = False) -> None:
    """List the methods and what they are made of."""
    from creditree.cli.describe import methods_command

    methods_command(as_json=json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A method, a grader, or a configuration (YAML).")],
    json: JsonOption = False,
) -> None:
    """Show a method: pieces, formulas and numbers; a grader's rules; or a configuration, with an example's prompt."""
    from creditree.cli.describe import show_command

    show_command(name, as_json=json)


def run() -> None:
    """Run the command line; a user's mistake is one sentence on stderr and exit code 2."""
    sys.exit(ended(app))
