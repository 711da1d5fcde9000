"""`creditree show`."""

from typing import Annotated

import typer

from creditree.cli.options import JsonOption


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A method, a grader, or a configuration (YAML).")],
    json: JsonOption = False,
) -> None:
    """Show a method: pieces, formulas and numbers; a grader's rules; or a configuration, with an example's prompt."""
    from creditree.cli.describe import show_command

    show_command(name, as_json=json)
