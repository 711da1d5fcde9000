"""The key `warm_start` of a configuration: supervised steps on given solutions before the method's own."""

from pydantic import Field

from creditree.config.block import Block, Positive, Real, Whole


class WarmStartBlock(Block):
    """Steps that raise the log-likelihood of the problems' worked solutions, before the method begins."""

    steps: Whole = Field(0, description="supervised steps on worked solutions, before train.steps; 0: none", ge=0)
    problems: Positive = Field(8, description="solutions of such a step")
    learning_rate: Real | None = Field(None, description="of these steps; none: train.learning_rate", gt=0)
