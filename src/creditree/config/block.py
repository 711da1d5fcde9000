"""What the blocks of a configuration share: keys that are not known are refused, numbers have ranges."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from creditree.text import printable, shortened, shown

MOST_PROBLEMS = 1_000_000
"""Problems that are measured, at most: each is made, or held in memory."""
LARGEST_INTEGER = 2**64 - 1
SMALLEST, LARGEST = 1.2e-38, 3.4e38
"""What float32 holds, in which everything is learned: smaller ones are 0 there, larger ones infinite."""


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("it is true or false where a number is meant; write the number")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
"""Numbers; Python, and so pydantic, takes true and false for 1 and 0."""
Positive = Annotated[Whole, Field(ge=1)]
Problems = Annotated[Whole, Field(ge=1, le=MOST_PROBLEMS)]
Share = Annotated[Real, Field(ge=0, le=1)]


class Block(BaseModel):
    """A part of the configuration that refuses keys it does not know, and values that no run could use.

    Those are: a number that is not finite or beyond 64 bits or float32, and a text with NUL or half a surrogate pair.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        for part in _flat(value):
            _check_usable(part)
        return value


class PromptBlock(Block):
    """The wording of the prompt; what is left out is the task's own."""

    text: str | None = Field(None, description="wording around {question}; other columns of the row by name")
    chat: bool | Literal["auto"] = Field(
        "auto", description="one user message in the tokenizer's chat format; auto: where it has one"
    )
    system: str | None = Field(None, description="system message, with chat")


def mistake(error: ValidationError, *above: str) -> str:
    """Return the first mistake in words, its key with what is `above` it."""
    first = error.errors()[0]
    name = ".".join([*above, *(shortened(str(part)) for part in first["loc"])])
    message = first["msg"].removeprefix("Value error, ")
    return f"{name} is {shown(first.get('input'))}: {message[0].lower()}{message[1:].removesuffix('.')}."


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(inner)
    elif isinstance(value, dict):
        yield from _flat([*value, *value.values()])
    else:
        yield value


def _check_usable(value: object) -> None:
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError("a whole number here has at most 64 bits")
    if isinstance(value, float) and value and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"numbers are float32 where they are used, from {SMALLEST:g} to {LARGEST:g}, or 0")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it holds the character NUL, which no name and no text may hold")
    if isinstance(value, str) and not _encodes(value):
        raise ValueError(f"it holds half a character ({printable(_half(value))}); write the whole one")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _half(text: str) -> str:
    return next(character for character in text if "\ud800" <= character <= "\udfff")
