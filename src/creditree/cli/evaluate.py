"""`creditree eval`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption, RewardOption, SetOption, TrustOption, WorkersOption, whole_numbers


def evaluate(
    target: Annotated[str, typer.Argument(help="Run directory, PEFT adapter directory, or model.")],
    task: Annotated[
        str | None,
        typer.Option("--task", help="Task name, FILE.py:function, or a YAML file with a task; default: the run's."),
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
            "--problems", min=1, max=1_000_000, help="At most this many (default 500; benchmarks and files: all)."
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
    workers: WorkersOption = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Measure pass@1, pass@k and maj@k on held-out problems, with intervals, and the difference to the base model."""
    from creditree.cli.output import console, print_json, quiet_libraries, shown
    from creditree.cli.stream import tell
    from creditree.config.trust import reward_override
    from creditree.measure.evaluation import evaluate as measured
    from creditree.measure.target import EvaluationRequest
    from creditree.report.evaluation import suite_view, task_view

    quiet_libraries()
    temperatures, ks = tuple(temperature) if temperature else None, whole_numbers("--k", k)
    result = measured(
        EvaluationRequest(
            target=target, task=task, suite=suite, data=data, data_dir=data_dir, problems=problems,
            temperatures=temperatures, samples=samples, ks=ks, max_new_tokens=max_new_tokens, split=split, out=out,
            base=base, trusted=trust_run, workers=workers, overrides=(*reward_override(reward), *(set_ or [])),
        ),
        shown(stderr=True),
    )  # fmt: skip
    if result.edited:
        tell(result.edited)
    record = result.to_json()
    if json:
        print_json(record)
        return
    views = [task_view(entry) for entry in record.get("tasks", {"": record}).values()]
    console().print(*views, *([suite_view(record)] if "suite" in record else []))
