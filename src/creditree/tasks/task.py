"""What a task is: problems to train on, problems held out, and the wording of the prompt."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from creditree.errors import ConfigError, DataError, did_you_mean
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.split import Split
from creditree.text import shortened, shown

NUM_HELD_OUT = 500
"""Problems in a held-out split of a generated task when no limit is given."""
LONGEST_PROMPT = 500_000
"""Characters of a prompt: tokenizers take minutes, or end the process, for texts of megabytes."""
MOST_REPEATS = 20_000
"""Problems in a row that were there before, after which a generator is taken to have no others."""
Chat = bool | Literal["auto"]
"""Whether a prompt is in the chat format; auto: where the tokenizer has one."""


Pieces = list[tuple[str, bool]]
"""A text in pieces, and whether each comes from data."""


class TextEncoder(Protocol):
    """What turns a prompt into token ids, for a model."""

    @property
    def has_chat_template(self) -> bool:
        """Whether the model has a chat format."""

    def encode(self, pieces: Pieces) -> list[int]:
        """Return the token ids of a plain text."""

    def encode_chat(self, pieces: Pieces, system: str | None) -> list[int]:
        """Return the token ids of one user message in the chat format, after the system message if there is one."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The wording around a question: plain text, or one user message in the tokenizer's own chat format.

    `text` has fields in braces: `question`, and any column of the problem's row, by name alone (no conversion, no
    format); a doubled brace is a literal one. `chat` "auto" takes the chat format where the tokenizer has one, and
    plain text elsewhere. Raises ConfigError for text that is malformed or has no field, and for a system message
    without `chat`.
    """

    text: str = "{question}"
    chat: Chat = "auto"
    system: str | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError(
                f"The prompt text {shown(self.text)} has no field, so every prompt would be the same: add {{question}}."
            )
        for written, name in self._written():
            if name is None or (name.isidentifier() and written == name):
                continue
            raise ConfigError(
                f"The prompt text has the field {{{written}}}, which is not a plain name: "
                "write {question} or a column's name, and double a brace that is meant literally."
            )
        if self.system is not None and not self.chat:
            raise ConfigError("The prompt has a system message but chat is off: set chat to true or leave system out.")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names in braces, in order."""
        return tuple(name for _, name in self._written() if name is not None)

    def _written(self) -> tuple[tuple[str, str | None], ...]:
        return _parts_of(self.text)

    def check(self, columns: Collection[str]) -> None:
        """Raise ConfigError unless every field is ``question`` or one of `columns`."""
        known = {"question", *columns}
        for name in self.fields:
            if name not in known:
                raise ConfigError(
                    f"The prompt text asks for {{{name}}}, but the problems have no such column."
                    f"{did_you_mean(name, known)}"
                )

    def render(self, problem: Problem) -> str:
        """Return the text of the prompt, without the chat format around it."""
        return "".join(piece for piece, _ in self.pieces(problem))

    def pieces(self, problem: Problem) -> Pieces:
        """Return the text of the prompt in pieces, and whether each comes from the problem's row."""
        values: Mapping[str, object] = {**problem.columns, "question": problem.question}
        missing = [name for name in self.fields if name not in values]
        if missing:
            raise ConfigError(
                f"The prompt text asks for {{{missing[0]}}}, but problem {problem.id} has no such column."
                f"{did_you_mean(missing[0], values)}"
            )
        pieces = [(text, False) if name is None else (str(values[name]), True) for text, name in self._written()]
        length = sum(len(text) for text, _ in pieces)
        if length > LONGEST_PROMPT:
            raise DataError(
                f"The prompt of problem '{shortened(problem.id)}' has {length:,} characters, and tokenizers are given "
                f"{LONGEST_PROMPT:,} at most: shorten its columns, or leave the problem out."
            )
        return pieces

    def of(self, problem: Problem) -> "PromptTemplate":
        """Return the wording of a problem's own task: this one, where there is one."""
        return self

    @property
    def first(self) -> "PromptTemplate":
        """The wording of problems that belong to no task in particular: this one, where there is one."""
        return self

    def in_chat_format(self, encoder: TextEncoder) -> bool:
        """Return whether prompts are in the chat format of this model."""
        return self.chat is True or (self.chat == "auto" and (encoder.has_chat_template or self.system is not None))

    def encode(self, problem: Problem, encoder: TextEncoder) -> list[int]:
        """Return the prompt's token ids. Raises ConfigError for a chat format that the model does not have."""
        if not self.in_chat_format(encoder):
            return encoder.encode(self.pieces(problem))
        if not encoder.has_chat_template:
            raise ConfigError(
                "The prompt asks for the chat format, but this model's tokenizer has no chat template: "
                "set chat to false or use an instruct model."
            )
        return encoder.encode_chat(self.pieces(problem), self.system)


class Task(Protocol):
    """Where problems come from. Training never draws a problem of a held-out split."""

    @property
    def name(self) -> str:
        """Short name, as tables show it."""

    @property
    def prompt(self) -> PromptTemplate:
        """Wording of the prompt."""

    @property
    def num_training(self) -> int | None:
        """Number of training problems, or None where they are generated without end."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the user should see, such as what was left out of a table."""

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`, whatever was drawn before."""

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return the problems of a held-out split, the same for every seed; `limit` takes the first ones."""


def first_different(problems: Iterator[Problem], limit: int) -> tuple[Problem, ...]:
    """Return the first `limit` problems with different ids, or all of them where no new one comes any more."""
    by_id: dict[str, Problem] = {}
    repeats = 0
    for problem in problems if limit > 0 else ():
        repeats = repeats + 1 if problem.id in by_id else 0
        by_id.setdefault(problem.id, problem)
        if len(by_id) == limit or repeats == MOST_REPEATS:
            break
    return tuple(by_id.values())


def nth_of_passes(problems: Sequence[Problem], key: Key, index: int) -> Problem:
    """Return the index-th problem of repeated passes over `problems`, each pass in a fresh random order."""
    number, position = divmod(index, len(problems))
    return problems[int(order_of_pass(key, number, len(problems))[position])]


@lru_cache(maxsize=8)
def order_of_pass(key: Key, number: int, size: int) -> NDArray[np.int64]:
    """Return the order of a pass. Kept, since a pass over n problems asks for it n times, and each costs n."""
    order = key.at("pass", number).generator().permutation(size)
    order.flags.writeable = False
    return order


@lru_cache(maxsize=64)
def _parts_of(wording: str) -> tuple[tuple[str, str | None], ...]:
    """Return the text in pieces: a literal one and None, or a field as it is written in its braces and its name."""
    parts: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(wording):
            if literal:
                parts.append((literal, None))
            if name is not None:
                extra = (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                parts.append((name + extra, name))
    except ValueError as error:
        raise ConfigError(
            f"The prompt text {shown(wording)} is malformed ({error}): double a brace that is meant literally."
        ) from error
    return tuple(parts)
