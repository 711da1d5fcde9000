"""The key `engine` of a configuration: who samples, this process or a server."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from creditree.config.block import Block, Positive, Real
from creditree.errors import ConfigError
from creditree.methods import Method

MOST_CONNECTIONS = 4096


class StartBlock(Block):
    """A server of one's own, which runs for as long as it is sampled from."""

    python: str | None = Field(
        None, description="interpreter of the environment that has vLLM; none: the one that runs this", min_length=1
    )
    device: str | None = Field(None, description="cpu, cuda, cuda:1, ...; none: model.device", min_length=1)
    memory: Annotated[Real, Field(gt=0, lt=1)] | None = Field(
        None,
        description="share of the GPU's memory, none: 0.4; on a CPU, of the host's for keys and values, none: 0.1",
    )
    ready_s: Real = Field(900.0, description="seconds in which it must be ready", gt=0)
    options: list[str] = Field([], description="further options of vLLM's command line, each word one item")


class EngineBlock(Block):
    """Who samples completions. All keys but `name` are of a server."""

    name: Literal["in_process", "vllm", "llama_server"] = Field(
        "in_process",
        description="this process, a vLLM server (or another of its protocol), or llama.cpp's, to measure with",
    )
    url: str | None = Field(None, description="of the server, such as http://127.0.0.1:8000", min_length=1)
    start: StartBlock | None = Field(
        None, description="true, or a block of keys: start a vLLM server here, and stop it in the end"
    )
    served_model: str | None = Field(
        None, description="what the server calls the base model; none: the first that it names", min_length=1
    )
    adapters: str | None = Field(
        None, description="folder that the server can read, for the adapter; none: a temporary one here", min_length=1
    )
    connections: Positive = Field(32, description="requests at once", le=MOST_CONNECTIONS)
    timeout_s: Real = Field(600.0, description="seconds that one answer may take", gt=0)
    outage_s: Real = Field(
        300.0, description="seconds that a server is waited for which fails or is started again", gt=0
    )
    canary_limit: Real = Field(
        0.1,
        description="nats a token that server and learner may differ by, on average, before it is not sampled from",
        gt=0,
    )

    @field_validator("start", mode="before")
    @classmethod
    def _started(cls, start: Any) -> Any:
        """Take true for a server with the defaults, and false for none."""
        return {} if start is True else None if start is False else start

    @property
    def takes_adapters(self) -> bool:
        """Whether what was trained can be sampled from: a server that loads adapters while it runs, or this process."""
        return self.name != "llama_server"

    @property
    def is_remote(self) -> bool:
        """Whether a server samples."""
        return self.name != "in_process"


def check_engine(
    engine: EngineBlock, method: Method, temperature: float, top_p: float, dtype: str, *, adapter: bool
) -> None:
    """Raise ConfigError where an engine's keys have no effect, or a server cannot do what a run asks of it.

    `temperature`, `top_p`: of sampling;  `dtype`: of the base;  `adapter`: whether an adapter learns.
    """
    if not engine.is_remote:
        if engine != EngineBlock():
            raise ConfigError(
                "engine's keys are of a server and have no effect in this process; add engine.name: vllm, or remove "
                "them."
            )
        return
    _check_place(engine, dtype)
    if not adapter:
        raise ConfigError(
            f"engine.name is '{engine.name}' and train.weights 'all': a server is given adapters, not whole models; "
            "set train.weights: adapter, or engine: in_process."
        )
    tempered = method.objective.loss_temperature != 1.0 or method.select.reads_sampler_logprobs
    if tempered and not temperature == top_p == 1.0:
        piece = (
            f"select '{method.select.name}' reads"
            if method.select.reads_sampler_logprobs
            else f"method.loss_temperature {method.objective.loss_temperature:g} needs"
        )
        raise ConfigError(
            f"engine.name is '{engine.name}', and {piece} the probabilities of the distribution that is sampled from, "
            "where a server tells those of the untempered model; set sampling.temperature: 1 and top_p: 1, "
            "method.loss_temperature: 1 with another selection, or engine: in_process."
        )


def _check_place(engine: EngineBlock, dtype: str) -> None:
    """Raise ConfigError unless a server is either somewhere or started here."""
    if engine.url is None and engine.start is None:
        raise ConfigError(
            f"engine.name is '{engine.name}', and a server has a URL; set engine.url, as http://127.0.0.1:8000"
            f"{', or engine.start: true for one that is started here' if engine.takes_adapters else ''}."
        )
    if engine.start is None:
        return
    if not engine.takes_adapters:
        raise ConfigError(f"engine.start starts vLLM, and engine.name is '{engine.name}'; set engine.url.")
    for name in ("url", "served_model"):
        if getattr(engine, name) is not None:
            raise ConfigError(f"engine.{name} has no effect where engine.start starts a server; remove one of the two.")
    if dtype not in ("float32", "bfloat16"):
        raise ConfigError(
            f"model.dtype is {dtype}, in which engine.start cannot serve a model; set model.dtype: bfloat16, or start "
            "a server by hand and set engine.url."
        )


def check_adapters(engine: EngineBlock, what: str) -> None:
    """Raise ConfigError where an adapter is to be sampled from, and the engine loads none; `what` asks for it."""
    if not engine.takes_adapters:
        raise ConfigError(
            f"engine.name is '{engine.name}', a server that loads no adapter while it runs: it measures base models, "
            f"and {what} needs one that does; set engine.name: vllm, or engine: in_process."
        )
