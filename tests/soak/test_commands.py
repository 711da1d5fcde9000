"""SIGKILL at random moments of the commands that train nothing themselves, or many runs: they go on where they were."""

import json
import random
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.command import SMALL
from tests.soak.conftest import Tally
from tests.soak.runs import struck
from tests.soak.stages import STARTING, Moment, times_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="timers that send SIGKILL are Linux's"),
]
KILLS = 6
UNLIKE = ("seconds", "train_s", "train_cpu_s", "wall_s", "path")
"""Keys of seconds, and of the folder that a run is in."""
BASE = SMALL | {
    "sampling": {"temperature": 0.7, "max_new_tokens": 12},
    "method": {"name": "grpo", "group": 4},
    "train": SMALL["train"] | {"steps": 3},
    "validation": {"problems": 4},
    "evaluation": {"problems": 4, "temperatures": [0]},
    "log": {"rollouts_every": 0, "checkpoint_every": 1},
}


def evaluated(folder: Path) -> tuple[list[str | Path], Path]:
    data = folder / "products.jsonl"
    pairs = [(100 + 37 * n % 900, 2 + n % 8) for n in range(12)]
    rows = [{"id": f"p{n}", "question": f"{a}*{b}=\n", "answers": [str(a * b)]} for n, (a, b) in enumerate(pairs)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked: list[str | Path] = [
        "eval",
        "builtin:multiplication",
        "--task",
        "file",
        "--data",
        data,
        "--samples",
        "4",
        "--k",
        "1,4",
    ]
    more: list[str | Path] = ["--max-new-tokens", "48", "--temperature", "0.6", "--set", "train.max_rows=8"]
    return [*asked, *more], Path("result.json")


def swept(folder: Path) -> tuple[list[str | Path], Path]:
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump({"base": BASE, "grid": {"train.learning_rate": [1e-3, 4e-3]}, "seeds": [0, 1]}))
    return ["sweep", file], Path("sweep.json")


def searched(folder: Path) -> tuple[list[str | Path], Path]:
    file = folder / "search.yaml"
    search = {
        "base": BASE,
        "space": {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "scale": "log"}},
        "compositions": {"grpo": None, "rloo": {"method.credit": "rloo"}},
        "baseline": "grpo",
        "settings": 2,
        "rungs": 2,
        "eta": 2,
        "budget": {"first_rung": 60},
    }
    file.write_text(yaml.safe_dump(search))
    return ["sweep", file], Path("rungs.json")


COMMANDS: dict[str, Callable[[Path], tuple[list[str | Path], Path]]] = {
    "eval": evaluated,
    "sweep": swept,
    "search": searched,
}


def timeless(value: Any) -> Any:
    """Return a record without the seconds in it, and without the folder that it is about."""
    if isinstance(value, Mapping):
        return {key: timeless(item) for key, item in value.items() if key not in UNLIKE and "seconds" not in key}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_killed_ends_with_the_same_result(command: str, tmp_path: Path, tally: Tally) -> None:
    asked, result = COMMANDS[command](tmp_path)
    code, said = struck([*asked, "--out", tmp_path / "whole"], tmp_path / "at-whole")
    assert code == 0, said
    spent = sum(map(sum, times_of(tmp_path / "at-whole").values())) if command != "eval" else 1.0
    rng, kills, out = random.Random(command), 0, tmp_path / "out"
    for _ in range(KILLS):
        moment = Moment(STARTING, 1, rng.uniform(0.0, spent))
        code, said = struck([*asked, "--out", out], tmp_path / "at", moment)
        assert code in (0, -signal.SIGKILL), said
        kills += code != 0
    code, said = struck([*asked, "--out", out], tmp_path / "at")
    assert code == 0, said
    found, expected = (timeless(json.loads((folder / result).read_text())) for folder in (out, tmp_path / "whole"))
    tally(kills=kills, other_results=int(found != expected))
    assert found == expected
    assert kills > 0
