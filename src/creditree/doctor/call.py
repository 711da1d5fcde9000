"""The doctor as a procedure: from a request to what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.config.schema import RunConfig
from creditree.disk import is_folder
from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis
from creditree.doctor.host import Host, look_at_host
from creditree.doctor.of_config import case_of_config
from creditree.doctor.of_run import case_of_run
from creditree.doctor.registry import DIAGNOSES, examined
from creditree.doctor.rehearsal import Rehearsal
from creditree.doctor.request import DoctorRequest
from creditree.doctor.room import MemoryFit
from creditree.errors import ConfigError
from creditree.report.watcher import Watcher
from creditree.setup.request import TrainRequest

SCHEMA_VERSION = 1
DOCUMENT = "docs/doctor.md"
"""Has a section for each diagnosis."""


@dataclass(frozen=True, eq=False)
class Checkup:
    """What was found: `kind` is machine, configuration or run, `name` what was looked at.

    `left_out`: a sentence for each part that could not be looked at.
    """

    kind: str
    name: str
    host: Host
    diagnoses: tuple[Diagnosis, ...]
    room: MemoryFit | None = None
    rehearsal: Rehearsal | None = None
    left_out: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Diagnosis, ...]:
        """The diagnoses that are more than notes."""
        return tuple(diagnosis for diagnosis in self.diagnoses if diagnosis.severity == "problem")

    @property
    def healthy(self) -> bool:
        """Whether nothing but notes was found."""
        return not self.problems

    def __str__(self) -> str:
        """Return the findings, a line each."""
        return "\n".join(f"{made.severity} {made.id}: {made.text}" for made in self.diagnoses) or "nothing found"

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "subject": {"kind": self.kind, "name": self.name},
            "healthy": self.healthy,
            "problems": len(self.problems),
            "findings": [made.to_json() | {"section": f"{DOCUMENT}#{made.id}"} for made in self.diagnoses],
            "looked_for": [name for name, _ in DIAGNOSES],
            "left_out": list(self.left_out),
            "memory": None if self.room is None else self.room.to_json(),
            "probe": None if self.rehearsal is None else self.rehearsal.to_json(),
            "machine": self.host.to_json(),
        }


def doctor(request: DoctorRequest, watcher: Watcher) -> Checkup:
    """Look at this machine, at a configuration before training, or at a run.

    Raises ConfigError, DataError, ModelError or RunError where there is nothing that could be looked at.
    """
    subject, host = request.subject, look_at_host()
    if isinstance(subject, Path) and is_folder(subject):
        _refuse_overrides(request.overrides, subject)
        case, left_out = case_of_run(subject)
        return Checkup("run", str(subject), host, examined(case), left_out=left_out)
    if subject is None:
        _refuse_overrides(request.overrides, None)
        return Checkup("machine", "this machine", host, examined(Case(host=host)))
    config = TrainRequest(subject, overrides=request.overrides).load()
    return _of_config(config, _name(subject), host, watcher, probe=request.probe)


def _of_config(config: RunConfig, name: str, host: Host, watcher: Watcher, *, probe: bool) -> Checkup:
    before = case_of_config(config, host, watcher, probe=probe)
    diagnoses = examined(before.case)
    return Checkup("configuration", name, host, diagnoses, before.room, before.rehearsal, before.left_out)


def _name(subject: object) -> str:
    return str(subject) if isinstance(subject, Path) else "the configuration"


def _refuse_overrides(overrides: Sequence[str], run: Path | None) -> None:
    if overrides:
        what = "this machine" if run is None else f"run {run}, which is looked at as it was trained"
        raise ConfigError(f"`overrides` change a configuration, and have no effect on {what}; leave them out.")
