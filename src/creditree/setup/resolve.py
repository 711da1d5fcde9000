"""A configuration with nothing left to choose: made once, whichever door it came through."""

from dataclasses import dataclass
from functools import cached_property

from creditree.config.engine import check_adapters
from creditree.config.load import dump_config
from creditree.config.schema import RunConfig
from creditree.methods import Method
from creditree.setup.build import build_settings, build_task
from creditree.setup.choices import Choices
from creditree.setup.defaults import resolved
from creditree.setup.problems import check_problems
from creditree.setup.room import check_room
from creditree.setup.start import started
from creditree.setup.workload import settled
from creditree.tasks.task import Task
from creditree.train.settings import Settings


@dataclass(frozen=True, eq=False)
class Resolved:
    """A configuration whose every value is known, and what follows from it, each made at first use and kept.

    `choices`: what was chosen where the configuration does not say, with the reasons.
    """

    config: RunConfig
    choices: Choices = ()

    @cached_property
    def method(self) -> Method:
        """The composition of pieces."""
        return self.config.method.build()

    @cached_property
    def task(self) -> Task:
        """The problems. Raises ConfigError or DataError for what cannot be used."""
        return build_task(self.config.task)

    @cached_property
    def settings(self) -> Settings:
        """The numbers of the run."""
        return build_settings(self.config, self.method)

    @property
    def yaml(self) -> str:
        """The configuration as a run keeps it, and compares it when it goes on."""
        return dump_config(self.config)


def resolve(config: RunConfig, *, recorded: RunConfig | None = None) -> Resolved:
    """Return the configuration as it will run: what it goes on from, the settings of a real model, what fits memory.

    `recorded`: of the run that is continued, whose values are taken without another choice. Raises ConfigError for
    what does not fit together or into this machine, and ModelError where what it goes on from is not there.
    """
    check_adapters(config.engine, "training")
    chosen, choices = resolved(started(config), recorded=recorded)
    config = settled(chosen)
    check_room(config)
    check_problems(config)
    return Resolved(config, choices)
