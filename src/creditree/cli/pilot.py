"""`creditree pilot`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption
from creditree.engines.native.library import prepare


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
    from creditree.cli.output import print_json, progress_console, quiet_libraries, shown
    from creditree.cli.spelling import in_shell
    from creditree.cli.words import in_options
    from creditree.pilot.request import Request, bytes_of, seconds_of
    from creditree.pilot.stages import pilot as piloted
    from creditree.report.pilot import pilot_sentence
    from creditree.setup.machine import default_device

    quiet_libraries()
    request = Request(
        problems=problems,
        model=model,
        budget_s=seconds_of(budget),
        out=out,
        device=device or default_device(),
        memory=bytes_of(memory),
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
        spelled=in_shell,
    )
    record = piloted(request, shown(stderr=json)).to_json()
    if json:
        print_json(record)
        return
    printed = progress_console(stderr=False)
    printed.print(f"\n{in_options(pilot_sentence(record))}")
    for risk in record["risks"]:
        printed.print(f"! {in_options(risk)}")
    printed.print(f"\nThe report: {out / 'report.html'} and {out / 'report.md'}", soft_wrap=True)
