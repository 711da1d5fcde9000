"""Where the command line's words go."""

import json
import sys
import warnings

from rich.console import Console

STOPPED = 130
"""Exit code of what Ctrl-C stopped, as shells have it."""


def console() -> Console:
    """Return the console for tables and sentences (standard output)."""
    return Console(highlight=False)


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def quiet_libraries() -> None:
    """Keep notices that are not for the user (deprecations inside libraries, loading reports) off the terminal."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    # else each of five attempts is told of before the sentence that counts
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
