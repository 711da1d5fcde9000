"""What graders may be told, checked where it is written and where it is used."""

from dataclasses import dataclass

from creditree.errors import ConfigError

LEAST_MEMORY = 1 << 28


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use: wall seconds for one answer, bytes of address space, and how many workers there are.

    Raises ConfigError for less memory than sympy needs.
    """

    deadline_s: float = 5.0
    memory_bytes: int = 1 << 30
    num_workers: int = 2

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY:
            raise ConfigError("the memory of a grading process is below 256 MiB, which sympy needs; set 512MB or more.")


def check_tolerance(tolerance: float) -> None:
    """Raise ConfigError for a relative difference that nothing, or everything, keeps to."""
    if not 0 <= tolerance < float("inf"):
        raise ConfigError(f"the tolerance of numeric is {tolerance}: set 0, or a small number such as 1e-6.")


def check_execution(*, allowed: bool) -> None:
    """Raise ConfigError where programs are to be judged and nobody allowed them to run."""
    if not allowed:
        raise ConfigError(
            "the grader program runs what the model writes on this machine; if that is acceptable, set "
            "reward: {name: program, allow_execution: true}."
        )
