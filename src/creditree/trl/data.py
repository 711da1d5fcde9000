"""Rows of a data set with prompts, as TRL has them, as problems of a task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditree.errors import DataError
from creditree.text import shown

QUESTION, ANSWER, COLUMNS, PROMPT = "question", "answer", "columns", "prompt"
SHARE, MOST_HELD_OUT = 10, 100
"""Without rows to evaluate on, one in so many is held out, and no more than this."""


@dataclass(frozen=True, eq=False, slots=True)
class Prompts:
    """Training rows, then rows to measure on; `system`: the system message of all;  `chat`: prompts are messages."""

    training: Sequence[Mapping[str, Any]]
    held_out: Sequence[Mapping[str, Any]]
    chat: bool
    system: str | None

    @classmethod
    def of(cls, train: Any, evaluation: Any) -> "Prompts":
        """Return the prompts of data sets, or of lists of rows. Raises DataError."""
        training = _rows(train, "train_dataset")
        if evaluation is None:
            size = min(MOST_HELD_OUT, max(1, len(training) // SHARE))
            if len(training) < 2:
                raise DataError("train_dataset has one row, and one is held out to measure: give eval_dataset.")
            training, held_out = training[:-size], training[-size:]
        else:
            held_out = _rows(evaluation, "eval_dataset")
        chats = {_is_chat(row) for row in (*training, *held_out)}
        if len(chats) > 1:
            raise DataError("Some prompts are texts and others are messages: make all of them the same.")
        chat = chats.pop()
        systems = {_parts(row)[0] for row in (*training, *held_out)} if chat else {None}
        if len(systems) > 1:
            raise DataError("The prompts have different system messages, and a run has one: put it into the user's.")
        return cls(training, held_out, chat, systems.pop())

    def problems(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of a task. What a row has besides its prompt is kept together, for reward functions."""
        for split, rows in (("train", self.training), ("test", self.held_out)):
            for number, row in enumerate(rows, 1):
                yield {
                    "id": f"{split}-{number}",
                    "split": split,
                    QUESTION: _parts(row)[1] if self.chat else row[PROMPT],
                    ANSWER: "-",  # reward functions judge, and read columns
                    PROMPT: row[PROMPT],
                    COLUMNS: {name: value for name, value in row.items() if name != PROMPT},
                }


def _rows(data: Any, name: str) -> list[Mapping[str, Any]]:
    if data is None or isinstance(data, str | Mapping) or not hasattr(data, "__len__"):
        raise DataError(f"{name} is {shown(data)}: give a datasets.Dataset, or a list of rows.")
    rows = list(data)
    if not rows:
        raise DataError(f"{name} has no rows.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not row.get(PROMPT):
            raise DataError(f"Row {number} of {name} has no prompt: each needs a text or messages in column 'prompt'.")
    return rows


def _is_chat(row: Mapping[str, Any]) -> bool:
    return not isinstance(row[PROMPT], str)


def _parts(row: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the system message, None where there is none, and the user's. Raises DataError for other messages."""
    messages = row[PROMPT]
    try:
        roles = [message["role"] for message in messages]
        texts = [message["content"] for message in messages]
    except (TypeError, KeyError):
        roles, texts = [], []
    if roles not in (["user"], ["system", "user"]) or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"The prompt {shown(messages)} is no text, and no list of a user's message after a system's or none: "
            "conversations of several turns are not supported."
        )
    return (texts[0] if len(texts) == 2 else None), texts[-1]
