"""Which tokens end a completion, and what a model's generation configuration says besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditree.errors import ModelError

BOOKKEEPING = frozenset(
    {
        "bos_token_id",
        "cache_implementation",
        "decoder_start_token_id",
        "eos_token_id",
        "forced_eos_token_id",
        "output_attentions",
        "output_hidden_states",
        "output_logits",
        "output_scores",
        "pad_token_id",
        "return_dict_in_generate",
        "transformers_version",
        "use_cache",
    }
)
"""Settings of a generation configuration that change no token."""
TOKENIZER, TEMPLATE = "tokenizer", "chat template"
LONGEST_VALUE = 40


@dataclass(frozen=True, slots=True)
class End:
    """A token that ends a completion, and who says so. `reachable`: whether the model has a row for it."""

    id: int
    token: str
    sources: tuple[str, ...]
    reachable: bool = True

    @property
    def words(self) -> str:
        """Such as ``'<|im_end|>' (2: generation_config.json, chat template)``."""
        return f"{self.token!r} ({self.id}: {', '.join(self.sources)})"


@dataclass(frozen=True, slots=True)
class Ends:
    """The tokens that end a completion, by id.

    They are all that the model says: every id of `eos_token_id` in generation_config.json and config.json, the
    tokenizer's end-of-sequence token, and the token with which its chat template ends an answer. `eos`: the tokenizer's
    (or else the first);  `turn`: the template's.
    """

    found: tuple[End, ...]
    eos: int
    turn: int | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids, ascending."""
        return tuple(end.id for end in self.found)

    def closing(self, *, chat: bool) -> int:
        """Return the token that an answer which is written out is closed with, in the chat format or in plain text."""
        return self.turn if chat and self.turn is not None else self.eos

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: which tokens they are where there are several, and which never come."""
        notes = []
        if len(self.found) > 1:
            notes.append(f"completions end at {_joined([end.words for end in self.found])}")
        lost = [end for end in self.found if not end.reachable]
        if lost:
            rest = "" if len(lost) < len(self.found) else ", and no other does: every completion goes on to its limit"
            names = _joined([end.words for end in lost])
            notes.append(f"the model has no row for {names}, so it can never be drawn and ends no completion{rest}")
        return tuple(notes)


def ends_of(name: str, tokenizer: Any, config: Any, generation: Any, turn: int | None, rows: int | None = None) -> Ends:
    """Return what ends a completion of a model with `rows` rows of logits (None: not known).

    `config`, `generation`: of transformers, or None; `turn`: what its chat template ends an answer with. Raises
    ModelError where nothing does, or an id is none.
    """
    said: dict[int, list[str]] = {}
    derived = getattr(generation, "_from_model_config", False)  # there is no such file, or it repeats the other
    files = (("config.json" if derived else "generation_config.json", generation), ("config.json", config))
    for source, holder in files:
        for token in _ids(name, source, getattr(holder, "eos_token_id", None)):
            if source not in said.setdefault(token, []):
                said[token].append(source)
    eos = tokenizer.eos_token_id
    for source, own in ((TOKENIZER, eos), (TEMPLATE, turn)):
        if own is not None:
            said.setdefault(int(own), []).append(source)
    if not said:
        raise ModelError(
            f"the tokenizer of '{name}' has no end-of-sequence token, so completions could not end; set eos_token."
        )
    end_tokens = tuple(
        End(token, _token(tokenizer, token), tuple(sources), rows is None or token < rows)
        for token, sources in sorted(said.items())
    )
    return Ends(end_tokens, end_tokens[0].id if eos is None else int(eos), turn)


def not_applied(generation: Any) -> dict[str, object]:
    """Return what a generation configuration says of sampling: Creditree samples as its own configuration says."""
    if generation is None:
        return {}
    values: Mapping[str, object] = generation.to_diff_dict()
    return {
        name: value
        for name, value in values.items()
        if name not in BOOKKEEPING and not name.startswith("_") and value is not None
    }


def not_applied_note(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return a sentence on it, where there is anything."""
    if not values:
        return ()
    shown = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
    return (f"not applied, of the model's generation_config.json: {shown}; sampling.* and `temperatures` say it here",)


def _ids(name: str, source: str, value: object) -> Sequence[int]:
    given: Sequence[object] = value if isinstance(value, list | tuple) else [] if value is None else [value]
    token_ids = []
    for token in given:
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise ModelError(
                f"eos_token_id in {source} of model '{name}' holds {_short(token)}, which is no token id; set whole "
                "numbers from 0."
            )
        token_ids.append(token)
    return token_ids


def _token(tokenizer: Any, token: int) -> str:
    try:
        piece = tokenizer.convert_ids_to_tokens(token)
    except (IndexError, KeyError, OverflowError):
        piece = None
    return "not in the tokenizer" if piece is None else str(piece)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
