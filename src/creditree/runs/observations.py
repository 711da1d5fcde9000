"""What was measured of an adapter since it was trained: one line a problem, kept over many calls."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from creditree.disk import is_there
from creditree.errors import RunError
from creditree.runs.atomic import sync_folder, text_bytes, write_bytes, writing
from creditree.runs.attempts import Attempt, AttemptParts
from creditree.runs.held import HeldDirectory
from creditree.runs.metrics import Mark
from creditree.runs.records import read_bytes, record_of

SETTINGS, OBSERVATIONS, OBSERVED, COMPLETIONS = "monitor.yaml", "observations.jsonl", "observed.json", "completions"


@dataclass(frozen=True, slots=True)
class Observation:
    """One fresh problem, measured once.

    `time` is UTC in ISO 8601, `digest` stands for question and accepted answers, `share` is the part of the completions
    that are correct, in [0, 1]. `statuses`, `truncated` and `tokens` are counted over the completions; `file` is where
    the problem was read from, `call` which call measured it, from 1 on.
    """

    time: str
    call: int
    digest: str
    id: str
    share: float
    statuses: Mapping[str, int]
    truncated: int
    tokens: int
    file: str


class ObservationLog(HeldDirectory):
    """``monitor.yaml observations.jsonl observed.json completions/part-*.parquet``: the state of a sequential test.

    ``observed.json`` holds the number of observations and their sha256: a lost one would change what the test says.

    `open` holds the folder's lock until `close` (or the end of a ``with``). Nothing is written before the first `add`,
    so a command that fails earlier leaves no settings behind. The test may not change under way: other settings are
    refused.
    """

    CURE: ClassVar[str] = "put back what it was, or begin a new test with another `state`"
    SETTINGS: ClassVar[str] = SETTINGS
    WRITES: ClassVar[tuple[str, ...]] = (OBSERVATIONS, OBSERVED, COMPLETIONS)
    PARAMETER: ClassVar[str] = "`state`"
    PLACE: ClassVar[str] = "state"
    MADE: ClassVar[str] = "observations in {path} are of another test"
    OTHERWISE: ClassVar[str] = (
        "repeat it with the same settings, begin a new test with another `state`, or remove {path}"
    )
    UNWRITABLE: ClassVar[str] = "keep the observations elsewhere with `state` DIR"

    def _begin(self, settings_yaml: str, *, begun: bool) -> None:
        self._settings = settings_yaml
        self._held = _read(self.path / OBSERVATIONS, self.CURE)
        self._check_whole()

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations, in the order in which they were made."""
        return tuple(self._held)

    @property
    def next_call(self) -> int:
        """The number of a call that begins now."""
        return self._held[-1].call + 1 if self._held else 1

    def add(self, observations: Sequence[Observation], attempts: Sequence[Attempt] = ()) -> None:
        """Append some more, durably, and keep the completions with their texts. Raises RunError where it cannot.

        Completions first: a crash between the two leaves completions that are sampled again, never a problem that is
        counted and whose completions are lost.
        """
        if not is_there(self.path / SETTINGS):
            self.write_text(SETTINGS, self._settings, checked=False)
        if attempts:
            AttemptParts(self, COMPLETIONS).add(attempts)
        lines = "".join(
            json.dumps(asdict(observation), ensure_ascii=False, allow_nan=False) + "\n" for observation in observations
        )
        path = self.writable(OBSERVATIONS)
        with writing(path, self.UNWRITABLE):
            with path.open("ab") as file:
                file.write(text_bytes(lines))
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.path)
        self._held += observations
        self.write_json(OBSERVED, asdict(Mark.of(path.read_bytes())))

    def _check_whole(self) -> None:
        """Raise RunError where observations are not there any more, or are others. New ones may follow them."""
        if not os.path.lexists(self.path / OBSERVED):
            return
        mark, path = self.read_record(OBSERVED, Mark), self.path / OBSERVATIONS
        lines = read_bytes(path, self.CURE).splitlines(keepends=True)
        if Mark.of(b"".join(lines[: mark.lines])) != mark:
            raise RunError(f"{path} does not hold the {mark.lines} observations that it had; {self.CURE}.")


def _read(path: Path, cure: str) -> list[Observation]:
    """Return all observations, and drop a last line that a crash has torn. Only the holder of the lock may call it."""
    if not os.path.lexists(path):
        return []
    lines = read_bytes(path, cure).splitlines(keepends=True)
    observations = []
    for number, line in enumerate(lines, start=1):
        observation = _parsed(line)
        if observation is None and number < len(lines):
            raise RunError(f"{path} line {number} is no observation; remove the line, or choose another `state`.")
        if observation is not None:
            observations.append(observation)
    if len(observations) < len(lines):
        write_bytes(path, b"".join(lines[:-1]))
    return observations


def _parsed(line: bytes) -> Observation | None:
    """Return the observation of a whole line, None for one that is torn or foreign."""
    try:
        values = json.loads(line)
        if not line.endswith(b"\n") or set(values) != {field.name for field in fields(Observation)}:
            return None
        observation = record_of(Observation, values, "it", "")
    except (ValueError, TypeError, RecursionError, RunError):
        return None
    return observation if 0 <= observation.share <= 1 else None
