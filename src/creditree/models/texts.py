"""Between a model and its texts: prompts to token ids, completions to text, and what ends them."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from creditree.models.chat import ChatTemplate, Message
from creditree.models.ends import Ends, ends_of, not_applied, not_applied_note
from creditree.models.reading import one_sentence, reason_of
from creditree.text import shown

Pieces = Sequence[tuple[str, bool]]
"""A text in pieces, and whether each comes from data."""

PROBE = ("Creditree asks", "Creditree answers")
MARKS = ("\ue000", "\ue001")
"""Private characters around the number of a control token that data holds, while a template is rendered."""
MARK = re.compile(f"{MARKS[0]}(\\d+){MARKS[1]}")
_WORD_START = "\u2581"
"""How SentencePiece writes the space before a word."""
TAG = re.compile(r"<.+>|\[.+\]", re.DOTALL)


class Texts:
    """A tokenizer as Creditree uses it.

    Into the model: a text is encoded as the tokenizer does, but text that comes from data never makes a control token:
    these are the template's to write, the user's or the model's own. Out of it: only tokens that end a completion, and
    padding, are left out; every other special token (``<think>``, ``<answer>``) is text, and is judged.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Any,
        config: Any = None,
        generation: Any = None,
        rows: int | None = None,
        more_notes: tuple[str, ...] = (),
    ) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.chat = ChatTemplate(name, tokenizer)
        self._config, self._generation, self._rows = config, generation, rows
        self._more_notes = more_notes
        self._known: dict[int, str] = {}

    @cached_property
    def ends(self) -> Ends:
        """The tokens that end a completion. Raises ModelError where nothing does."""
        return ends_of(self.name, self.tokenizer, self._config, self._generation, self._turn_end(), self._rows)

    def check(self) -> None:
        """Raise ModelError where nothing ends a completion."""
        _ = self.ends

    @property
    def has_chat_template(self) -> bool:
        """Whether there is a chat format."""
        return self.chat.is_there

    @property
    def not_applied(self) -> dict[str, object]:
        """What the model's generation configuration says of sampling, which is not applied."""
        return not_applied(self._generation)

    @property
    def end_words(self) -> tuple[str, ...]:
        """The tokens that end a completion, and who says so, in words."""
        return tuple(end.words for end in self.ends.found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the ends of completions, of settings not applied, and how the model is run."""
        return (*self.ends.notes, *not_applied_note(self.not_applied), *self._more_notes)

    def to_json(self) -> dict[str, object]:
        """Return which tokens end a completion, who says so, and what is not applied, for a record."""
        ends = [{"id": end.id, "token": end.token, "sources": list(end.sources)} for end in self.ends.found]
        return {"ends": ends, "not_applied": {name: str(value) for name, value in self.not_applied.items()}}

    def completion(self, token_ids: Any) -> str:
        """Return the text of a completion."""
        left_out = {*self.ends.ids, self.tokenizer.pad_token_id}
        return self.exact([int(token) for token in token_ids if int(token) not in left_out])

    def exact(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, every one of them."""
        with one_sentence(lambda error: f"the tokenizer of '{self.name}' cannot decode ({reason_of(error)})."):
            return str(self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def by_token(self, token_ids: Iterable[int]) -> list[str]:
        """Return the text of each token by itself; a part of a character is shown as one that is not known."""
        return [self._texts_by_id(int(token)) for token in token_ids]

    def _texts_by_id(self, token: int) -> str:
        text = self._known.get(token)
        if text is None:
            text = self.exact([token])
            name = str(self.tokenizer.convert_ids_to_tokens(token) or "")
            if name.startswith(_WORD_START) and not text.startswith(" "):
                text = f" {text}"  # tokenizers of this kind drop the space before the first word of what they decode
            self._known[token] = text
        return text

    def encode(self, pieces: Pieces) -> list[int]:
        """Return the token ids of a plain text, with the special tokens that the tokenizer begins a text with.

        A tokenizer that also closes every text with its end token has that token removed: the completion comes next.
        """
        text = "".join(piece for piece, _ in pieces)
        cuts = self._cuts(pieces)
        if cuts:
            before, after = self._around()
            ids = [*before, *self._cut_ids(text, cuts), *after]
        else:
            ids = self._ids(text)
        if ids and ids[-1] == self.tokenizer.eos_token_id:
            bare = self._cut_ids(text, cuts)
            return ids if bare and ids[-len(bare) :] == bare else ids[:-1]
        return ids

    def encode_chat(self, pieces: Pieces, system: str | None) -> list[int]:
        """Return the token ids of one user message in the chat format, up to where the answer begins.

        Raises ModelError where the template cannot be rendered.
        """
        markers: list[str] = []
        content = self._marked(pieces, markers)
        before: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        text = self.chat.render([*before, {"role": "user", "content": content}], answer_next=True)
        parts = MARK.split(text) if markers else [text]
        whole, cuts = parts[0], []
        for number, rest in zip(parts[1::2], parts[2::2], strict=True):
            cuts.append(len(whole) + 1)
            whole += markers[int(number)] + rest
        return self._cut_ids(whole, cuts)

    def _ids(self, text: str, **options: bool) -> list[int]:
        """Return the tokens of a text. Raises ModelError where the tokenizer fails: it may lack letters, or give up."""
        with one_sentence(
            lambda error: f"the tokenizer of '{self.name}' cannot encode {shown(text)} ({reason_of(error)})."
        ):
            return list(self.tokenizer.encode(text, **options))

    def _cut_ids(self, text: str, cuts: Sequence[int]) -> list[int]:
        """Return the ids of a text whose control tokens are cut into plain text where data made them."""
        bounds = [0, *cuts, len(text)]
        pieces = [text[start:stop] for start, stop in pairwise(bounds)]
        return [token for piece in pieces for token in self._ids(piece, add_special_tokens=False)]

    def _cuts(self, pieces: Pieces) -> list[int]:
        """Return the places behind the first letter of each control token that data has a part in."""
        text = "".join(piece for piece, _ in pieces)
        written: list[tuple[int, int]] = []
        at = 0
        for piece, is_data in pieces:
            if not is_data:
                written.append((at, at + len(piece)))
            at += len(piece)
        cuts, place = [], 0
        while (match := self._control.search(text, place)) is not None:
            start, stop = match.span()
            if any(first <= start and stop <= last for first, last in written):
                place = stop
            else:
                cuts.append(start + 1)
                place = start + 1
        return cuts

    def _marked(self, pieces: Pieces, markers: list[str]) -> str:
        """Return a text with a mark in place of each control token that data made; they are appended to `held`."""
        cuts = self._cuts(pieces)
        text = "".join(piece for piece, _ in pieces)
        if not cuts:
            return text
        marked, at = "", 0
        for cut in cuts:
            match = self._control.match(text, cut - 1)
            if match is None or match.start() < at:
                continue
            marked += MARK.sub("", text[at : match.start()]) + f"{MARKS[0]}{len(markers)}{MARKS[1]}"
            markers.append(match.group())
            at = match.end()
        return marked + MARK.sub("", text[at:])

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Matches what the tokenizer takes for one token wherever it stands: special tokens, and others like tags."""
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        texts = {str(token) for token in added if token.special or TAG.fullmatch(str(token))}
        longest_first = sorted(filter(str.strip, texts), key=lambda text: (-len(text), text))
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def _around(self) -> tuple[list[int], list[int]]:
        """Return the tokens that the tokenizer puts before and behind every text."""
        whole, bare = self._ids(PROBE[0]), self._ids(PROBE[0], add_special_tokens=False)
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[:start], whole[start + len(bare) :]
        return [], []

    def _turn_end(self) -> int | None:
        """Return the token with which the chat template ends an answer.

        Any template, whatever its family: an answer is rendered, and of the tokens that stand for themselves
        (`added_tokens_decoder`) the longest counts with which begins what the template writes behind it.
        """
        if not self.chat.is_there:
            return None
        rest = self.chat.ending(*PROBE).lstrip()
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).items()
        ending = [(len(str(token)), index) for index, token in added if str(token) and rest.startswith(str(token))]
        return max(ending)[1] if ending else None
