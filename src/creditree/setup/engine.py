"""From the key `engine` of a configuration to what samples."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from creditree.config.engine import check_adapters
from creditree.config.schema import RunConfig
from creditree.engines.in_process import InProcessEngine
from creditree.engines.vllm.client import Patience
from creditree.engines.vllm.command import NAME, OwnSpec, half_of_cores
from creditree.engines.vllm.dialect import VLLM
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.llama_server import LlamaServer
from creditree.engines.vllm.own import OwnServer
from creditree.engines.vllm.proof import MOST_PROMPTS
from creditree.engines.vllm.server import ServerSpec
from creditree.engines.whole import WholeEngine, engine_for
from creditree.errors import ConfigError
from creditree.evaluate.prompt import prompt_ids
from creditree.models.adapter import Adapter
from creditree.models.directory import locate
from creditree.models.load import Model
from creditree.models.shapes import RANDOM
from creditree.models.trained import Trained
from creditree.problem import Problem
from creditree.setup.machine import is_on_gpu, whole_memory
from creditree.tasks.task import PromptTemplate

GPU_SHARE, HOST_SHARE = 0.4, 0.1
"""Of the memory, for a server that is started here: the learner needs the rest of a GPU; on a CPU it is for keys and
values alone."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a server that is started here says what it does: a `log` (None: a temporary file), and to whom it is
    `told` how far it is."""

    log: Path | None = None
    told: Callable[[str], None] = lambda sentence: None


NOWHERE = Surroundings()


def build_engine(
    config: RunConfig,
    model: Model,
    trained: Trained | None,
    questions: tuple[PromptTemplate, Iterable[Problem]],
    rows: int,
    *,
    stored_tokens: int | None = None,
    keeps_trunk: bool = False,
    around: Surroundings = NOWHERE,
) -> InProcessEngine | WholeEngine | VllmEngine:
    """Return the engine of a configuration; a server is asked at once what it can do, with some of `questions`.

    `trained`: what learns, or was trained, of the model; None: nothing. `rows`: completions decoded together;
    `stored_tokens`, `keeps_trunk`: for an engine of this process, what it stores;  `around`: for a server that is
    started here. Raises ConfigError, and ModelError for a server that cannot be sampled from.
    """
    block = config.engine
    if not block.is_remote:
        keep_layer = trained.first_layer if keeps_trunk and trained is not None else None
        return engine_for(model, rows, keep_layer, stored_tokens)
    if trained is not None:
        check_adapters(block, "what was trained")
    template, problems = questions
    prompts = [prompt_ids(template, problem, model) for problem in islice(problems, MOST_PROMPTS)]
    patience = Patience(block.timeout_s, block.outage_s)
    own = None if block.start is None else OwnServer(_own_spec(config, trained, around.log), around.told)
    try:
        url, name = (block.url, block.served_model) if own is None else (own.url, NAME)
        assert url is not None
        spec = ServerSpec(url, name, block.adapters, block.connections, block.canary_limit, patience)
        return VllmEngine(model, trained, spec, prompts, rows, own, VLLM if block.takes_adapters else LlamaServer())
    except BaseException:
        if own is not None:
            own.stop()
        raise


def _own_spec(config: RunConfig, trained: Trained | None, log: Path | None) -> OwnSpec:
    """Return how the server of a configuration is started here. Raises ConfigError for a model that it cannot load."""
    start, name = config.engine.start, config.model.name
    assert start is not None
    if name.startswith(RANDOM):
        raise ConfigError(
            f"model '{name}' is made in this process, and engine.start serves what lies in a directory; save it there, "
            "or set engine: in_process."
        )
    device = start.device or config.model.device
    on_host = not is_on_gpu(device)
    share = start.memory or (HOST_SHARE if on_host else GPU_SHARE)
    return OwnSpec(
        python=start.python or sys.executable,
        model=locate(name),
        dtype=config.model.dtype,
        device=device,
        memory=max(1, round(share * whole_memory("cpu") / 2**30)) if on_host else share,
        cores=half_of_cores() if on_host and config.model.device == "cpu" else None,
        rank=trained.spec.rank if isinstance(trained, Adapter) else None,
        ready_s=start.ready_s,
        options=tuple(start.options),
        log=log,
    )
