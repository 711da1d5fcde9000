"""The command line. Commands import what they need when they run, so that `--help` stays instant."""

import sys
from typing import Annotated, Any

import typer

from creditree import __version__
from creditree.cli.compare import compare
from creditree.cli.doctor import doctor
from creditree.cli.ending import Commands, ended
from creditree.cli.evaluate import evaluate
from creditree.cli.examples import Command
from creditree.cli.export import export
from creditree.cli.grade import grade, verify_audit
from creditree.cli.methods import methods
from creditree.cli.monitor import monitor
from creditree.cli.pilot import pilot
from creditree.cli.plan import plan
from creditree.cli.quickstart import quickstart
from creditree.cli.report import report
from creditree.cli.show import show
from creditree.cli.sweep import sweep
from creditree.cli.train import train
from creditree.cli.tree import tree
from creditree.cli.view import view


class App(typer.Typer):
    """An application all of whose commands have an example in their help."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Register a command."""
        return super().command(name, cls=Command, **options)


app = App(
    name="creditree",
    cls=Commands,
    help="Reinforcement learning that teaches small language models to reason, on the hardware you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"creditree {__version__}")
        raise typer.Exit


VERSION = typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")


@app.callback()
def _every_command(version: Annotated[bool, VERSION] = False) -> None:
    """Do what every command does first."""


COMMANDS = {
    "quickstart": quickstart, "train": train, "plan": plan, "doctor": doctor, "eval": evaluate, "pilot": pilot,
    "monitor": monitor, "compare": compare, "report": report, "tree": tree, "view": view, "export": export,
    "grade": grade, "verify-audit": verify_audit, "sweep": sweep, "methods": methods, "show": show,
}  # fmt: skip
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def run() -> None:
    """Run the command line; a user's mistake is one sentence on stderr and exit code 2."""
    sys.exit(ended(app))
