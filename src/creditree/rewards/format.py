"""A reward for the form of a completion (DeepSeek-R1, arXiv 2501.12948, section 2.2.2)."""

from dataclasses import dataclass
from typing import ClassVar

import regex

from creditree.errors import ConfigError
from creditree.piece import number
from creditree.rewards.base import Reward
from creditree.verify.verifier import Answer

LONGEST_S = 1.0
"""Seconds that a pattern may search one completion: some patterns would take for ever over some texts."""


@dataclass(frozen=True)
class Format(Reward):
    """R = 1 where the whole completion, white space around it aside, matches a regular expression; else 0.

    A full stop matches line breaks too. A completion over which the pattern takes longer than a second does not match.
    The paper's form is a thought in <think> tags and then the answer; its exact expression is ours.
    """

    pattern: str = number("<think>.*?</think>.*", "regular expression for the whole completion")
    name: ClassVar[str] = "format"
    paper: ClassVar[str] = "arXiv 2501.12948"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            regex.compile(self.pattern, regex.DOTALL)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                f"{self.key}.pattern is no regular expression ({error}); mend it, and put a backslash before a sign "
                "that is meant as itself."
            ) from None

    def of(self, answer: Answer, right: bool | None) -> float:
        """Return 1 for a match."""
        try:
            match = regex.fullmatch(self.pattern, answer.completion.strip(), regex.DOTALL, timeout=LONGEST_S)
        except TimeoutError:
            return 0.0
        return float(match is not None)
