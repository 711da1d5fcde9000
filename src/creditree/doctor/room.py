"""What a configuration needs of a machine's memory, and what would fit: from the plan, nothing is loaded."""

from dataclasses import asdict, dataclass
from typing import Any

from creditree.config.schema import RunConfig
from creditree.plan.fit import choose, largest_group, largest_length
from creditree.plan.prediction import predict
from creditree.setup.machine import usable_memory
from creditree.setup.workload import free_of, too_little, workload_of
from creditree.units import parse_bytes


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """`usable`: bytes of the device that a run may plan with, or the limit `train.memory`;  `at_most`, `expected`: what
    the run needs at its peak, in `phase`;  `group`, `length`: the largest that fit, the other as configured;
    `problem`: why nothing fits, None where it does;  `assumed`: the prompt's length could not be looked up.
    """

    device: str
    usable: int
    at_most: int
    expected: int
    phase: str
    group_key: str
    group: int | None
    length: int | None
    problem: str | None
    assumed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; sizes in bytes."""
        return asdict(self) | {"fits": self.problem is None}


def room_of(config: RunConfig) -> MemoryFit:
    """Return what a run needs and what this machine has, before the model is loaded.

    Raises ConfigError where the model's shape is not known without asking the network.
    """
    work, prompt = workload_of(config)
    free, device = free_of(config.train), config.model.device
    limit = config.train.memory
    usable = usable_memory(device) if limit is None else parse_bytes(limit)
    fitting = choose(work, usable, free)
    shown = work if fitting is None else fitting
    return MemoryFit(
        device,
        usable,
        predict(shown).total,
        predict(shown, expected=True).total,
        predict(shown).peak.name,
        work.group_key,
        largest_group(work, usable, free),
        largest_length(work, usable, free),
        None if fitting is not None else too_little(work, usable, free),
        prompt.assumed,
    )
