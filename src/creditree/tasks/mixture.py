"""Several tasks as one: each problem is drawn from one of them, as often as its weight says."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from creditree.errors import DataError
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.split import Split
from creditree.tasks.task import Pieces, PromptTemplate, Task, TextEncoder

BLOCK = 1024
"""Draws that are made at once."""


@dataclass(frozen=True, slots=True)
class MixedPrompt(PromptTemplate):
    """The wording of each task of a mixture, by the task that a problem says it is from; any other has the first's.

    `text` names all of them, for records.
    """

    parts: tuple[tuple[str, PromptTemplate], ...] = ()

    @classmethod
    def of_parts(cls, parts: tuple[tuple[str, PromptTemplate], ...]) -> "MixedPrompt":
        """Return the wordings by name as one."""
        chats, systems = {template.chat for _, template in parts}, {template.system for _, template in parts}
        text = "\n".join(f"{name}: {template.text}" for name, template in parts)
        system = systems.pop() if len(systems) == 1 else None
        return cls(text, chats.pop() if len(chats) == 1 else "auto", system, parts)

    def of(self, problem: Problem) -> PromptTemplate:
        """Return the wording of a problem's own task."""
        return dict(self.parts).get(problem.task, self.first)

    @property
    def first(self) -> PromptTemplate:
        """The wording of the first task."""
        return self.parts[0][1]

    def pieces(self, problem: Problem) -> Pieces:
        """Return the text of the prompt in pieces, and whether each comes from the problem's row."""
        return self.of(problem).pieces(problem)

    def encode(self, problem: Problem, encoder: TextEncoder) -> list[int]:
        """Return the prompt's token ids."""
        return self.of(problem).encode(problem, encoder)

    def in_chat_format(self, encoder: TextEncoder) -> bool:
        """Return whether prompts of any task are in the chat format."""
        return any(template.in_chat_format(encoder) for _, template in self.parts)


@dataclass(frozen=True)
class Part:
    """One task of a mixture: its name there, its weight, and the task."""

    name: str
    weight: float
    task: Task

    def named(self, problem: Problem) -> Problem:
        """Return a problem of the task as one of the mixture."""
        return replace(problem, id=f"{self.name}/{problem.id}", task=self.name)


@dataclass(frozen=True)
class Mixture:
    """Problems of several tasks, task t with probability w_t / sum w, independently for each problem.

    A task's own problems come in its own order, whatever the others are: each pass over a table has each problem once.
    Held-out problems are taken from all tasks in turn, by their weights, until a task has no more. A problem has the
    name of its task (`Problem.task`), also before its id. Raises DataError for a task without training problems.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.task.num_training == 0:
                raise DataError(
                    f"The task '{part.name}' of the mixture has no training problems: leave it out, or name a file "
                    "that has them."
                )

    @property
    def name(self) -> str:
        """Return the names of all tasks."""
        return "+".join(part.name for part in self.parts)

    @property
    def prompt(self) -> PromptTemplate:
        """Return the wordings of all tasks."""
        return MixedPrompt.of_parts(tuple((part.name, part.task.prompt) for part in self.parts))

    @property
    def num_training(self) -> int | None:
        """Return None: problems are drawn without end."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what there is to say of each task."""
        return tuple(f"{part.name}: {note}" for part in self.parts for note in part.task.notes)

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`, whatever was drawn before."""
        number, place = divmod(index, BLOCK)
        weights = tuple(part.weight for part in self.parts)
        drawn = _drawn(key, number, weights)
        chosen = int(drawn[place])
        for earlier in range(number):  # each from the one before it, so that none has to go back far
            _counts(key, earlier + 1, weights)
        own = _counts(key, number, weights)[chosen] + int((drawn[:place] == chosen).sum())
        part = self.parts[chosen]
        return part.named(part.task.training(key.at("mixture", part.name), own))

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return the problems of a split; `limit` takes the first ones."""
        by_part = [list(part.task.held_out(split, limit)) for part in self.parts]
        total = sum(map(len, by_part))
        turns = _turns([part.weight for part in self.parts], [len(own) for own in by_part])
        count = total if limit is None else min(limit, total)
        places = [iter(own) for own in by_part]
        return tuple(self.parts[turn].named(next(places[turn])) for turn, _ in zip(turns, range(count), strict=False))


def listed(task: Task, first: int = 0) -> Iterator[Problem]:
    """Yield every training problem once, by index; of those that are generated without end the `first`."""
    if isinstance(task, Mixture):
        for part in task.parts:
            yield from map(part.named, listed(part.task, first))
        return
    count = first if task.num_training is None else task.num_training
    yield from (task.training(Key.of(0), index) for index in range(count))


def _turns(weights: list[float], sizes: list[int]) -> Iterator[int]:
    """Yield which task is next: the one that lags most behind its weight, the first of equals, until none has more."""
    taken = [0] * len(weights)
    while True:
        left = [place for place, size in enumerate(sizes) if taken[place] < size]
        if not left:
            return
        turn = min(left, key=lambda place: (taken[place] + 1) / weights[place])
        taken[turn] += 1
        yield turn


@lru_cache(maxsize=64)
def _drawn(key: Key, number: int, weights: tuple[float, ...]) -> NDArray[np.int64]:
    """Return which task each problem of a block of draws is from."""
    shares = np.array(weights) / np.sum(weights)
    drawn = key.at("mixture", number).generator().choice(len(weights), size=BLOCK, p=shares)
    drawn.flags.writeable = False
    return drawn


@lru_cache(maxsize=4096)
def _counts(key: Key, number: int, weights: tuple[float, ...]) -> tuple[int, ...]:
    """Return how many problems were drawn from each task before a block."""
    if number == 0:
        return (0,) * len(weights)
    before = np.array(_counts(key, number - 1, weights))
    return tuple((before + np.bincount(_drawn(key, number - 1, weights), minlength=len(weights))).tolist())
