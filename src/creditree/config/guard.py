"""The key `guard` of a configuration: problems that must not get worse while others are learned."""

from pydantic import Field

from creditree.config.block import Block, Problems, PromptBlock, Real
from creditree.config.reward import RewardBlock


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
