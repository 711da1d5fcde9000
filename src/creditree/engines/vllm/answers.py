"""The protocol of completions: token ids in, token ids and raw log-probabilities out; nothing is taken on trust.

An answer is used whole or not at all: one with a completion, a token or a number too few, one that was cut, is of
another model or was given before, is asked again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.client import LackError, PassingError
from creditree.tree import FinishReason, FloatArray, IntArray, token_array

COMPLETIONS = "/v1/completions"
MOST_REMEMBERED = 100_000
"""Names of answers that are held: what answers twice does so soon."""
_LEAST, _SLACK = -1e9, 1e-3
"""Between these lie log-probabilities: rounding may lift one above 0."""


@dataclass(frozen=True, eq=False, slots=True)
class DrawnTokens:
    """One completion as the server drew it, its final EOS included; `logprobs` of the untempered model."""

    token_ids: IntArray
    logprobs: FloatArray
    finish_reason: FinishReason


def question(model: str, request: SampleRequest, sampling: Sampling, eos_ids: Sequence[int]) -> dict[str, Any]:
    """Return the body that asks for the completions of a request.

    Everything that shapes the distribution is said: a server takes what is not said from the model's own generation
    settings. The seed is the first key's, so that an answer that was lost is given again, not drawn anew: else long
    completions, which are lost more often, would be rarer than the model makes them.
    """
    return {
        "model": model,
        "prompt": request.context_ids.tolist(),
        "n": len(request.keys),
        "max_tokens": request.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": request.keys[0].at("server").integer(0, 2**31 - 1),
        "stop_token_ids": list(eos_ids),
        "logprobs": 0,
        "return_token_ids": True,
        "skip_special_tokens": False,
    }


def scoring(model: str, token_ids: IntArray) -> dict[str, Any]:
    """Return the body that asks for the log-probabilities of given token ids."""
    return {
        "model": model,
        "prompt": token_ids.tolist(),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        "return_token_ids": True,
    }


def scored(answer: Any, model: str, token_ids: IntArray) -> FloatArray:
    """Return the log-probabilities of all given token ids but the first.

    Raises LackError where the server does not tell them, PassingError for an answer that makes no sense.
    """
    (choice,) = _choices(answer, model, 1)
    scores = choice.get("prompt_logprobs")
    if scores is None:
        raise LackError("does not score given token ids (`prompt_logprobs`)")
    if not isinstance(scores, list) or len(scores) != len(token_ids):
        raise PassingError("scores fewer tokens than it was given", wrong=True)
    told = zip(token_ids[1:].tolist(), scores[1:], strict=True)
    entries = [entry.get(str(token)) if isinstance(entry, Mapping) else None for token, entry in told]
    return numbers_of([entry.get("logprob") if isinstance(entry, Mapping) else None for entry in entries])


class Reader:
    """Reads completions; remembers the names of answers, so that none is taken twice."""

    def __init__(self, vocab_size: int, eos_ids: Sequence[int]) -> None:
        self._vocab_size, self._eos_ids = vocab_size, np.array(eos_ids, dtype=np.int64)
        self._seen: set[str] = set()

    def read(self, answer: Any, model: str, request: SampleRequest) -> list[DrawnTokens]:
        """Return the completions of a request, in order.

        Raises LackError where the server tells no ids or log-probabilities, PassingError for an answer that is not
        whole, of another model, or was given before.
        """
        choices = _choices(answer, model, len(request.keys))
        completions = [self._completion(choice, request) for choice in choices]
        name = answer.get("id")
        if isinstance(name, str):
            if name in self._seen:
                raise PassingError("gives an answer twice", wrong=True)
            if len(self._seen) >= MOST_REMEMBERED:
                self._seen.clear()
            self._seen.add(name)  # one step of the interpreter, whichever thread makes it
        return completions

    def _completion(self, choice: Mapping[str, Any], request: SampleRequest) -> DrawnTokens:
        ids, told = choice.get("token_ids"), choice.get("logprobs")
        if ids is None:
            raise LackError("does not return token ids (`return_token_ids`)")
        numbers = told.get("token_logprobs") if isinstance(told, Mapping) else None
        if numbers is None:
            raise LackError("does not return log-probabilities (`logprobs`)")
        prompt = choice.get("prompt_token_ids")
        if prompt is not None and prompt != request.context_ids.tolist():
            raise PassingError("answers for other token ids than it was given", wrong=True)
        if not is_list_of(ids, int) or not all(0 <= token < self._vocab_size for token in ids):
            raise PassingError("returns token ids that the model does not have", wrong=True)
        if not isinstance(numbers, list) or not 0 < len(ids) == len(numbers) <= request.max_new_tokens:
            raise PassingError("returns completions that are cut or too long", wrong=True)
        tokens = token_array(ids)
        return DrawnTokens(
            tokens, numbers_of(numbers), finish_of(choice.get("finish_reason"), tokens, self._eos_ids, request)
        )


def finish_of(told: object, tokens: IntArray, eos_ids: IntArray, request: SampleRequest) -> FinishReason:
    """Return why a completion ended. Raises PassingError where its tokens do not show what the server says."""
    ends = np.flatnonzero(np.isin(tokens, eos_ids))
    if told == "stop" and ends.tolist() == [len(tokens) - 1]:
        return "stop"
    if told == "length" and len(ends) == 0 and len(tokens) == request.max_new_tokens:
        return "length"
    raise PassingError(f"ends completions for a reason that their tokens do not show ({told})", wrong=True)


def _choices(answer: Any, model: str, count: int) -> list[Mapping[str, Any]]:
    """Return the choices of an answer by their index. Raises PassingError where they are not those that were asked."""
    if not isinstance(answer, Mapping):
        raise PassingError("answers in another form than that of completions", wrong=True)
    if answer.get("model", model) != model:
        raise PassingError(f"answers for another model than '{model}'", wrong=True)
    choices: Any = answer.get("choices")
    if not is_list_of(choices, Mapping):
        raise PassingError("answers in another form than that of completions", wrong=True)
    ordered = sorted(choices, key=lambda choice: str(choice.get("index")).zfill(9))
    if [choice.get("index") for choice in ordered] != list(range(count)):
        raise PassingError(f"returns {len(choices)} of {count} completions", wrong=True)
    return ordered


def numbers_of(values: Sequence[Any]) -> FloatArray:
    """Return log-probabilities. Raises PassingError where one is missing or none."""
    for value in values:
        # an integer may be too large for a float, and then it is compared all the same
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not _LEAST <= value <= _SLACK:
            raise PassingError("returns numbers that are no log-probabilities", wrong=True)
    return np.minimum(np.array(values, dtype=np.float64), 0.0)


def is_list_of(values: Any, kind: type) -> bool:
    """Return whether values are a list of a kind; true and false are no numbers."""
    return isinstance(values, list) and all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
