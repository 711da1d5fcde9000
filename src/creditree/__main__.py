"""``python -m creditree``."""

from creditree.cli.main import run

run()
