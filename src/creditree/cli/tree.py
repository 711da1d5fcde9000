"""`creditree tree`."""

from pathlib import Path
from typing import Annotated

import typer


def tree(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    step: Annotated[str, typer.Argument(help="Training step whose completions were kept, or last.")] = "last",
    problem: Annotated[str | None, typer.Argument(help="Problem, by its id; default: the step's first.")] = None,
) -> None:
    """Print what was sampled of a problem as a tree, coloured by value, with each completion's reward."""
    from creditree.cli.output import console
    from creditree.measure.report import stored_tree
    from creditree.report.tree import tree_view

    console().print(tree_view(stored_tree(run, step, problem)))
