"""What the doctor is asked to look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """`subject`: a run directory, the file of a configuration or its values; None: the machine alone.

    `overrides`: of a configuration;  `probe`: try its first steps, which loads the model.
    """

    subject: Path | Mapping[str, Any] | None = None
    overrides: tuple[str, ...] = ()
    probe: bool = True
