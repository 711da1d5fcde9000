"""`creditree report`."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, also of runs that still train.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: report.html in the run.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write every chart as PNG and SVG, too.")
    ] = None,
) -> None:
    """Write one HTML file that shows runs: result, curves, cost, signal, examples and rollout trees."""
    from creditree.cli.output import console
    from creditree.measure.report import report as reported

    written = reported(*runs, out=out, figures=figures)
    console().print(f"The report: {written.page}", soft_wrap=True)
    if figures is not None:
        console().print(f"Its {len(written.figures)} pictures: {figures}", soft_wrap=True)
