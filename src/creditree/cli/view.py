"""`creditree view`."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from creditree.train.interrupt import Interrupted


def view(
    run: Annotated[Path, typer.Argument(help="Run directory, also of a run that still trains.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any.")] = 8765,
) -> None:
    """Show a run in the browser while it trains: curves, a search over all completions, and their trees."""
    from creditree.cli.output import console
    from creditree.view.server import serving

    with serving(run, port) as server:
        console().print(f"The run is at {server.address} (this machine only); Ctrl-C ends.", soft_wrap=True)
        with suppress(Interrupted):  # how one ends it
            threading.Event().wait()
