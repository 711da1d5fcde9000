"""What the blocks of a configuration share: keys that are not known are refused, numbers have ranges."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A part of the configuration that refuses keys it does not know, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PromptBlock(Block):
    """The wording of the prompt; what is left out is the task's own."""

    text: str | None = Field(None, description="wording around {question}; other columns of the row by name")
    chat: bool | Literal["auto"] = Field(
        "auto", description="one user message in the tokenizer's chat format; auto: where it has one"
    )
    system: str | None = Field(None, description="system message, with chat")
