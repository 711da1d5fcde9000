"""What a server is proven to do before it is trusted: at the start, after each load, and by what it has drawn."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.answers import COMPLETIONS, DrawnTokens, scored, scoring
from creditree.engines.vllm.canary import BASE, MARGIN, Canary, ServedWeights, judge
from creditree.engines.vllm.client import Client, FailingError, RefusedError, ServerError
from creditree.engines.vllm.dialect import Dialect, Reads
from creditree.engines.vllm.server import Served
from creditree.models.load import Model
from creditree.models.scores import token_scores
from creditree.models.trained import Trained
from creditree.rng import Key
from creditree.tree import FloatArray, IntArray

MOST_PROMPT, MOST_DRAWN, MOST_PROMPTS = 64, 24, 8
"""Of the canary: last tokens of a prompt, tokens drawn after it, and prompts."""
DRAWN_A_PROMPT = 2
"""Completions of a prompt that a server must be able to give; one of them belongs to the canary."""
SPOT_TOKENS, SPOT_COMPLETIONS = 64, 8
"""Of a call the learner scores about so many tokens too, of so many completions at most, and of each its first ones."""
NO_IDS = (
    "it was asked to complete token ids, and takes none (as transformers serve and llama-cpp-python's server), or is "
    "broken; take vLLM, or another server of its protocol"
)
TEMPERATURE = 0.5
"""Of the first samples: log-probabilities of a tempered distribution would differ from the raw ones."""


class Proof:
    """Compares a server with the model in this process, whose scores are those that the learner would compute."""

    def __init__(
        self,
        client: Client,
        model: Model,
        trained: Trained | None,
        served: Served,
        limit: float,
        dialect: Dialect,
    ) -> None:
        self._client, self._model, self._trained, self._served = client, model, trained, served
        self._limit, self._dialect = limit, dialect
        self._sequences: list[IntArray] = []
        self._once: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._canary: Canary | None = None

    def begin(self, prompts: Sequence[IntArray], reader: Reads) -> None:
        """Sample from the base model, compare, and keep the tokens as the canary's.

        Raises ServerError where the server takes or gives no ids, no raw log-probabilities, or is of another model.
        """
        drawn = [completion for prompt in prompts[:MOST_PROMPTS] for completion in self._first(prompt, reader)]
        self._sequences = [
            np.concatenate([prompt, completion.token_ids]) for prompt, completion in drawn[::DRAWN_A_PROMPT]
        ]
        self._once = _first_times(self._sequences)
        server = np.concatenate([completion.logprobs for _, completion in drawn])
        with self._off():
            self._check_near(server, np.concatenate([self._own(prompt, completion) for prompt, completion in drawn]))
            if self._trained is None:
                return
            try:
                server, learner = self.server(self._served.name), self.learner()
            except RefusedError as error:
                raise ServerError(
                    f"the server at {self._client.url} does not score given token ids (HTTP {error.status}: {error}), "
                    "so it can be measured with but not trained with; take vLLM, or another server of its protocol."
                ) from None
            self._check_near(server, learner)
        self._canary = Canary.begin(server, learner, self._limit)

    @property
    def noise(self) -> float:
        """Root mean square of server - learner under the base weights, in nats a token."""
        return 0.0 if self._canary is None else self._canary.noise

    def server(self, name: str) -> FloatArray:
        """Return the server's scores of the canary's tokens. Raises RefusedError where it knows no such name."""
        scores = []
        for ids in self._sequences:

            def read(answer: object, ids: IntArray = ids) -> FloatArray:
                return scored(answer, name, ids)

            scores.append(self._client.post(COMPLETIONS, scoring(name, ids), read))
        return np.concatenate(scores)[self._once]

    def learner(self) -> FloatArray:
        """Return the learner's scores of the canary's tokens, under the weights as they are."""
        return np.concatenate([token_scores(self._model, ids) for ids in self._sequences])[self._once]

    def loaded(self, name: str) -> str | None:
        """Return what is wrong with an adapter that was loaded under a name: a clause; None where nothing is."""
        assert self._canary is not None
        learner = self.learner()
        served = self._canary.look(self.server(name), learner)
        wrong = self._words(served, len(learner))
        if wrong is None:
            self._canary.accept(learner, served)
        return wrong

    def drawn(self, requests: Sequence[SampleRequest], completions: Sequence[Sequence[DrawnTokens]]) -> str | None:
        """Return what is wrong with completions that were drawn from the adapter: a clause; None where nothing is.

        A few are scored here, under the weights that should have been sampled from and under the base's.
        """
        pairs = [
            (request.context_ids, _start(completion))
            for request, own in zip(requests, completions, strict=True)
            for completion in own
        ]
        chosen, tokens = [], 0
        for pair in pairs[:: max(1, len(pairs) // SPOT_COMPLETIONS)]:
            if tokens < SPOT_TOKENS:
                chosen.append(pair)
                tokens += len(pair[1].token_ids)
        server = np.concatenate([completion.logprobs for _, completion in chosen])
        learner = np.concatenate([self._own(context, completion) for context, completion in chosen])
        with self._off():
            base = np.concatenate([self._own(context, completion) for context, completion in chosen])
        return self._words(judge(server, learner, {BASE: base}, self.noise), tokens)

    def _first(self, prompt: IntArray, reader: Reads) -> list[tuple[IntArray, DrawnTokens]]:
        room = min(self._model.network.max_positions, self._served.max_tokens or MOST_PROMPT + MOST_DRAWN + 1)
        prompt = prompt[-min(MOST_PROMPT, max(1, room // 2)) :]
        keys = tuple(Key.of(0).at("canary", prompt.tobytes().hex(), index) for index in range(DRAWN_A_PROMPT))
        # one token less than there is room for: to score tokens, a server draws another
        request = SampleRequest(prompt, keys, max(1, min(MOST_DRAWN, room - len(prompt) - 1)))
        try:
            completions = [
                completion for part in self._dialect.parts(request) for completion in self._drawn(part, reader)
            ]
        except FailingError as error:
            raise ServerError(f"{str(error).partition('; look at its log')[0]}: {NO_IDS}.") from None
        except RefusedError as error:
            raise ServerError(
                f"the server at {self._client.url} takes no token ids as a prompt (HTTP {error.status} for "
                f"{self._dialect.path}: {error}); take vLLM, or another server of its protocol."
            ) from None
        return [(prompt, completion) for completion in completions]

    def _drawn(self, request: SampleRequest, reader: Reads) -> list[DrawnTokens]:
        name, sampling = self._served.name, Sampling(TEMPERATURE)
        body = self._dialect.question(name, request, sampling, self._model.eos_ids)
        return self._client.post(self._dialect.path, body, lambda answer: reader.read(answer, name, request))

    def _own(self, context: IntArray, completion: DrawnTokens) -> FloatArray:
        return token_scores(self._model, np.concatenate([context, completion.token_ids]), len(completion.token_ids))

    def _off(self) -> AbstractContextManager[None]:
        return nullcontext() if self._trained is None else self._trained.off()

    def _check_near(self, server: FloatArray, learner: FloatArray) -> None:
        mean = float(np.mean(np.abs(server - learner)))
        if mean > self._limit:
            raise ServerError(
                f"the server at {self._client.url} and model '{self._model.name}' here differ by {mean:.3g} nats a "
                f"token, more than engine.canary_limit {self._limit:g}: it serves another model as "
                f"'{self._served.name}', rounds too coarsely, or its log-probabilities are not the raw ones (vLLM's "
                "logprobs-mode raw_logprobs)."
            )

    def _words(self, served: ServedWeights, tokens: int) -> str | None:
        if served.stale is not None:
            return f"serves {served.stale} in place of those that were loaded"
        if served.mean > self._limit + MARGIN * self.noise / np.sqrt(tokens):
            return (
                f"serves something else than what was loaded: its log-probabilities differ by {served.mean:.3g} nats "
                f"a token from the learner's, more than engine.canary_limit {self._limit:g}"
            )
        return None


def _start(completion: DrawnTokens) -> DrawnTokens:
    """Return the first tokens of a completion: logits of many take much memory where the vocabulary is large."""
    return DrawnTokens(completion.token_ids[:SPOT_TOKENS], completion.logprobs[:SPOT_TOKENS], completion.finish_reason)


def _first_times(sequences: Sequence[IntArray]) -> NDArray[np.bool_]:
    """Return which scores of sequences, of all tokens but their first ones, are of prefixes that none before them has.

    Prompts begin alike: the same score twice would count its rounding twice.
    """
    seen: set[bytes] = set()
    is_first = []
    for ids in sequences:
        for stop in range(2, len(ids) + 1):
            prefix = ids[:stop].tobytes()
            is_first.append(prefix not in seen)
            seen.add(prefix)
    return np.array(is_first, dtype=np.bool_)
