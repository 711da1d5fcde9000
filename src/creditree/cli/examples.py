"""An example of each command: the first thing that its help says."""

import typer
from typer.core import TyperCommand

EXAMPLES = {
    "": "quickstart --run runs/quickstart",
    "quickstart": "--run runs/quickstart",
    "train": "--model Qwen/Qwen2.5-0.5B-Instruct --task svamp --run runs/svamp",
    "plan": "recipes/quickstart.yaml --memory 4GB",
    "eval": "runs/svamp --samples 8 --k 1,4,8 --out evals/svamp",
    "pilot": "problems.csv --model Qwen/Qwen2.5-1.5B-Instruct --budget 2h --out pilots/mine",
    "monitor": "runs/svamp fresh.csv --json",
    "compare": "runs/svamp runs/other",
    "report": "runs/svamp runs/other --out both.html --figures figures",
    "tree": "runs/svamp last",
    "view": "runs/svamp",
    "doctor": "runs/svamp",
    "export": "runs/svamp --merged models/svamp",
    "grade": "answers.jsonl --grader math",
    "verify-audit": "labelled.jsonl --grader math",
    "sweep": "sweep.yaml --out sweeps/group",
    "methods": "--json",
    "show": "t-spmo",
}
"""What stands behind the name of each command; "" is the program alone."""


def print_example(name: str) -> None:
    """Print the example of a command."""
    if name in EXAMPLES:
        typer.echo(" ".join(["Example: creditree", *([name] if name else []), EXAMPLES[name]]))


class Command(TyperCommand):
    """A command whose help starts with its example."""

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """Print the example, then what typer prints."""
        print_example(str(self.name))
        super().format_help(ctx, formatter)  # type: ignore[arg-type]
