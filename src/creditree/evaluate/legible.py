"""Completions that nobody can read, nearly all cut off or without an answer: told early, with example and cure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from creditree.tasks.wording import WORDINGS
from creditree.text import one_line

Kind = Literal["truncated", "unparsable"]

MOSTLY = 0.9
"""Share of the completions that counts as nearly all of them."""
LEAST = 16
"""Completions that are looked at together, at least: one hard problem is no pattern."""
LONGER = 4
"""Times the limit of tokens that is proposed where completions are cut off."""
REPEATED, TIMES = 24, 4
"""A completion goes round in circles where its last 24 characters occur at least four times in it."""
SHOWN = 240


@dataclass(frozen=True, slots=True)
class Counts:
    """How many completions there were; of them, those cut off at the limit, and those without an answer."""

    completions: int = 0
    truncated: int = 0
    unparsable: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.completions + other.completions,
            self.truncated + other.truncated,
            self.unparsable + other.unparsable,
        )

    def trouble(self) -> Kind | None:
        """Return what nearly all completions have in common; None: nothing of it.

        Cut off comes first: an answer that was not reached cannot be found.
        """
        if self.completions and self.truncated >= MOSTLY * self.completions:
            return "truncated"
        if self.completions and self.unparsable >= MOSTLY * self.completions:
            return "unparsable"
        return None


@dataclass(frozen=True, slots=True)
class CurableSettings:
    """The settings that can cure, with their present values, by the names that the user has for them.

    `most`: the tokens that fit the model's context after a prompt;  `grader`: its name;  `wording`: the prompt's text.
    """

    max_new_tokens: int
    most: int
    grader: str
    wording: str
    length_key: str = "sampling.max_new_tokens"
    prompt_key: str = "task.prompt.text"
    reward_key: str = "reward"


def is_circular(text: str) -> bool:
    """Return whether a completion repeats itself: more tokens would bring more of the same."""
    end = text.strip()[-REPEATED:]
    return len(end) == REPEATED and text.count(end) >= TIMES


def trouble_words(kind: Kind, counts: Counts, settings: CurableSettings, example: str) -> str:
    """Return what is wrong with nearly all completions, an example, and which setting to change to which value."""
    shown = f"'{one_line(example, SHOWN)}'"
    return f"{what_is_wrong(kind, counts, settings)}; one of them: {shown}. {cure_words(kind, settings, example)}"


def what_is_wrong(kind: Kind, counts: Counts, settings: CurableSettings) -> str:
    """Return what is wrong with how many completions: a clause."""
    if kind == "truncated":
        return (
            f"{counts.truncated:,} of {counts.completions:,} completions were cut off at {settings.max_new_tokens:,} "
            "tokens, before they ended"
        )
    return (
        f"in {counts.unparsable:,} of {counts.completions:,} completions the grader '{settings.grader}' found no answer"
    )


def cure_words(kind: Kind, settings: CurableSettings, example: str) -> str:
    """Return which setting to change to which value."""
    return _longer(settings, example) if kind == "truncated" else _asking(settings)


def cure_values(kind: Kind, settings: CurableSettings, example: str) -> dict[str, str | int]:
    """Return the same as keys and values; empty where no value of one key is proposed."""
    if kind == "truncated":
        wanted = None if is_circular(example) else longer_limit(settings)
        return {} if wanted is None else {settings.length_key: wanted}
    wording = better_wording(settings)
    return {} if wording is None else {settings.prompt_key: wording}


def longer_limit(settings: CurableSettings) -> int | None:
    """Return a higher limit of tokens; None where the model's context holds no more."""
    wanted = min(LONGER * settings.max_new_tokens, settings.most)
    return wanted if wanted > settings.max_new_tokens else None


def better_wording(settings: CurableSettings) -> str | None:
    """Return a wording of the prompt that asks for what the grader reads; None where it does so already."""
    wording = WORDINGS.get(settings.grader)
    return None if wording == settings.wording else wording


def _longer(settings: CurableSettings, example: str) -> str:
    if is_circular(example):
        return (
            f"It repeats itself, so more tokens would not help: ask for a short answer in {settings.prompt_key}, lower "
            "or raise the temperature, or take a model that was trained to follow instructions."
        )
    wanted = longer_limit(settings)
    if wanted is None:
        return (
            f"The model's context holds no more: ask for a shorter answer in {settings.prompt_key}, or take a model "
            "with a longer context."
        )
    return f"Set {settings.length_key} to {wanted:,}, or ask for a shorter answer in {settings.prompt_key}."


def _asking(settings: CurableSettings) -> str:
    wording = better_wording(settings)
    if wording is None:
        return (
            f"Say in {settings.prompt_key} in which form the answer is to be written, choose another grader with "
            f"{settings.reward_key}, or take a model that was trained to follow instructions."
        )
    text = wording.replace("\n", "\\n")
    return (
        f'Set {settings.prompt_key} to "{text}", which asks for what this grader reads, or choose another one with '
        f"{settings.reward_key}."
    )


class Alarm:
    """Counts completions as they come, and tells each kind of trouble once, when nearly all of a batch have it."""

    def __init__(self, settings: CurableSettings, told: Callable[[str], None]) -> None:
        self._settings, self._told = settings, told
        self._counts = Counts()
        self._examples: dict[Kind, str] = {}
        self._rung: set[Kind] = set()

    @property
    def has_rung(self) -> bool:
        """Whether anything was told."""
        return bool(self._rung)

    def take(self, counts: Counts, example: Callable[[Kind], str], where: str = "") -> None:
        """Take some more completions; `example` returns the text of one of them with a kind of trouble they have."""
        self._counts += counts
        troubles: tuple[tuple[Kind, int], ...] = (("truncated", counts.truncated), ("unparsable", counts.unparsable))
        for trouble, number in troubles:
            if number > 0 and trouble not in self._rung and trouble not in self._examples:
                self._examples[trouble] = example(trouble)  # those that come later may have none
        if self._counts.completions < LEAST:
            return
        seen, self._counts = self._counts, Counts()
        examples, self._examples = self._examples, {}
        kind = seen.trouble()
        if kind is not None and kind not in self._rung:
            self._rung.add(kind)
            self._told(f"{where}{trouble_words(kind, seen, self._settings, examples[kind])}")
