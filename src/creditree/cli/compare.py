"""`creditree compare`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import DecodingOption, JsonOption


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or directories of creditree eval --out.")],
    decoding: DecodingOption = None,
    by_method: Annotated[bool, typer.Option("--by-method", help="Average the runs of each method over seeds.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare finished runs or saved evaluations, paired by problem."""
    from creditree.cli.output import console, print_json, progress_console
    from creditree.measure.compare import compare as compared

    comparison = compared(runs, decoding=decoding, by_method=by_method)
    for sentence in comparison.damages:
        progress_console(stderr=True).print(sentence, soft_wrap=True)
    if json:
        print_json(comparison.to_json())
    else:
        console().print(comparison.view())
