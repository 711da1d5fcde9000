"""What was chosen where a configuration does not say: a value, with its reason."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from creditree.config.schema import RunConfig
from creditree.models.shapes import Shape


@dataclass(frozen=True, slots=True)
class ChosenValue:
    """A setting that the configuration does not say, what was chosen, and why: a clause without a full stop."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.key} {self.value}: {self.why}"


Choices = tuple[ChosenValue, ...]
Found = tuple[Any, str] | None
"""A value and why; None: nothing is chosen."""
Rule = Callable[[RunConfig, Shape], Found]
"""What is chosen for a configuration and the shape of its model."""


def choices_text(choices: Choices) -> str:
    """Return what was chosen and why, a line each."""
    return "\n".join(["chosen, where the configuration does not say:", *(f"  {choice}" for choice in choices)])
