"""`creditree plan`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption, MemoryOption, SetOption, memory_override
from creditree.config.reading import read_yaml


def plan(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML).")],
    memory: MemoryOption = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option("--prompt-tokens", min=1, max=10**7, help="Longest prompt; default: looked up."),
    ] = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Predict memory, tokens and FLOPs of a run without loading the model, and say what fits which card."""
    read_yaml(config)
    from creditree.cli.output import console, print_json
    from creditree.config.load import load_config
    from creditree.setup.plan import plan as planned
    from creditree.setup.plan_words import print_plan

    result = planned(load_config(config, [*(set_ or []), *memory_override(memory)]), prompt_tokens)
    if json:
        print_json(result.to_json())
    else:
        print_plan(console(), result)
