"""Short word problems, generated without end; what is held out is decided by the text of the question."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType

from creditree.errors import ConfigError, did_you_mean
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.split import Split, slice_of
from creditree.tasks.stories import KINDS, Story, draw
from creditree.tasks.task import NUM_HELD_OUT, PromptTemplate, first_different

DISTRACTORS = 0.35


@dataclass(frozen=True)
class WordProblems:
    """Stories in the manner of SVAMP: one or two operations, names, things, and numbers that do not matter.

    `kinds` are families of stories (default: all of ``stories.KINDS``); `distractors` is the probability that a story
    of one operation mentions a number that does not matter.
    Raises ConfigError for an unknown kind or a probability outside of 0..1.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    distractors: float = DISTRACTORS
    num_held_out: int = NUM_HELD_OUT
    prompt: PromptTemplate = PromptTemplate("{question}\n")

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ConfigError(f"word_problems: kinds is empty; name at least one of {', '.join(KINDS)}.")
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(f"word_problems: there is no kind '{kind}'.{did_you_mean(kind, KINDS)}")
        if not 0 <= self.distractors <= 1:
            raise ConfigError(f"word_problems: distractors is {self.distractors}; it must be between 0 and 1.")
        if self.num_held_out < 1:
            raise ConfigError(f"word_problems: num_held_out is {self.num_held_out}; it must be at least 1.")
        self.prompt.check(("kind", "num_steps"))

    @property
    def name(self) -> str:
        """Return ``word_problems``, with the kinds where they are not all."""
        return "word_problems" if self.kinds == tuple(KINDS) else f"word_problems-{'-'.join(self.kinds)}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Return nothing: generated problems are all used."""
        return ()

    @property
    def num_training(self) -> int | None:
        """Return None: problems are drawn without end."""
        return None

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`: drawn until the question is in the training slice."""
        rng = key.at("problem", index).generator()
        while True:
            story = draw(rng, self.kinds, self.distractors)
            if slice_of(story.question) == "training":
                return _problem(story)

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return `limit` problems of the split (default `num_held_out`)."""
        wanted = self.num_held_out if limit is None else limit
        return first_different(self._held_out(split), wanted)

    def _held_out(self, split: Split) -> Iterator[Problem]:
        rng = Key.of(0).at("word problems held out", split).generator()
        while True:
            story = draw(rng, self.kinds, self.distractors)
            if slice_of(story.question) == split:
                yield _problem(story)


def _problem(story: Story) -> Problem:
    digest = blake2b(story.question.encode(), digest_size=8).hexdigest()
    columns: dict[str, object] = {"kind": story.kind, "num_steps": len(story.steps)}
    return Problem(f"story-{digest}", story.question, (str(story.answer),), MappingProxyType(columns))
