"""From the key `engine` of a configuration to what samples."""

from collections.abc import Iterable
from itertools import islice

from creditree.config.schema import RunConfig
from creditree.engines.in_process import InProcessEngine
from creditree.engines.vllm.client import Patience
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.proof import MOST_PROMPTS
from creditree.engines.vllm.server import ServerSpec
from creditree.engines.whole import WholeEngine, engine_for
from creditree.evaluate.prompt import prompt_ids
from creditree.models.load import Model
from creditree.models.trained import Trained
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate


def build_engine(
    config: RunConfig,
    model: Model,
    trained: Trained | None,
    questions: tuple[PromptTemplate, Iterable[Problem]],
    rows: int,
    *,
    stored_tokens: int | None = None,
    keeps_trunk: bool = False,
) -> InProcessEngine | WholeEngine | VllmEngine:
    """Return the engine of a configuration; a server is asked at once what it can do, with some of `questions`.

    `trained`: what learns, or was trained, of the model; None: nothing. `rows`: completions decoded together;
    `stored_tokens`, `keeps_trunk`: for an engine of this process, what it stores. Raises ConfigError, and ModelError
    for a server that cannot be sampled from.
    """
    block = config.engine
    if not block.is_remote:
        keep_layer = trained.first_layer if keeps_trunk and trained is not None else None
        return engine_for(model, rows, keep_layer, stored_tokens)
    assert block.url is not None
    spec = ServerSpec(
        block.url,
        block.served_model,
        block.adapters,
        block.connections,
        block.canary_limit,
        Patience(block.timeout_s, block.outage_s),
    )
    template, problems = questions
    prompts = [prompt_ids(template, problem, model) for problem in islice(problems, MOST_PROMPTS)]
    return VllmEngine(model, trained, spec, prompts, rows)
