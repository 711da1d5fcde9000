"""llama.cpp's `llama-server`: ids in and out, as vLLM has them, but no adapters while it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.answers import DrawnTokens, finish_of, is_list_of, numbers_of
from creditree.engines.vllm.client import Client, LackError, PassingError, RefusedError, ServerError
from creditree.engines.vllm.server import MODELS, Served, models_of
from creditree.text import one_line
from creditree.tree import token_array

COMPLETION, PROPS = "/completion", "/props"
OWNER = "llamacpp"
ENDS = {"eos": "stop", "limit": "length"}


class LlamaServer:
    """Asks `llama-server` for one completion at a time: it has no more than a slot for each.

    The samplers are named, temperature before nucleus; those that it would apply besides are left out. It tells
    log-probabilities of the untempered model (`post_sampling_probs` is off).
    """

    path = COMPLETION

    def find(self, client: Client, name: str | None) -> Served:
        """Return what is served. Raises ServerError where what answers is no `llama-server`."""
        try:
            model = client.get(MODELS, models_of)[0]
            build = client.get(PROPS, lambda answer: answer.get("build_info") if isinstance(answer, Mapping) else None)
        except (RefusedError, IndexError):
            model, build = {}, None
        if model.get("owned_by") != OWNER or name not in (None, model["id"]):
            raise ServerError(
                f"what answers at {client.url} is no llama-server{'' if name is None else f' of {name!r}'}; set "
                "engine.url to that of one, or engine.name: vllm."
            )
        meta = model.get("meta")
        length = meta.get("n_ctx") if isinstance(meta, Mapping) else None
        version = f"llama.cpp {one_line(build, 40)}" if isinstance(build, str) else "llama.cpp of unknown version"
        return Served(str(model["id"]), length if isinstance(length, int) and length > 0 else None, version)

    def parts(self, request: SampleRequest) -> list[SampleRequest]:
        """Return what is asked for one by one."""
        return [replace(request, keys=(key,)) for key in request.keys]

    def question(
        self, model: str, request: SampleRequest, sampling: Sampling, eos_ids: Sequence[int]
    ) -> dict[str, Any]:
        """Return the body that asks for one completion; the seed is its key's."""
        return {
            "prompt": request.context_ids.tolist(),
            "n_predict": request.max_new_tokens,
            "samplers": ["temperature", "top_p"],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request.keys[0].at("server").integer(0, 2**31 - 1),
            "n_probs": 1,
            "post_sampling_probs": False,
            "return_tokens": True,
            "cache_prompt": True,
        }

    def reader(self, vocab_size: int, eos_ids: Sequence[int]) -> "LlamaReader":
        """Return what reads its answers."""
        return LlamaReader(vocab_size, eos_ids)


class LlamaReader:
    """Reads completions of `llama-server`: an answer is used whole or not at all."""

    def __init__(self, vocab_size: int, eos_ids: Sequence[int]) -> None:
        self._vocab_size, self._eos_ids = vocab_size, np.array(eos_ids, dtype=np.int64)

    def read(self, answer: Any, model: str, request: SampleRequest) -> list[DrawnTokens]:
        """Return the completion of a request; raises as `answers.Reader.read` does.

        The server knows the ends of answers that its file names. Where the model here has more of them, what comes
        after the first one is left out; where it has fewer, the answer ends for no reason that it knows.
        """
        if not isinstance(answer, Mapping):
            raise PassingError("answers in another form than that of completions", wrong=True)
        if answer.get("model", model) != model:
            raise PassingError(f"answers for another model than '{model}'", wrong=True)
        ids, told = answer.get("tokens"), answer.get("completion_probabilities")
        if ids is None or told is None:
            raise LackError("returns no token ids or no log-probabilities (`return_tokens`, `n_probs`)")
        if not is_list_of(ids, int) or not all(0 <= token < self._vocab_size for token in ids):
            raise PassingError("returns token ids that the model does not have", wrong=True)
        if not is_list_of(told, Mapping) or [token.get("id") for token in told] != ids:
            raise PassingError("returns log-probabilities of other tokens", wrong=True)
        if not 0 < len(ids) <= request.max_new_tokens or answer.get("truncated"):
            raise PassingError("returns completions that are cut or too long", wrong=True)
        settings = answer.get("generation_settings")
        seed = request.keys[0].at("server").integer(0, 2**31 - 1)
        if isinstance(settings, Mapping) and settings.get("seed") != seed:
            raise PassingError("gives an answer to another question", wrong=True)
        tokens, logprobs = token_array(ids), numbers_of([token.get("logprob") for token in told])
        ends = np.flatnonzero(np.isin(tokens, self._eos_ids))
        stop, reason = len(tokens), ENDS.get(str(answer.get("stop_type")))
        if len(ends):
            stop, reason = int(ends[0]) + 1, "stop"
        tokens, logprobs = tokens[:stop], logprobs[:stop]
        return [DrawnTokens(tokens, logprobs, finish_of(reason, tokens, self._eos_ids, request))]
