"""Tables in parquet files, read piece by piece: what a small file unfolds to is asked before it is read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from creditree.errors import DataError
from creditree.tasks.cells import LONGEST_CELL, check_values, plain_value, repeated
from creditree.text import one_line, shown

MOST_UNFOLDED = 8 * 10**9
"""Bytes of all columns, unpacked."""
PIECE = 1024


def parquet_rows(file: Path, most_rows: int) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the rows of a parquet file, numbered from 1, with values as other formats have them.

    Floats of 32 and 16 bits are taken by their own shortest form (0.3, not 0.30000001192092896), decimals and dates as
    text. Raises DataError for a file that cannot be read, or unfolds to more than a table can be.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        source = pyarrow.parquet.ParquetFile(file)
        names = list(source.schema_arrow.names)
        _check(source, names, file, most_rows)
        texts = [field.name for field in source.schema_arrow if _is_text(field.type)]
        may_have_text = [field.name for field in source.schema_arrow if not _is_of_numbers(field.type)]
        source = pyarrow.parquet.ParquetFile(file, read_dictionary=texts)
        number, words = 0, {name: _Words() for name in texts}
        for batch in source.iter_batches(batch_size=PIECE):
            columns = {name: _column(batch.column(place), name, file, words) for place, name in enumerate(names)}
            unchecked = [name for name in may_have_text if name not in words or not words[name].are_sound]
            for cells in zip(*columns.values(), strict=True):
                number += 1
                values = dict(zip(names, cells, strict=True))
                if unchecked:
                    check_values({name: values[name] for name in unchecked}, f"Row {number} of {file}")
                yield number, values
    except (pyarrow.ArrowException, MemoryError) as error:
        reason = one_line(str(error), 200) or type(error).__name__
        raise DataError(f"{file} is not readable as parquet ({reason}): write the file again.") from error


def _check(source: Any, names: list[str], file: Path, most_rows: int) -> None:
    twice = repeated(names)
    if twice is not None:
        raise DataError(f"{file} has the column {shown(twice)} twice: rename or remove one of them.")
    metadata = source.metadata
    if metadata.num_rows > most_rows:
        raise DataError(f"{file} has {metadata.num_rows:,} rows, and at most {most_rows:,} are read: split it.")
    unfolded = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    if unfolded > MOST_UNFOLDED:
        raise DataError(
            f"{file} unfolds to {unfolded / 1e9:.1f} GB, and at most {MOST_UNFOLDED / 1e9:.0f} GB are read: split it."
        )


class _Words:
    """The different texts of a column, each held and checked once, however many rows have it.

    A file of some megabytes can hold one text of millions of characters in as many rows.
    """

    def __init__(self) -> None:
        self._array: Any = None
        self._texts: list[str | None] = []
        self.are_sound = False

    def of(self, column: Any, name: str, file: Path) -> list[object]:
        """Return the texts of a piece of the column. Raises DataError for one that is too long or not there."""
        if self._array is None or not column.dictionary.equals(self._array):
            self._array, self._texts = column.dictionary, column.dictionary.to_pylist()
            self._check(name, file)
        places = column.indices.to_pylist()
        if any(place is not None and not 0 <= place < len(self._texts) for place in places):
            raise DataError(f"{file} is damaged (column {shown(name)} names texts that are not there): write it again.")
        return [None if place is None else self._texts[place] for place in places]

    def _check(self, name: str, file: Path) -> None:
        longest = max((len(text) for text in self._texts if text is not None), default=0)
        if longest > LONGEST_CELL:
            raise DataError(
                f"{file} has {longest:,} characters in a cell of column {shown(name)}, and a cell has at most "
                f"{LONGEST_CELL:,}: shorten it."
            )
        try:
            check_values({name: self._texts}, "")
            self.are_sound = True
        except DataError:  # each row is looked at, to name the first that has it
            self.are_sound = False


def _column(column: Any, name: str, file: Path, words: Mapping[str, _Words]) -> list[object]:
    """Return the values of a piece of a column as Python's."""
    from pyarrow import types

    if name in words and types.is_dictionary(column.type):
        return words[name].of(column, name, file)
    if name in words:
        words[name].are_sound = False
    return _values(column, name, file)


def _is_text(kind: Any) -> bool:
    """Return whether a column holds texts, as they are or in a dictionary."""
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain))


def _is_of_numbers(kind: Any) -> bool:
    """Return whether a column holds numbers, or lists of them: nothing in it is a text."""
    from pyarrow import types

    of_lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    single = kind.value_type if of_lists else kind
    return bool(_is_python(single) or types.is_floating(single))


def _is_python(kind: Any) -> bool:
    """Return whether values, as pyarrow gives them, are as other formats have them: whole numbers, float64, truth."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_float64(kind) or types.is_boolean(kind))


def _values(column: Any, name: str, file: Path) -> list[object]:
    """Return the values of a column that is not of texts."""
    from pyarrow import ArrowException, string, types

    kind = column.type
    try:
        if types.is_temporal(kind) and not types.is_duration(kind):
            written = column.cast(string()).to_pylist()
            outside = next((text for text in written if text is not None and text.startswith("<")), None)
            if outside is not None:
                raise ValueError(outside.strip("<>"))
            return list(written)
        values = column.to_pylist()
        return list(values) if _is_python(kind) else [_plain(value, kind) for value in values]
    except UnicodeDecodeError:
        raise
    except (ArrowException, ArithmeticError, ValueError) as error:
        raise DataError(
            f"{file} has values in column {shown(name)} that cannot be read as {kind} ({one_line(str(error), 120)}): "
            "write that column as text."
        ) from error


def _plain(value: Any, kind: Any) -> object:
    """Return a value as other formats have it, floats by the shortest form of their own precision."""
    from pyarrow import types

    if isinstance(value, float) and (types.is_float32(kind) or types.is_float16(kind)):
        return _shortest(value, kind)
    if isinstance(value, list) and hasattr(kind, "value_type"):
        return value if _is_python(kind.value_type) else [_plain(element, kind.value_type) for element in value]
    if isinstance(value, dict) and types.is_struct(kind):
        return {key: _plain(element, kind.field(key).type) for key, element in value.items()}
    return plain_value(value)


def _shortest(value: float, kind: Any) -> float:
    import numpy as np
    from pyarrow import types

    return float(str(np.float32(value) if types.is_float32(kind) else np.float16(value)))
