"""Reinforcement learning for small language models: trees of rollouts, and credit for single tokens.

``import creditree as ct`` is light; what a name needs is imported when it is used:

    run = ct.train("recipes/quickstart.yaml", "runs/a", steps=200)
    print(run.summary.conclusion(), ct.evaluate(run, digits_a=4).accuracy)
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditree.api.measuring import compare, doctor, evaluate, export, grade, monitor
    from creditree.api.training import load_config, pilot, plan, sweep, train
    from creditree.batch import pack
    from creditree.credit.base import Credit, OutcomeCredit
    from creditree.credit.prefix_gain import PrefixGain
    from creditree.engines.engine import SampleRequest, Sampling
    from creditree.engines.in_process import InProcessEngine
    from creditree.errors import ConfigError, CreditreeError, DataError, ModelError, RunError
    from creditree.evaluate.examiner import Examiner
    from creditree.evaluate.prompt import prompt_ids
    from creditree.evaluate.statistics import paired_difference, wilson
    from creditree.explore.base import Exploration, Explorer, Fork, Growth
    from creditree.explore.replay import Replay
    from creditree.learner.learner import Learner, OptimiserSpec
    from creditree.measure.report import report
    from creditree.methods import Method
    from creditree.models.adapter import Adapter, LoraSpec
    from creditree.models.load import Model, load_model
    from creditree.objective.base import L2Penalty, Objective
    from creditree.objective.likelihood import Likelihood
    from creditree.piece import Circumstances, again, number
    from creditree.problem import Problem, Verdict
    from creditree.report.watcher import Watcher
    from creditree.rng import Key
    from creditree.schedule.base import Schedule
    from creditree.select.base import ByCompletion, Completion, Selection
    from creditree.select.branching_pairs import BranchingPairs
    from creditree.select.masked import Masked
    from creditree.setup.run import Run
    from creditree.signals import Signals
    from creditree.tasks.multiplication import Multiplication
    from creditree.tasks.task import PromptTemplate, Task
    from creditree.train.loop import Loop
    from creditree.tree import Branch, Forest, RolloutTree
    from creditree.verify.last_integer import LastInteger
    from creditree.verify.verifier import Answer, Verifier

__version__ = "0.1.0"

__all__ = [
    "Adapter", "Answer", "Branch", "BranchingPairs", "ByCompletion", "Circumstances", "Completion", "ConfigError",
    "Credit", "CreditreeError", "DataError", "Examiner", "Exploration", "Explorer", "Forest", "Fork", "Growth",
    "InProcessEngine", "Key", "L2Penalty", "LastInteger", "Learner", "Likelihood", "Loop", "LoraSpec", "Masked",
    "Method", "Model", "ModelError", "Multiplication", "Objective", "OptimiserSpec", "OutcomeCredit", "PrefixGain",
    "Problem", "PromptTemplate", "Replay", "RolloutTree", "Run", "RunError", "SampleRequest", "Sampling", "Schedule",
    "Selection", "Signals", "Task", "Verdict", "Verifier", "Watcher", "again", "compare", "doctor", "evaluate",
    "export", "grade", "load_config", "load_model", "monitor", "number", "pack", "paired_difference", "pilot",
    "plan", "prompt_ids", "report", "sweep", "train", "wilson",
]  # fmt: skip

PROCEDURES = {
    **dict.fromkeys(("pilot", "plan", "sweep", "train"), "api.training"),
    **dict.fromkeys(("doctor", "evaluate", "export", "monitor"), "api.measuring"),
    "report": "measure.report",
}
"""Procedures that are called as the packages behind them, by their module: ``creditree.train(...)`` calls a package."""
WHERE = {
    **dict.fromkeys(("compare", "grade"), "api.measuring"),
    "load_config": "api.training",
    **dict.fromkeys(("ConfigError", "CreditreeError", "DataError", "ModelError", "RunError"), "errors"),
    **dict.fromkeys(("Exploration", "Explorer", "Fork", "Growth"), "explore.base"),
    **dict.fromkeys(("Problem", "Verdict"), "problem"),
    **dict.fromkeys(("PromptTemplate", "Task"), "tasks.task"),
    **dict.fromkeys(("Branch", "RolloutTree"), "tree"),
    **dict.fromkeys(("Answer", "Verifier"), "verify.verifier"),
    **dict.fromkeys(("Credit", "OutcomeCredit"), "credit.base"),
    **dict.fromkeys(("Circumstances", "again", "number"), "piece"),
    **dict.fromkeys(("ByCompletion", "Completion", "Selection"), "select.base"),
    "Masked": "select.masked",
    "Adapter": "models.adapter",
    "BranchingPairs": "select.branching_pairs",
    "Examiner": "evaluate.examiner",
    "Forest": "tree",
    "InProcessEngine": "engines.in_process",
    "L2Penalty": "objective.base",
    "LastInteger": "verify.last_integer",
    "Learner": "learner.learner",
    "Likelihood": "objective.likelihood",
    "LoraSpec": "models.adapter",
    "Model": "models.load",
    "Multiplication": "tasks.multiplication",
    "OptimiserSpec": "learner.learner",
    "PrefixGain": "credit.prefix_gain",
    "Replay": "explore.replay",
    "SampleRequest": "engines.engine",
    "Sampling": "engines.engine",
    "load_model": "models.load",
    "pack": "batch",
    "paired_difference": "evaluate.statistics",
    "prompt_ids": "evaluate.prompt",
    "wilson": "evaluate.statistics",
    "Key": "rng",
    "Loop": "train.loop",
    "Method": "methods",
    "Objective": "objective.base",
    "Run": "setup.run",
    "Schedule": "schedule.base",
    "Signals": "signals",
    "Watcher": "report.watcher",
}
"""The module that each name is from."""


class _Called(ModuleType):
    """A package that is called for the procedure of its name."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._procedure(*arguments, **named)

    @property
    def _procedure(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"creditree.{PROCEDURES[name]}"), name)

    @property
    def __signature__(self) -> Any:
        return import_module("inspect").signature(self._procedure)


class _Package(ModuleType):
    """This package: where Python puts a package of a procedure's name into it, that one can be called."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in PROCEDURES and isinstance(value, ModuleType):
            value.__class__ = _Called
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Return what is imported when it is used (PEP 562)."""
    if name in PROCEDURES:
        return import_module(f"creditree.{name}")
    if name in WHERE:
        return getattr(import_module(f"creditree.{WHERE[name]}"), name)
    raise AttributeError(f"module 'creditree' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
