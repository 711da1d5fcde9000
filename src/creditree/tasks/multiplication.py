"""Multiplication of two whole numbers, generated without end; what is held out is decided by the pair of numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import numpy as np

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.split import Split, slice_of
from creditree.tasks.task import NUM_HELD_OUT, PromptTemplate, first_different

MOST_DIGITS = 9
LISTED_PAIRS = 2**20
"""Up to so many ordered pairs, held-out problems are a permutation of all; above, they are drawn."""

PAPER_PROMPT = "What is {a} * {b}? Reason step by step, and finish with the answer as one integer.\n"


def identity(a: int, b: int) -> str:
    """Return what decides the slice of ``a*b``: the pair without its order, so ``b*a`` is in the same slice."""
    return f"{min(a, b)}*{max(a, b)}"


@dataclass(frozen=True)
class Multiplication:
    """Problems ``347*6=`` with operands drawn uniformly from two ranges, both ends included.

    A range defaults to all numbers of so many digits; for one digit it is 2..9, since 0 and 1 need no multiplication.
    A tenth of the pairs is the test split and a tenth the validation split; the built-in base model has seen neither.
    Raises ConfigError for a range that is empty, negative, or too small to have problems in every split.
    """

    digits_a: int = 3
    digits_b: int = 1
    range_a: tuple[int, int] | None = None
    range_b: tuple[int, int] | None = None
    num_held_out: int = NUM_HELD_OUT
    prompt: PromptTemplate = PromptTemplate("{question}\n")

    def __post_init__(self) -> None:
        for side, digits in (("digits_a", self.digits_a), ("digits_b", self.digits_b)):
            if not 1 <= digits <= MOST_DIGITS:
                raise ConfigError(f"multiplication: {side} is {digits}; it must be between 1 and {MOST_DIGITS}.")
        for side, (low, high) in (("range_a", self.operands_a), ("range_b", self.operands_b)):
            if not 0 <= low <= high < 10**MOST_DIGITS:
                raise ConfigError(
                    f"multiplication: {side} is {low}..{high}; the first number must not be above the second, "
                    f"and both must be from 0 to {10**MOST_DIGITS - 1}."
                )
        if self.num_held_out < 1:
            raise ConfigError(f"multiplication: num_held_out is {self.num_held_out}; it must be at least 1.")
        self.prompt.check(("a", "b"))
        self._check_slices()

    @classmethod
    def paper(cls, prompt: PromptTemplate = PromptTemplate(PAPER_PROMPT)) -> Self:
        """Return the task of Token-Efficient RL (arXiv 2504.20834): 101..999 times 101..999, 3,000 test problems.

        The paper does not state its prompt; the wording is ours.
        """
        return cls(3, 3, (101, 999), (101, 999), num_held_out=3000, prompt=prompt)

    @property
    def operands_a(self) -> tuple[int, int]:
        """Return the lowest and the highest first operand."""
        return self.range_a or _all_of(self.digits_a)

    @property
    def operands_b(self) -> tuple[int, int]:
        """Return the lowest and the highest second operand."""
        return self.range_b or _all_of(self.digits_b)

    @property
    def name(self) -> str:
        """Return ``multiplication-3x1``, or the ranges where they are not all numbers of so many digits."""
        if self.range_a is None and self.range_b is None:
            return f"multiplication-{self.digits_a}x{self.digits_b}"
        (low_a, high_a), (low_b, high_b) = self.operands_a, self.operands_b
        return f"multiplication-{low_a}..{high_a}x{low_b}..{high_b}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Return nothing: generated problems are all used."""
        return ()

    @property
    def num_training(self) -> int | None:
        """Return None: problems are drawn without end."""
        return None

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`: drawn until the pair is in the training slice."""
        rng = key.at("problem", index).generator()
        while True:
            a, b = (int(rng.integers(low, high + 1)) for low, high in (self.operands_a, self.operands_b))
            if slice_of(identity(a, b)) == "training":
                return _problem(a, b)

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return `limit` problems of the split (default `num_held_out`), or all of them where there are fewer."""
        wanted = self.num_held_out if limit is None else limit
        pairs = (pair for pair in self._pairs() if slice_of(identity(*pair)) == split)
        return first_different((_problem(a, b) for a, b in pairs), wanted)

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Yield ordered pairs in a fixed random order: each once if they are few, else with repetition, without end."""
        (low_a, high_a), (low_b, high_b) = self.operands_a, self.operands_b
        width = high_b - low_b + 1
        size = (high_a - low_a + 1) * width
        rng = Key.of(0).at("multiplication held out", low_a, high_a, low_b, high_b).generator()
        if size <= LISTED_PAIRS:
            for cell in rng.permutation(size):
                yield low_a + int(cell) // width, low_b + int(cell) % width
            return
        while True:
            for a, b in rng.integers([low_a, low_b], [high_a + 1, high_b + 1], (1024, 2), dtype=np.int64):
                yield int(a), int(b)

    def _check_slices(self) -> None:
        missing = {"training", "validation", "test"}
        for pair in self._pairs():
            missing.discard(slice_of(identity(*pair)))
            if not missing:
                return
        raise ConfigError(
            f"multiplication: the ranges {self.operands_a} and {self.operands_b} have too few pairs "
            f"(none for {' and '.join(sorted(missing))}): widen one of them."
        )


def _all_of(digits: int) -> tuple[int, int]:
    return (2, 9) if digits == 1 else (10 ** (digits - 1), 10**digits - 1)


def _problem(a: int, b: int) -> Problem:
    return Problem(f"{a}*{b}", f"{a}*{b}=", (str(a * b),), MappingProxyType({"a": a, "b": b}))
