"""From a problem to the token ids that a model continues: where tasks meet models."""

from typing import TYPE_CHECKING, Protocol

from creditree.errors import DataError
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate, TextEncoder
from creditree.tree import IntArray, token_array

if TYPE_CHECKING:
    from creditree.models.load import Model


def prompt_ids(prompt: PromptTemplate, problem: Problem, model: "Model") -> IntArray:
    """Return the prompt's token ids. Raises DataError for a prompt without any token."""
    ids = token_array(prompt.encode(problem, model.texts))
    if len(ids) == 0:
        raise DataError(
            f"the prompt of problem '{problem.id}' has no token: give the problem a question, or the prompt words."
        )
    return ids


def target_ids(target: str, model: "Model", *, chat: bool) -> IntArray:
    """Return the token ids of a target, without those that begin a text, and the token that ends it."""
    ids = model.tokenizer.encode(target, add_special_tokens=False)
    return token_array([*ids, model.texts.ends.closing(chat=chat)])


class PromptedTexts(TextEncoder, Protocol):
    """The text side of a model, and what a user should know of it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what ends its answers, and on settings that are not applied."""


def text_notes(prompt: PromptTemplate, texts: PromptedTexts) -> tuple[str, ...]:
    """Return what a user should know of how a model is asked, and of what ends its answers."""
    is_chat = prompt.chat == "auto" and prompt.in_chat_format(texts)
    chat = "prompts are in the model's chat format (task.prompt.chat: auto; false asks in plain text)"
    return (*([chat] if is_chat else []), *texts.notes)
