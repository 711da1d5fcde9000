"""How large a training step may be, from its configuration alone."""

from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.methods import Method

MOST_COMPLETIONS = 100_000
"""Completions of a training step: more are surely not meant, and their trees alone fill a machine."""

MOST_TOKENS = 100_000_000
"""Tokens of a training step's completions: at 10,000 a second they would take three hours to draw."""


def check_step(config: RunConfig, method: Method) -> None:
    """Raise ConfigError for a step of more than 100,000 completions, or 100,000,000 tokens."""
    problems = method.schedule.demand(config.train.problems_per_step).most
    each = method.explore.max_completions
    if problems * each > MOST_COMPLETIONS:
        raise ConfigError(
            f"a training step would have {problems * each:,} completions, {each:,} of each of {problems:,} problems, "
            f"and more than {MOST_COMPLETIONS:,} are not held; lower method.group (it is {method.explore.group:,}), "
            f"what else method.explore samples, or train.problems_per_step (it is {config.train.problems_per_step:,})."
        )
    tokens = config.sampling.max_new_tokens
    if problems * each * tokens > MOST_TOKENS:
        raise ConfigError(
            f"a training step would have up to {problems * each * tokens:,} tokens, {tokens:,} of each of "
            f"{problems * each:,} completions, and more than {MOST_TOKENS:,} are not held; lower "
            f"sampling.max_new_tokens (it is {tokens:,})."
        )
