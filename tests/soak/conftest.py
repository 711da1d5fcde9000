"""What a soak counts: printed at the end, and appended to the file that ``CREDITREE_SOAK`` names, with the machine."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from creditree.runs.environment import describe_environment

Tally = Callable[..., None]
_counted: dict[str, Any] = {}


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Return what keeps counts under the test's name, also of a test that fails then."""

    def keep(**counts: Any) -> None:
        _counted.setdefault(request.node.name, {}).update(counts)

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show all counts, and append them to the file."""
    if not _counted:
        return
    now = datetime.now(UTC)
    line = json.dumps({"date": f"{now:%Y-%m-%d}", **describe_environment(), "counts": _counted})
    terminalreporter.write_line(line)
    if path := os.environ.get("CREDITREE_SOAK"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
