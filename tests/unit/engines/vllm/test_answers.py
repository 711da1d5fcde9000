"""Whatever a server answers is either a whole answer to what was asked, or is not taken."""

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.engines.engine import SampleRequest
from creditree.engines.vllm.answers import Reader, scored
from creditree.engines.vllm.client import LackError, PassingError
from creditree.engines.vllm.server import models_of
from creditree.rng import Key
from creditree.tree import token_array

EOS = 1
PROMPT = token_array([5, 6, 7])
REQUEST = SampleRequest(PROMPT, (Key.of(0), Key.of(1)), 3)
WHOLE: dict[str, Any] = {
    "id": "cmpl-1",
    "model": "a",
    "choices": [
        {"index": 0, "token_ids": [8, EOS], "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.5, -1]}},
        {"index": 1, "token_ids": [8, 9, 9], "finish_reason": "length", "logprobs": {"token_logprobs": [-0.5, -1, 0]}},
    ],
}
SCORES: dict[str, Any] = {
    "model": "a",
    "choices": [{"index": 0, "prompt_logprobs": [None, {"6": {"logprob": -1.5}}, {"7": {"logprob": -2}}]}],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


def changed(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of an answer with another value in one place."""
    if not path:
        return value
    found = deepcopy(whole)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


def read(answer: Any) -> list[tuple[list[int], list[float]]]:
    found = Reader(10, (EOS,)).read(answer, "a", REQUEST)
    return [(one.token_ids.tolist(), one.logprobs.tolist()) for one in found]


def test_whole_answers_are_read() -> None:
    assert read(WHOLE) == [([8, 1], [-0.5, -1.0]), ([8, 9, 9], [-0.5, -1.0, 0.0])]
    assert read(WHOLE | {"choices": WHOLE["choices"][::-1]}) == read(WHOLE)  # in any order
    assert scored(SCORES, "a", PROMPT).tolist() == [-1.5, -2.0]


@given(st.sampled_from(places(WHOLE)), JSON)
def test_a_wrong_value_anywhere_is_not_taken(path: tuple[Any, ...], value: Any) -> None:
    answer = changed(WHOLE, path, value)
    try:
        found = read(answer)
    except (PassingError, LackError):
        return
    for ids, logprobs in found:  # it was another right one
        assert len(ids) == len(logprobs) <= 3
        assert all(0 <= token < 10 for token in ids)
        assert np.isfinite(logprobs).all()
        assert max(logprobs) <= 0
        assert (ids[-1] == EOS) == (len(ids) < 3 or EOS in ids)


@given(st.sampled_from(places(SCORES)), JSON)
def test_a_wrong_score_is_not_taken(path: tuple[Any, ...], value: Any) -> None:
    try:
        found = scored(changed(SCORES, path, value), "a", PROMPT)
    except (PassingError, LackError):
        return
    assert len(found) == 2
    assert np.isfinite(found).all()


@given(JSON)
def test_lists_ofmodels_of_are_lists_ofmodels_of(value: Any) -> None:
    for answer in (value, {"data": value}):
        try:
            assert all("id" in one for one in models_of(answer))
        except LackError:
            continue


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("model",), "b", "answers for another model than 'a'"),
        (("choices", 1, "index"), 0, "returns 2 of 2 completions"),
        (("choices", 0, "token_ids"), [8, 10], "token ids that the model does not have"),
        (("choices", 0, "token_ids"), [EOS, EOS], "for a reason that their tokens do not show"),
        (("choices", 1, "finish_reason"), "stop", "for a reason that their tokens do not show"),
        (("choices", 0, "finish_reason"), "abort", r"\(abort\)"),
        (("choices", 0, "logprobs", "token_logprobs"), [-0.5], "cut or too long"),
        *(
            (("choices", 0, "logprobs", "token_logprobs", 0), value, "no log-probabilities")
            for value in (0.5, None, True, "-1", float("nan"), float("-inf"), -(10**400))
        ),
    ],
)
def test_reasons(path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(PassingError, match=words):
        read(json.loads(json.dumps(changed(WHOLE, path, value))))
