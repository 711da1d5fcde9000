"""The command line's own words for the parameters of procedures, which sentences name in backticks."""

import re

from creditree.errors import PARAMETER

OTHERS = {
    "directory": "--run",
    "start": "--from",
    "temperatures": "--temperature",
    "metrics": "--metric",
    "trust": "--trust-run",
    "overrides": "--set",
}
"""Options that are called otherwise than their parameter."""
ALIKE = frozenset(
    {
        "adapter", "alpha", "answer", "base", "budget", "by", "by_method", "converter", "data", "data_dir", "deadline",
        "decoding", "device", "dry_run", "dtype", "figures", "gguf", "grader", "guard", "k", "margin", "max_new_tokens",
        "memory", "merged", "model", "out", "port", "problems", "prompt", "prompt_tokens", "question", "resume",
        "reward", "samples", "seed", "split", "state", "stop_early", "suite", "task", "workers",
    }
)  # fmt: skip


def in_options(sentence: str) -> str:
    """Return a sentence with the command line's options where it names parameters."""
    return PARAMETER.sub(_option, sentence)


def _option(match: re.Match[str]) -> str:
    name = match[1]
    return OTHERS.get(name) or (f"--{name.replace('_', '-')}" if name in ALIKE else match[0])
