"""The key `guard` of a configuration: problems that must not get worse while others are learned."""

from pydantic import Field

from creditree.config.block import Block, Problems, PromptBlock, Real
from creditree.config.reward import RewardBlock
from creditree.tasks.table import Columns, Table, load_table
from creditree.tasks.task import PromptTemplate


class GuardBlock(Block):
    """Problems whose accuracy and loss are measured before and after training, and never trained on."""

    path: str | None = Field(None, description="file of the guard problems, or hub:NAME#SPLIT; none: no guard")
    question: str = Field("question", description="column of the question")
    answer: str | None = Field(
        None, description="column of the answer, or of a list of accepted ones; default: answer, else answers"
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
        """Return the wording of the prompt; `default`: the task's, of a mixture the first's. Raises ConfigError."""
        default = default.first
        if self.prompt is None:
            return default
        text = default.text if self.prompt.text is None else self.prompt.text
        return PromptTemplate(text, self.prompt.chat, self.prompt.system)

    def table(self, default: PromptTemplate) -> Table:
        """Return the problems of the file, all as test problems. Raises DataError or ConfigError."""
        columns = Columns(self.question, self.answer, id=self.id)
        return load_table(test_path=self.path, columns=columns, validation=0.0, prompt=self.wording(default))
