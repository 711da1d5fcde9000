"""The whole of a run: measure the base, train, measure again, save the adapter and say what may be concluded."""

from time import perf_counter
from typing import Any

from creditree.evaluate.accuracy import Evaluation
from creditree.report.summary import Summary
from creditree.runs.directory import RunDirectory
from creditree.train.settings import Parts, Settings, check_context
from creditree.train.trainer import Trainer, Watcher
