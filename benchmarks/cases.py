"""What `vs_trl.py` compares: each case is one amount of work, done by Creditree's method and by TRL's GRPO."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """What both systems do: sample `group` completions of `tokens` tokens for a prompt of 40, and make an update.

    `steps` are timed in each process, after `warmup`. `most_rounds` is for work of which only the memory is of
    interest, which is nearly the same in each round.
    """

    model: str
    group: int
    tokens: int
    dtype: str = "float32"
    temperature: float = 1.0
    steps: int = 2
    warmup: int = 1
    most_rounds: int = 100

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of `step.py` and `trl_side.py`, but for model, prompts and method."""
        named = {
            "group": self.group,
            "max-new-tokens": self.tokens,
            "dtype": self.dtype,
            "temperature": self.temperature,
            "steps": self.steps,
            "warmup": self.warmup,
        }
        return tuple(text for name, value in named.items() for text in (f"--{name}", str(value)))


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: a method of ours on some work, against variants of TRL's GRPO on the same work.

    `once` are variants of either side that run a single time, for their memory.
    """

    work: Work
    method: str = "grpo"
    theirs: tuple[str, ...] = ("default",)
    once: tuple[str, ...] = ()


TRL_VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "no-checkpointing": ("--no-checkpointing",),
    "micro-batch-1": ("--no-checkpointing", "--micro-batch", "1"),
}
"""TRL's defaults (gradient checkpointing, the whole group in one micro-batch), and what is faster or smaller."""

OUR_VARIANTS: dict[str, tuple[str, ...]] = {"whole-group": ("--micro-batch-tokens", "1000000000")}
"""Ours with the whole group in one micro-batch, as TRL's default has it, where the learner's own is smaller."""

BOTH = ("default", "no-checkpointing")
_TINY_G50, _SMALL_G50 = Work("tiny", 50, 64), Work("small", 50, 64, steps=1)

CASES = {
    "grpo-tiny-g8-t64": Case(Work("tiny", 8, 64, steps=5, warmup=2), theirs=BOTH),
    "grpo-small-g8-t64": Case(Work("small", 8, 64), theirs=BOTH, once=("micro-batch-1", "whole-group")),
    "grpo-small-bf16-g8-t64": Case(Work("small", 8, 64, dtype="bfloat16")),
    "grpo-small-g50-t64": Case(_SMALL_G50, once=("whole-group",)),
    "grpo-small-g8-t256": Case(Work("small", 8, 256, steps=1, most_rounds=1), once=("whole-group",)),
    "tspmo-tiny-g50-t64": Case(_TINY_G50, "t-spmo"),
    "tspmo-small-g50-t64": Case(_SMALL_G50, "t-spmo"),
    "peaky-tiny": Case(Work("peaky-tiny", 50, 64, temperature=0.3)),
    "peaky-small": Case(Work("peaky-small", 16, 64, temperature=0.3, steps=1)),
}
"""Cases with equal work share TRL's runs."""
