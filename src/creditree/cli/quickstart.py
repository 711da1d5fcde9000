"""`creditree quickstart`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption, ResumeOption, SetOption
from creditree.cli.train import overriding, train_shown
from creditree.engines.native.library import prepare

GRPO = "'method={name: grpo, group: 16, kl: 0, loss_temperature: 0.5}'"
"""Settings with which GRPO learns the quickstart's task too."""


def quickstart(
    run: Annotated[Path, typer.Option("--run", help="Run directory to write.")] = Path("runs/quickstart"),
    resume: ResumeOption = False,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train the built-in model with T-SPMO and show that it learned (about a minute on two CPU cores)."""
    prepare()
    from importlib.resources import files

    from creditree.cli.output import progress_console
    from creditree.config.load import parse_config
    from creditree.methods import BASELINE

    text = files("creditree.config").joinpath("quickstart.yaml").read_text(encoding="utf-8")
    overrides = tuple(set_ or ())
    config = parse_config(text, "quickstart", overrides)
    train_shown(config, run, ["quickstart", *overriding(overrides)], resume=resume, as_json=json)
    if json:
        return
    commands = {
        f"creditree eval {run} --set task.digits_a=4": "the trained adapter on longer numbers",
        "creditree show t-spmo": "what the method is made of",
        f"creditree quickstart --run {run.parent / BASELINE} --set {GRPO}": "the same with GRPO",
        f"creditree compare {run} {run.parent / BASELINE}": "and what may be concluded",
    }
    out = progress_console(stderr=False)
    out.print("\nTry next:")
    for command, purpose in commands.items():
        out.print(f"  {command}    # {purpose}", soft_wrap=True)
