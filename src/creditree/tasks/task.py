"""What a task is: problems to train on, problems held out, and the wording of the prompt."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal, Protocol

from creditree.errors import ConfigError, did_you_mean
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.split import Split

NUM_HELD_OUT = 500
"""Problems in a held-out split of a generated task when no limit is given."""
MOST_REPEATS = 20_000
"""Problems in a row that were there before, after which a generator is taken to have no others."""
Chat = bool | Literal["auto"]
"""Whether a prompt is in the chat format; auto: where the tokenizer has one."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that a prompt needs."""

    @property
    def eos_token_id(self) -> int | None:
        """Id of the token that ends a text."""

    @property
    def chat_template(self) -> object:
        """Jinja text of the chat format, or None."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of `text`."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, add_generation_prompt: bool, tokenize: bool, return_dict: bool
    ) -> list[int]:
        """Return the token ids of a conversation."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The wording around a question: plain text, or one user message in the tokenizer's own chat format.

    `text` has fields in braces: `question`, and any column of the problem's row; a doubled brace is a literal one.
    `chat` "auto" takes the chat format where the tokenizer has one, and plain text elsewhere.
    Raises ConfigError for text that is malformed or has no field, and for a system message without `chat`.
    """

    text: str = "{question}"
    chat: Chat = False
    system: str | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError(
                f"The prompt text {self.text!r} has no field, so every prompt would be the same: add {{question}}."
            )
        for name in self.fields:
            if not name.isidentifier():
                raise ConfigError(
                    f"The prompt text has the field {{{name}}}, which is not a plain name: "
                    "write {question} or a column's name, and double a brace that is meant literally."
                )
        if self.system is not None and not self.chat:
            raise ConfigError("The prompt has a system message but chat is off: set chat to true or leave system out.")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names in braces, in order."""
        try:
            return tuple(name for _, name, _, _ in Formatter().parse(self.text) if name is not None)
        except ValueError as error:
            raise ConfigError(
                f"The prompt text {self.text!r} is malformed ({error}): double a brace that is meant literally."
            ) from error

    def check(self, columns: Collection[str]) -> None:
        """Raise ConfigError unless every field is ``question`` or one of `columns`."""
        known = {"question", *columns}
        for name in self.fields:
            if name not in known:
                raise ConfigError(
                    f"The prompt text asks for {{{name}}}, but the problems have no such column."
                    f"{did_you_mean(name, known)}"
                )

    def render(self, problem: Problem) -> str:
        """Return the text of the prompt, without the chat format around it."""
        values: Mapping[str, object] = {**problem.columns, "question": problem.question}
        missing = [name for name in self.fields if name not in values]
        if missing:
            raise ConfigError(
                f"The prompt text asks for {{{missing[0]}}}, but problem {problem.id} has no such column."
                f"{did_you_mean(missing[0], values)}"
            )
        return self.text.format(**values)

    def encode(self, problem: Problem, tokenizer: Tokenizer) -> list[int]:
        """Return the prompt's token ids, with the special tokens that the tokenizer begins a text with.

        A tokenizer that also closes every text with its end token has that token removed: the completion comes next.
        Raises ConfigError if `chat` is on and the tokenizer has no chat template.
        """
        text = self.render(problem)
        if self.chat is True or (self.chat == "auto" and (tokenizer.chat_template is not None or self.system)):
            return self._chat_ids(text, tokenizer)
        ids = tokenizer.encode(text)
        if ids and ids[-1] == tokenizer.eos_token_id:
            bare = tokenizer.encode(text, add_special_tokens=False)
            if not bare or bare[-1] != tokenizer.eos_token_id:
                return ids[:-1]
        return ids

    def _chat_ids(self, text: str, tokenizer: Tokenizer) -> list[int]:
        if tokenizer.chat_template is None:
            raise ConfigError(
                "The prompt asks for the chat format, but this model's tokenizer has no chat template: "
                "set chat to false or use an instruct model."
            )
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return tokenizer.apply_chat_template(
            [*system, {"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False
        )


class Task(Protocol):
    """Where problems come from. Training never draws a problem of a held-out split."""

    @property
    def name(self) -> str:
        """Short name, as tables show it."""

    @property
    def prompt(self) -> PromptTemplate:
        """Wording of the prompt."""

    @property
    def num_training(self) -> int | None:
        """Number of training problems, or None where they are generated without end."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the user should see, such as what was left out of a table."""

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`, whatever was drawn before."""

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return the problems of a held-out split, the same for every seed; `limit` takes the first ones."""


def first_different(problems: Iterator[Problem], limit: int) -> tuple[Problem, ...]:
    """Return the first `limit` problems with different ids, or all of them where no new one comes any more."""
    found: dict[str, Problem] = {}
    repeats = 0
    for problem in problems if limit > 0 else ():
        repeats = repeats + 1 if problem.id in found else 0
        found.setdefault(problem.id, problem)
        if len(found) == limit or repeats == MOST_REPEATS:
            break
    return tuple(found.values())


def nth_of_passes(problems: Sequence[Problem], key: Key, index: int) -> Problem:
    """Return the index-th problem of repeated passes over `problems`, each pass in a fresh random order."""
    number, position = divmod(index, len(problems))
    order = key.at("pass", number).generator().permutation(len(problems))
    return problems[int(order[position])]
