"""Judged completions of a measurement as parquet: one row a completion, in parts that are written once."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from creditree.errors import RunError
from creditree.problem import Status, correct
from creditree.runs.atomic import recover, remove, writing
from creditree.runs.held import HeldDirectory
from creditree.runs.records import record_of
from creditree.runs.tables import read_table, write_table

SCHEMA = pa.schema(
    [
        ("problem_id", pa.string()),
        ("index", pa.int32()),
        ("reward", pa.float64()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("vote", pa.string()),
        ("num_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("text", pa.string()),
        ("singles", pa.list_(pa.float64())),
    ]
)
_LATER = ("singles",)
"""Columns that older files lack."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A problem's `index`-th completion, judged.

    `reward` is None where the verifier could give none; `vote` is the answer that it gives (None: none was found);
    `truncated`: it was cut off at the limit of tokens. `text` may be left empty where only the figures matter.
    `singles`: as in the verdict (`creditree.problem.Verdict`).
    """

    problem_id: str
    index: int
    reward: float | None
    status: Status
    vote: str | None
    num_tokens: int
    truncated: bool
    detail: str = ""
    text: str = ""
    singles: tuple[float | None, ...] = ()

    @property
    def is_correct(self) -> bool | None:
        """Whether it is correct; None where who judges the task could not say."""
        return correct(self.reward, self.singles)


CURE = "remove it, and run the same command again: what is missing is sampled again"


class AttemptParts:
    """A folder of ``part-000001.parquet``, ...: each is there as a whole or not at all, whenever the writer is killed.

    `held` is the directory around it, `name` the folder's name in it. Only the process that holds the directory may
    construct one: it removes what a killed writer left.
    """

    def __init__(self, directory: HeldDirectory, name: str) -> None:
        """Raises RunError where the folder cannot be written."""
        self._held, self._name = directory, name
        folder = directory.writable(name)
        with writing(folder, directory.UNWRITABLE):
            folder.mkdir(parents=True, exist_ok=True)
        recover(folder)

    def read(self) -> list[Attempt]:
        """Return all attempts, without their texts. Raises RunError for a part that is missing or damaged."""
        return [replace(attempt, text="") for attempt in _all(self._held, self._name)]

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Write one more part, durably. Raises RunError where it cannot be written."""
        numbers = (path.rpartition("-")[2].partition(".")[0] for path in _parts(self._held, self._name))
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        name = f"{self._name}/part-{last + 1:06d}.parquet"
        write_table(self._held, name, _table(attempts))

    def revise(self, judged: Callable[[Sequence[Attempt]], Sequence[Attempt]]) -> None:
        """Put what `judged` makes of the attempts without a reward in their place, part by part, each durably."""
        for name in _parts(self._held, self._name):
            attempts = _of_part(self._held, name)
            places = [place for place, attempt in enumerate(attempts) if attempt.reward is None]
            if places:
                again = judged([attempts[place] for place in places])
                for place, attempt in zip(places, again, strict=True):
                    attempts[place] = attempt
                write_table(self._held, name, _table(attempts))


def _table(attempts: Sequence[Attempt]) -> pa.Table:
    return pa.Table.from_pylist([asdict(attempt) for attempt in attempts], schema=SCHEMA)


def read_parts(directory: HeldDirectory, name: str) -> list[Attempt]:
    """Return all attempts of a folder of `AttemptParts`, with their texts, while another process may be adding more.

    Raises RunError where the folder holds none, or a part is missing or damaged.
    """
    attempts = _all(directory, name)
    if not attempts:
        raise RunError(
            f"There are no judged completions in {directory.path / name}; measure there first, or choose another run."
        )
    return attempts


def forget_parts(directory: HeldDirectory, names: Sequence[str]) -> None:
    """Remove all attempts in some folders of a directory, where there are any."""
    for name in names:
        folder = directory.writable(name)
        with writing(folder, directory.UNWRITABLE):
            directory.forget(*(path.relative_to(directory.path).as_posix() for path in folder.glob("part-*.parquet")))
            remove(folder)


def _all(directory: HeldDirectory, name: str) -> list[Attempt]:
    return [attempt for part in _parts(directory, name) for attempt in _of_part(directory, part)]


def _of_part(directory: HeldDirectory, part: str) -> list[Attempt]:
    rows = read_table(directory, part, SCHEMA.names, CURE, later=_LATER)
    return record_of(list[Attempt], rows, directory.path / part, CURE)


def _parts(directory: HeldDirectory, name: str) -> list[str]:
    """Return the names of all parts, in their order."""
    return sorted(
        path.relative_to(directory.path).as_posix() for path in (directory.path / name).glob("part-*.parquet")
    )
