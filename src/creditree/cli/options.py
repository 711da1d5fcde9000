"""Options that several commands have, and how their texts become values."""

import re
from pathlib import Path
from typing import Annotated

import typer

from creditree.errors import ConfigError
from creditree.text import shortened

RunOption = Annotated[Path | None, typer.Option("--run", help="Run directory to write.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as method.group=16.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Limit such as 8GB or 500MB: settings are chosen so that it holds."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
RewardOption = Annotated[
    str | None, typer.Option("--reward", metavar="GRADER", help="Who judges: a grader, file.py:function, or a list.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run that is there, if any.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-run", help="Run code, and ask the server, that the run's configuration names.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, max=4096, help="Let N processes, on a Ray cluster or here, work.")
]
DecodingOption = Annotated[
    str | None, typer.Option("--decoding", help="greedy, T=0.3, ...; default: the first that all have.")
]


def memory_override(memory: str | None) -> list[str]:
    """Return ``--memory`` as an override of the configuration."""
    return [] if memory is None else [f"train.memory='{memory}'"]


def whole_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of an option such as ``1,4,32``. Raises ConfigError for anything else."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(_WHOLE.fullmatch(part) for part in parts):
        raise ConfigError(
            f"{option} is '{shortened(text)}': write whole numbers of at least 1 with commas, such as 1,4,32."
        )
    return tuple(sorted({int(part) for part in parts}))


_WHOLE = re.compile("0{0,9}[1-9][0-9]{0,8}")
