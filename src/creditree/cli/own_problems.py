"""The commands for problems of one's own, pilot and monitor. What they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.engines.native.library import prepare
from creditree.errors import ConfigError

TrustOption = Annotated[
    bool, typer.Option("--trust-run", help="Run the reward function, or programs, that the run's configuration names.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences and tables.")]


def pilot(
    problems: Annotated[Path, typer.Argument(help="Rows with question and answer (CSV, JSONL, parquet).")],
    model: Annotated[str, typer.Option("--model", help="Built-in name, directory or hub name.")],
    budget: Annotated[str, typer.Option("--budget", help="Time for everything, such as 30m or 2h.")] = "30m",
    out: Annotated[
        Path, typer.Option("--out", help="Directory to write; the same command continues a stopped pilot.")
    ] = Path("pilots/pilot"),
    guard: Annotated[
        Path | None, typer.Option("--guard", help="Problems that must not get worse (CSV, JSONL, parquet).")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Your own metric: file.py:function or column:NAME; repeatable.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Column whose groups are reported one by one.")] = None,
    reward: Annotated[
        str | None,
        typer.Option("--reward", help="Grader, or file.py:function; default: the first that reads the answers."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Wording around {question}; \\n is a line break. Default: by grader.")
    ] = None,
    question: Annotated[str, typer.Option("--question", help="Column of the question.")] = "question",
    answer: Annotated[
        str | None, typer.Option("--answer", help="Column of the answer; default: answer or answers.")
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option("--max-new-tokens", min=1, max=10**7, help="Of a completion; default: by what is seen."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="Limit such as 8GB; default: 80 % of what is free.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1; default: cuda where there is one.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16, int8 or nf4; default: by model and memory.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Every random number depends on it.")] = 0,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the training runs.")
    ] = None,
) -> None:
    """Find out on your own problems whether training helps: check, measure, try, train, test, report."""
    prepare()
    from creditree.cli.pilot.command import pilot_command
    from creditree.pilot.request import Request
    from creditree.setup.machine import default_device

    request = Request(
        problems=problems,
        model=model,
        budget_s=_seconds(budget),
        out=out,
        device=device or default_device(),
        memory=_bytes(memory),
        dtype=dtype,
        question=question,
        answer=answer,
        prompt=None if prompt is None else prompt.replace("\\n", "\n"),
        reward=reward,
        max_new_tokens=max_new_tokens,
        guard=guard,
        metrics=tuple(metric or ()),
        by=by,
        seed=seed,
        overrides=tuple(set_ or ()),
    )
    pilot_command(request, as_json=json)


def monitor(
    adapter: Annotated[str, typer.Argument(help="Finished run, its adapter or model folder, or a folder with run/.")],
    fresh: Annotated[str, typer.Argument(help="Fresh problems with answers (JSONL, CSV, parquet).")],
    decoding: Annotated[
        str | None, typer.Option("--decoding", help="greedy, T=0.3, ...; default: the run's first.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", help="Drop that is tolerated, as a share such as 0.05.")] = 0.0,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance of ever raising a false alarm, at most.")] = 0.05,
    samples: Annotated[int, typer.Option("--samples", min=1, max=1000, help="Completions of each problem.")] = 1,
    problems: Annotated[int | None, typer.Option("--problems", min=1, max=10**6, help="At most so many new.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Measure the base model on the new problems, too.")] = False,
    stop_early: Annotated[bool, typer.Option("--stop-early", help="Measure no more once the alarm is raised.")] = False,
    state: Annotated[
        Path | None, typer.Option("--state", help="Directory of the observations; default: monitor/ in the run.")
    ] = None,
    trust_run: TrustOption = False,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as model.device=cuda.")
    ] = None,
) -> None:
    """Measure a trained adapter on fresh problems, and test whether its accuracy has fallen since it was trained.

    Call it as often as you like (cron): problems that were measured before are not counted again, and the chance of
    ever raising a false alarm is at most --alpha.

    Exit code: 0 no degradation shown, 3 degradation, 2 a mistake, 130 interrupted (repeat the command to go on).
    """
    from creditree.cli.baseline import MonitorOptions
    from creditree.cli.monitor import monitor_command

    options = MonitorOptions(
        adapter, fresh, decoding, margin, alpha, samples, problems, base, stop_early, state, trust_run
    )
    monitor_command(options, as_json=json, overrides=set_ or [])


def _seconds(budget: str) -> float:
    from creditree.units import parse_duration

    try:
        return parse_duration(budget)
    except ValueError as error:
        raise ConfigError(f"--budget is '{budget}': {error}.") from None


def _bytes(memory: str | None) -> int:
    """Return the bytes of ``--memory``, 0 where it was not given."""
    from creditree.units import parse_bytes

    try:
        return 0 if memory is None else parse_bytes(memory)
    except ValueError as error:
        raise ConfigError(f"--memory is '{memory}': {error}.") from None
