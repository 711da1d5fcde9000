"""Imported once by the process that commands are forked from: a run makes it import and compile all that a run needs.

Half of the processor time of a small run is what the first run of a process does once.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from creditree.config.load import load_config
from creditree.report.watcher import Watcher
from creditree.setup.training import train_into
from tests.e2e.command import write_config

with TemporaryDirectory() as _folder:
    _path = write_config(
        Path(_folder) / "warm.yaml",
        method={"name": "grpo", "group": 2},
        sampling={"temperature": 1.0, "max_new_tokens": 4},
        train={"steps": 1, "threads": 1},
        evaluation={"problems": 1, "temperatures": [0]},
    )
    train_into(load_config(_path), Path(_folder) / "run", Watcher())
