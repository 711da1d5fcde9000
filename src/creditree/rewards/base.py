"""What a ready reward is: a piece that gives one completion a number. It runs in this process, so it cannot fail."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from creditree.piece import Piece
from creditree.verify.verifier import Answer


@dataclass(frozen=True)
class Reward(Piece, ABC):
    """A single reward, beside that of the task: what a completion is given for its form or its length.

    A new one is a file in this folder, a frozen dataclass with its numbers declared by `creditree.piece.number`.
    """

    @abstractmethod
    def of(self, answer: Answer, right: bool | None) -> float | None:
        """Return the reward of a completion; None where it cannot be said.

        `right`: whether the task's own reward takes it for correct, None where that is not known.
        """

    @property
    def key(self) -> str:
        """Where a configuration sets its numbers, as messages say it."""
        return f"reward.{self.name}"
