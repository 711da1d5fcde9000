"""How a server is asked: what differs between programs that take ids and give ids."""

from collections.abc import Sequence
from typing import Any, Protocol

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.answers import COMPLETIONS, DrawnTokens, Reader, question
from creditree.engines.vllm.client import Client
from creditree.engines.vllm.server import Served, find_served


class Reads(Protocol):
    """Reads answers."""

    def read(self, answer: Any, model: str, request: SampleRequest) -> list[DrawnTokens]:
        """Return the completions of a request, in order. Raises LackError or PassingError for what is no answer."""
        ...


class Dialect(Protocol):
    """What is asked where, and how answers are read."""

    path: str

    def find(self, client: Client, name: str | None) -> Served:
        """Return what is served under a name, None for the first. Raises ServerError where it is another server."""
        ...

    def parts(self, request: SampleRequest) -> list[SampleRequest]:
        """Return the questions that a request is asked in."""
        ...

    def question(
        self, model: str, request: SampleRequest, sampling: Sampling, eos_ids: Sequence[int]
    ) -> dict[str, Any]:
        """Return the body of one question."""
        ...

    def reader(self, vocab_size: int, eos_ids: Sequence[int]) -> Reads:
        """Return what reads the answers."""
        ...


class Vllm:
    """vLLM's own."""

    path = COMPLETIONS

    def find(self, client: Client, name: str | None) -> Served:
        """Return what is served."""
        return find_served(client, name)

    def parts(self, request: SampleRequest) -> list[SampleRequest]:
        """Return the request: all its completions are asked for at once."""
        return [request]

    def question(
        self, model: str, request: SampleRequest, sampling: Sampling, eos_ids: Sequence[int]
    ) -> dict[str, Any]:
        """Return the body that asks for all completions of a request."""
        return question(model, request, sampling, eos_ids)

    def reader(self, vocab_size: int, eos_ids: Sequence[int]) -> Reads:
        """Return what reads the answers, and takes none twice."""
        return Reader(vocab_size, eos_ids)


VLLM = Vllm()
