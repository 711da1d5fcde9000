"""SVAMP (Patel et al. 2021, arXiv 2103.07191): 1,000 word problems, 700 to train on and 300 to test."""

import re
from pathlib import Path
from types import MappingProxyType

from creditree.errors import DataError
from creditree.sources import SVAMP
from creditree.tasks.rows import LoadDataset, Row, hub_rows, read_rows
from creditree.tasks.split import Slice
from creditree.tasks.table import Columns, Table, marked, table_of, with_validation
from creditree.tasks.task import PromptTemplate

NUM_TRAINING = 700
NUM_ROWS = 1000
NUM_VALIDATION = 100
PROMPT = "{question}\nReason step by step, and finish with the answer as one integer.\n"


def svamp(
    path: str | Path | None = None,
    prompt: PromptTemplate = PromptTemplate(PROMPT),
    load_dataset: LoadDataset | None = None,
) -> Table:
    """Return SVAMP with 600 training, 100 validation and 300 test problems.

    Without `path` the rows come from the hub's ``ChilleD/SVAMP``. A file at `path` has either a split column or all
    1,000 rows in the published order, of which the first 700 are for training; its columns are the hub's (Body,
    Question, Answer) or ``question`` and ``answers``. The 100 validation problems are training rows picked by a hash
    of the question: the paper (arXiv 2504.20834) does not say which it used.
    Raises DataError for rows that cannot be read or split.
    """
    placed = _from_hub(load_dataset) if path is None else _from_file(path)
    table = table_of("svamp", [(slice_, _normal(row)) for slice_, row in placed], prompt=prompt)
    return table if table.slices["validation"] else with_validation(table, NUM_VALIDATION)


def _from_hub(load_dataset: LoadDataset | None) -> list[tuple[Slice, Row]]:
    training = [("training", row) for row in hub_rows(SVAMP, "train", load_dataset)]
    test = [("test", row) for row in hub_rows(SVAMP, "test", load_dataset)]
    return [*training, *test]  # type: ignore[list-item]


def _from_file(path: str | Path) -> list[tuple[Slice, Row]]:
    rows = read_rows(path)
    if all(Columns().split in row.values for row in rows):
        return [(marked(row, Columns()) or "training", row) for row in rows]
    if len(rows) != NUM_ROWS:
        raise DataError(
            f"The SVAMP file {path} has {len(rows)} rows and no split column: give it all {NUM_ROWS} rows in their "
            "published order, or a column 'split' with train and test."
        )
    return [("training" if index < NUM_TRAINING else "test", row) for index, row in enumerate(rows)]


def _normal(row: Row) -> Row:
    """Return the row with the columns `question`, `answers` and `id`, whichever of the two forms it has."""
    if "Body" not in row.values or "Question" not in row.values:
        return row
    body = str(row.values["Body"]).strip()
    stop = "" if not body or body[-1] in ".?!,;:" else "."
    answer = re.sub(r"\.0+$", "", str(row.values.get("Answer") or ""))
    values = {
        **row.values,
        "id": row.values.get("ID"),
        "question": f"{body}{stop} {str(row.values['Question']).strip()}".strip(),
        "answers": answer,
    }
    return Row(row.label, row.place, MappingProxyType(values))
