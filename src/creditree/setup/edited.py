"""What is said of a run's configuration that is not as the run wrote it."""

from creditree.runs.directory import RunDirectory
from creditree.train.start import run_of


def edited(named: str) -> str:
    """Return a sentence where the configuration that is used was edited, which is allowed, or damaged; else "".

    Raises RunError where the run's checksums cannot be read: ask before there is work to lose.
    """
    run = run_of(named)
    return "" if run is None else RunDirectory.read(run).edited
