"""The key `guard` of a configuration: problems that must not get worse while others are learned."""

from pydantic import Field

from creditree.config.block import Block, Problems, PromptBlock, Real
from creditree.config.reward import RewardBlock, build_verifier
from creditree.errors import DataError, did_you_mean
from creditree.problem import Problem
from creditree.tasks.cells import is_missing
from creditree.tasks.table import Columns, Table, load_table
from creditree.tasks.task import PromptTemplate
from creditree.text import shown
from creditree.train.guard import Guard
from creditree.verify.verifier import Verifier


class GuardBlock(Block):
    """Problems whose accuracy and loss are measured before and after training, and never trained on."""

    path: str | None = Field(None, description="file of the guard problems, or hub:NAME#SPLIT; none: no guard")
    question: str = Field("question", description="column of the question")
    answer: str | None = Field(
        None, description="column of the answer, or of a list of accepted ones; none: answer or answers"
    )
    id: str = Field("id", description="column of the problem's id, where there is one")
    target: str | None = Field(
        None, description="column of the text whose loss is measured; none: the first accepted answer"
    )
    problems: Problems = Field(200, description="guard problems, at most: the first by hash of the question")
    prompt: PromptBlock | None = Field(None, description="wording of the prompt; none: the task's")
    reward: RewardBlock | None = Field(None, description="who judges; none: the run's reward")
    tolerance: Real = Field(
        0.02,
        description="with target: nats a token that its loss may rise; worse where the 95 % interval is above",
        ge=0,
    )

    def wording(self, default: PromptTemplate) -> PromptTemplate:
        """Return the wording of the prompt; `default` is the task's. Raises ConfigError for a malformed one."""
        if self.prompt is None:
            return default
        text = default.text if self.prompt.text is None else self.prompt.text
        return PromptTemplate(text, self.prompt.chat, self.prompt.system)

    def table(self, default: PromptTemplate) -> Table:
        """Return the problems of the file, all as test problems. Raises DataError or ConfigError."""
        columns = Columns(self.question, self.answer, id=self.id)
        return load_table(test_path=self.path, columns=columns, validation=0.0, prompt=self.wording(default))


def build_guard(block: GuardBlock, default: PromptTemplate, verifier: Verifier) -> Guard | None:
    """Return the guard set, None without a path; `default` and `verifier` are the task's wording and the run's reward.

    Raises DataError for problems that cannot be used or have no target, ConfigError for the prompt or the reward.
    """
    if block.path is None:
        return None
    table = block.table(default)
    problems = table.held_out("test", block.problems)
    return Guard(
        source=block.path,
        problems=problems,
        targets=tuple(_target(problem, block.target) for problem in problems),
        prompt=table.prompt,
        verifier=verifier if block.reward is None else build_verifier(block.reward),
        tolerance=None if block.target is None else block.tolerance,
        notes=table.notes,
    )


def _target(problem: Problem, column: str | None) -> str:
    if column is None:
        return problem.answers[0]
    if column not in problem.columns:
        raise DataError(
            f"Guard problem '{problem.id}' has no column '{column}' for the target: set guard.target to the column "
            f"that holds it.{did_you_mean(column, problem.columns)}"
        )
    value = problem.columns[column]
    if not isinstance(value, str | int | float) or is_missing(value):
        raise DataError(
            f"Guard problem '{problem.id}' has no text in column '{column}' (it holds {shown(value)}): "
            "fill it or drop the row."
        )
    return str(value)
