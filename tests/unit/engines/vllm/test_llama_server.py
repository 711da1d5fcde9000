"""What llama.cpp's server answers, as it was seen to: taken whole, or not at all."""

from typing import Any

import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.client import Client, LackError, PassingError, Patience, ServerError
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.llama_server import LlamaReader, LlamaServer
from creditree.engines.vllm.server import ServerSpec
from creditree.models.scores import token_scores
from creditree.rng import Key
from creditree.tree import token_array
from tests.fake_vllm import FakeLlama, FakeVllm, served
from tests.tiny_models import tiny

REQUEST = SampleRequest(token_array([5, 7, 9]), (Key.of(0), Key.of(1)), 4)
EOS = (2,)
PATIENCE = Patience(60.0, 60.0, 0.005)


def answer(ids: list[int], stop_type: str = "limit", **other: Any) -> dict[str, Any]:
    """Return what b1 of llama.cpp answered, without what is not read."""
    told = [{"id": token, "token": "x", "logprob": -0.5, "top_logprobs": []} for token in ids]
    seed = REQUEST.keys[0].at("server").integer(0, 2**31 - 1)
    settings = {"generation_settings": {"seed": seed}}
    return {"model": "m", "tokens": ids, "completion_probabilities": told, "stop_type": stop_type} | settings | other


def read(found: Any) -> tuple[list[int], str]:
    (completion,) = LlamaReader(60, EOS).read(found, "m", LlamaServer().parts(REQUEST)[0])
    return completion.token_ids.tolist(), completion.finish_reason


def test_a_completion_is_read() -> None:
    assert read(answer([3, 4, 5, 6])) == ([3, 4, 5, 6], "length")
    assert read(answer([3, 2], "eos")) == ([3, 2], "stop")
    assert read(answer([3, 2, 4, 6])) == ([3, 2], "stop")  # an end that the server does not know as one


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (answer([3, 4], "eos"), "a reason that their tokens do not show"),
        (answer([3, 4]), "a reason that their tokens do not show"),
        (answer([3, 4, 5, 6, 7]), "cut or too long"),
        (answer([3, 4, 5, 6], truncated=True), "cut or too long"),
        (answer([3, 4, 5, 99]), "token ids that the model does not have"),
        (answer([3, 4, 5, 6], model="n"), "another model than"),
        (answer([3, 4, 5, 6], tokens=[3, 4, 5, 7]), "log-probabilities of other tokens"),
        (answer([3, 4, 5, 6], generation_settings={"seed": 1}), "an answer to another question"),
        ([], "another form"),
    ],
)
def test_what_is_not_whole_is_not_taken(found: Any, words: str) -> None:
    with pytest.raises(PassingError, match=words):
        read(found)
    with pytest.raises(LackError, match="returns no token ids"):
        read({"model": "m", "content": "text"})


def test_a_base_model_is_sampled_from_it() -> None:
    model = tiny("qwen2", torch.float32)
    with served(FakeLlama(model)) as url:
        engine = VllmEngine(
            model, None, ServerSpec(url, patience=PATIENCE), [REQUEST.context_ids], dialect=LlamaServer()
        )
        assert engine.remote.startswith("llama.cpp b1-fake at http")
        ((*samples,),), ledger = engine.sample([REQUEST], Sampling(1.0))
        engine.close()
    assert len(samples) == 2
    assert samples[0].token_ids.tolist() != samples[1].token_ids.tolist()
    for sample in samples:
        whole = token_array([*REQUEST.context_ids, *sample.token_ids])
        assert sample.logprobs == pytest.approx(token_scores(model, whole, len(sample.token_ids)), abs=1e-4)
    assert ledger.decoded == sum(len(sample.token_ids) for sample in samples)


def test_another_server_is_named() -> None:
    with served(FakeVllm()) as url, pytest.raises(ServerError, match=r"no llama-server; set engine\.url"):
        LlamaServer().find(Client(url, PATIENCE), None)
