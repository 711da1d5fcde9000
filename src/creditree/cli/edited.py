"""What is said of a run's configuration that is not as the run wrote it."""

from creditree.cli.stream import tell
from creditree.runs.directory import RunDirectory
from creditree.train.start import run_of


def tell_edited(named: str) -> None:
    """Say so, where that configuration was used: it was edited, which is allowed, or it is damaged."""
    run = run_of(named)
    if run is not None and (words := RunDirectory.read(run).edited):
        tell(words)
