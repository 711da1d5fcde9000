"""From a problem to the token ids that a model continues: where tasks meet models."""

from creditree.errors import DataError
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate
from creditree.tree import IntArray, token_array


def prompt_ids(prompt: PromptTemplate, problem: Problem, model: Model) -> IntArray:
    """Return the prompt's token ids. Raises DataError for a prompt without any token."""
    ids = token_array(prompt.encode(problem, model.tokenizer))  # type: ignore[arg-type]
    if len(ids) == 0:
        raise DataError(
            f"the prompt of problem '{problem.id}' has no token: give the problem a question, or the prompt words."
        )
    return ids
