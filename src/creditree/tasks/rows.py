"""Rows of a table, read from a file, from the Hugging Face hub, or from what `datasets` or verl saved."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from creditree.disk import is_folder
from creditree.errors import DataError, did_you_mean
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

    A folder is what ``save_to_disk`` of the package ``datasets`` wrote: one split, or several, of which each row is
    marked in the column ``split``; ``FOLDER#SPLIT`` is one of them. Rows as verl has them get question and answer
    (`verl_row`). ``hub:NAME`` is the split ``train`` of a data set on the Hugging Face hub, ``hub:NAME#SPLIT`` another
    one.
    Raises DataError for a file that is missing, empty, unreadable or of another format; the message names the line.
    """
    if is_on_hub(path):
        name, _, split = str(path).removeprefix(HUB).partition("#")
        return hub_rows(name, split or "train", load_dataset)
    folder, _, split = str(path).partition("#")
    if is_folder(folder):
        return disk_rows(Path(folder), split)
    file = Path(path)
    rows = [Row(f"{file.stem}-{number}", place, verl_row(values)) for number, place, values in file_rows(file)]
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


def disk_rows(folder: Path, split: str = "") -> list[Row]:
    """Return the rows of what ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote, of all splits or of one.

    Raises DataError for a folder that holds no such thing, or not that split.
    """
    from datasets import load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"The folder {folder} is no data set that `datasets` saved ({one_line(str(error), 200)}): name a file, or "
            "a folder that save_to_disk wrote."
        ) from error
    splits = dict(loaded) if isinstance(loaded, Mapping) else {split: loaded}
    if split and split not in splits:
        raise DataError(f"The data set in {folder} has no split '{split}'.{did_you_mean(split, splits)}")
    rows = []
    for name in [split] if split else splits:
        own = [_hub_row(str(folder), name, number, values) for number, values in enumerate(splits[name], 1)]
        mark = {"split": name} if len(splits) > 1 and not split else {}
        rows += [replace(row, values={**mark, **row.values}) for row in own]
    if not rows:
        raise DataError(f"The data set in {folder} has no rows.")
    return rows


def verl_row(values: Mapping[str, object]) -> Mapping[str, object]:
    """Return a row with question and answer where it is one of verl's, else as it is.

    Such a row has ``prompt``, a list of messages, and ``reward_model`` with ``ground_truth``. The question is the text
    of its messages, in their order, with an empty line between them; the answer is the ground truth. What else the row
    has (``data_source``, ``extra_info``, ...) stays beside them.
    """
    messages, judge = values.get("prompt"), values.get("reward_model")
    if not isinstance(messages, list) or not isinstance(judge, Mapping) or "ground_truth" not in judge:
        return values
    texts = [message.get("content") if isinstance(message, Mapping) else None for message in messages]
    if not texts or not all(isinstance(text, str) for text in texts):
        return values
    return {"question": "\n\n".join(map(str, texts)), "answer": judge["ground_truth"], **values}


def _hub_row(name: str, split: str, number: int, values: Mapping[str, object]) -> Row:
    place = f"row {number} of {name}, split {split}"
    plain = {key: plain_value(value) for key, value in values.items()}
    check_values(plain, f"{place[0].upper()}{place[1:]}")
    return Row(f"{split or 'row'}-{number}", place, verl_row(plain))
