"""What a server was asked to sample: on its way while this process does other work, and taken when it is looked at."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from creditree.engines.engine import Drawing, Sample, SampleRequest, Sampling
from creditree.engines.pulse import Heart, Told
from creditree.engines.vllm.answers import DrawnTokens
from creditree.engines.vllm.client import ServerError
from creditree.engines.vllm.signals import samples_of
from creditree.engines.vllm.threads import SideBySide
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.models.trained import Trained, at_state

MOST_LOADS = 3
"""Loads of the same weights before a server that still serves others is given up; so often it may forget them, too."""


class GoneError(Exception):
    """The server does not know an adapter that it had loaded: it was started again, or has dropped it."""


class DrawingEngine(Protocol):
    """What a drawing needs of its engine."""

    model: Model
    trained: Trained | None

    def ask(self, requests: Sequence[SampleRequest], sampling: Sampling) -> tuple[str, SideBySide[list[DrawnTokens]]]:
        """Return the name of the weights as they are, and the answers for all requests, which are on their way."""
        ...

    def wrong_with(
        self, name: str, requests: Sequence[SampleRequest], drawn: Sequence[Sequence[DrawnTokens]]
    ) -> str | None:
        """Return what is wrong with completions that were drawn under a name: a clause; None where nothing is."""
        ...

    def mistrust(self, attempt: int) -> None:
        """Load the weights again before the next sample, after a pause that grows."""
        ...

    def given_up(self, wrong: str) -> ServerError:
        """Return what to raise where attempts did not help."""
        ...


class VllmDrawing(Drawing):
    """Completions that a server draws from the weights as they are when it is made.

    What needs the learner's numbers (the looks at what was drawn, signals, weights that must be loaded again) is done
    with those weights, when the completions are taken: an update may have been made meanwhile.
    """

    def __init__(self, engine: DrawingEngine, requests: Sequence[SampleRequest], sampling: Sampling) -> None:
        self._engine, self._requests, self._sampling = engine, requests, sampling
        trained = engine.trained
        self._state = None if trained is None or trained.is_off else trained.state()
        self._name, self._answers = engine.ask(requests, sampling)

    def weights(self) -> AbstractContextManager[None]:
        """Run the block with the weights that are sampled from; then go back to those of now."""
        trained = self._engine.trained
        return nullcontext() if trained is None or self._state is None else at_state(trained, self._state)

    def samples(self, told: Told | None = None) -> tuple[list[list[Sample]], Ledger]:
        """Wait, and return the samples. Raises ServerError where the server cannot be sampled from."""
        completions = sum(len(request.keys) for request in self._requests)
        heart = Heart(completions, sum(len(request.keys) * request.max_new_tokens for request in self._requests), told)
        wrong = ""
        for attempt in range(1, MOST_LOADS + 1):
            drawn, wrong = self._attempt(heart)
            if not wrong:
                samples, ledger = samples_of(self._engine.model, self._requests, drawn, self._sampling)
                ledger.add(_cost(self._requests, drawn))
                return samples, ledger
            if attempt < MOST_LOADS:
                self._engine.mistrust(attempt)
                self._name, self._answers = self._engine.ask(self._requests, self._sampling)
        raise self._engine.given_up(wrong)

    def end(self) -> None:
        """Ask for no more of them."""
        self._answers.end()

    def _attempt(self, heart: Heart) -> tuple[list[list[DrawnTokens]], str]:
        """Return what was drawn, and what is wrong with it; "" for nothing."""
        try:
            drawn = self._taken(heart)
        except GoneError:
            return [], "forgets the adapters that it has loaded"
        return drawn, self._engine.wrong_with(self._name, self._requests, drawn) or ""

    def _taken(self, heart: Heart) -> list[list[DrawnTokens]]:
        drawn: list[list[DrawnTokens]] = [[] for _ in self._requests]
        ended = tokens = budget = 0
        for answer in self._answers:
            if answer is not None:
                index, own = answer
                drawn[index] = own
                ended += len(own)
                tokens += sum(len(completion.token_ids) for completion in own)
                budget += len(own) * self._requests[index].max_new_tokens
            heart.drew(ended, tokens, budget)
        return drawn


def _cost(requests: Sequence[SampleRequest], drawn: Sequence[Sequence[DrawnTokens]]) -> Ledger:
    """Return what is known of the cost: each different context once, and each token that was drawn."""
    contexts = {request.context_ids.tobytes(): len(request.context_ids) for request in requests}
    tokens = sum(len(completion.token_ids) for own in drawn for completion in own)
    return Ledger(decoded=tokens, prefilled=sum(contexts.values()))
