"""Rows of a table, read from a file or from the Hugging Face hub."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from creditree.errors import DataError
from creditree.sources import HUB, is_on_hub
from creditree.tasks.cells import check_values, plain_value
from creditree.tasks.files import file_rows
from creditree.text import one_line

LoadDataset = Callable[..., Iterable[Mapping[str, object]]]
"""``datasets.load_dataset(name, split=...)``, or ``(name, subset, split=...)``, or what stands in for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a short label, where it stands, as a message names it, and its values by column name."""

    label: str
    place: str
    values: Mapping[str, object]


def read_rows(path: str | Path, load_dataset: LoadDataset | None = None) -> list[Row]:
    """Return the rows of the file at `path`, its format decided by the suffix: .jsonl, .json, .csv or .parquet.

    ``hub:NAME`` is the split ``train`` of a data set on the Hugging Face hub, ``hub:NAME#SPLIT`` another one.
    Raises DataError for a file that is missing, empty, unreadable or of another format; the message names the line.
    """
    if is_on_hub(path):
        name, _, split = str(path).removeprefix(HUB).partition("#")
        return hub_rows(name, split or "train", load_dataset)
    file = Path(path)
    rows = [Row(f"{file.stem}-{number}", place, values) for number, place, values in file_rows(file)]
    if not rows:
        raise DataError(f"The problem file {file} has no rows: a set needs at least one problem.")
    return rows


def hub_rows(name: str, split: str, load_dataset: LoadDataset | None = None, subset: str | None = None) -> list[Row]:
    """Return the rows of one split of a data set, or of a subset of it, on the Hugging Face hub.

    `load_dataset` defaults to that of the package ``datasets``. Raises DataError, with the reason, if it fails.
    """
    if load_dataset is None:
        from datasets import load_dataset as from_hub

        load_dataset = from_hub
    try:
        loaded = list(load_dataset(*(part for part in (name, subset) if part is not None), split=split))
    except Exception as error:
        raise DataError(
            f"The data set {name} (split {split}) could not be loaded from the Hugging Face hub "
            f"({type(error).__name__}: {one_line(str(error), 300)}): check the network, or name a local file with path "
            "(task.path)."
        ) from error
    if not loaded:
        raise DataError(f"The data set {name} has no rows in split {split}.")
    return [_hub_row(name, split, number, values) for number, values in enumerate(loaded, 1)]


def _hub_row(name: str, split: str, number: int, values: Mapping[str, object]) -> Row:
    place = f"row {number} of {name}, split {split}"
    plain = {key: plain_value(value) for key, value in values.items()}
    check_values(plain, f"{place[0].upper()}{place[1:]}")
    return Row(f"{split}-{number}", place, plain)
