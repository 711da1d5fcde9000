"""Which server samples, what it serves, and how much it is waited for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from creditree.engines.vllm.client import Client, LackError, Patience, RefusedError, ServerError
from creditree.text import one_line

MODELS, VERSION = "/v1/models", "/version"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server by its URL.

    `model`: what it calls the base model (None: the first that it names and that is no adapter);  `adapters`: a folder
    that it can read, for adapters on their way to it (None: one of this machine's temporary ones);  `connections`:
    requests at once;  `limit`: the mean of |log p by the server - log p by the learner|, in nats, above which it is not
    sampled from.
    """

    url: str
    model: str | None = None
    adapters: str | None = None
    connections: int = 32
    limit: float = 0.1
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Served:
    """The base model of a server: its name there, the longest context (None: not told), and the server's version."""

    name: str
    max_tokens: int | None
    version: str


def find_served(client: Client, name: str | None) -> Served:
    """Return what a server serves. Raises ServerError where there is none, or none that speaks the protocol."""
    try:
        models = client.get(MODELS, models_of)
    except RefusedError as error:
        raise ServerError(
            f"what answers at {client.url} is no server of this protocol (HTTP {error.status} for {MODELS}: {error}); "
            "set engine.url to that of a vLLM server."
        ) from None
    bases = {str(model["id"]): model for model in models if not model.get("parent")}
    if not bases:
        raise ServerError(
            f"the server at {client.url} names no model that it serves (as transformers serve); take vLLM, or another "
            "server of its protocol."
        )
    chosen = next(iter(bases)) if name is None else name
    if chosen not in bases:
        known = ", ".join(one_line(base, 60) for base in bases)
        raise ServerError(
            f"the server at {client.url} does not serve '{name}', but {known}; set engine.served_model to what it "
            "calls the base model."
        )
    length = bases[chosen].get("max_model_len")
    return Served(chosen, length if isinstance(length, int) and length > 0 else None, _version(client))


def models_of(answer: Any) -> list[Mapping[str, Any]]:
    """Return the models that are named. Raises LackError where none are."""
    models = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(models, list) or not all(isinstance(model, Mapping) and "id" in model for model in models):
        raise LackError(f"names no models at {MODELS}")
    return models


def _version(client: Client) -> str:
    """Return the server's version, as far as it tells one."""
    try:
        version = client.get(VERSION, lambda answer: answer.get("version") if isinstance(answer, Mapping) else None)
    except (RefusedError, ServerError):
        version = None
    return f"vLLM {one_line(version, 40)}" if isinstance(version, str) else "a server of unknown version"
