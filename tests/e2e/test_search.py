"""A search with a real model, from Python: stopped and repeated it is what it would have been, and it is confirmed."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import creditree as ct
from creditree.sweep.searching import Searched
from tests.e2e.command import SMALL

BASE = SMALL | {
    "sampling": {"temperature": 0.7, "max_new_tokens": 12},
    "method": {"name": "grpo", "group": 4},
    "validation": {"problems": 4},
    "evaluation": {"problems": 4, "temperatures": [0]},
    "log": {"rollouts_every": 0},
}
SEARCH = {
    "base": BASE,
    "space": {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "scale": "log"}},
    "compositions": {"grpo": None, "rloo": {"method.credit": "rloo"}},
    "baseline": "grpo",
    "settings": 1,
    "rungs": 2,
    "eta": 2,
    "budget": {"first_rung": 100},
}


class StopsAt(ct.Watcher):
    """Sends Ctrl-C after so many training steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def update(self, record: Mapping[str, object]) -> None:
        self.steps -= 1
        if self.steps == 0:
            signal.raise_signal(signal.SIGINT)


def written(path: Path, **changed: Any) -> Path:
    path.write_text(yaml.safe_dump(SEARCH | changed))
    return path


def without_times(out: Path) -> list[list[dict[str, Any]]]:
    rungs = json.loads((out / "rungs.json").read_text())["rungs"]
    times = ("seconds", "train_s", "train_cpu_s")
    return [[{key: one[key] for key in one if key not in times} for one in rung] for rung in rungs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Return a search with its confirmation."""
    folder = tmp_path_factory.mktemp("search")
    found = ct.sweep(written(folder / "search.yaml", confirm={"seeds": 2}), folder / "out", watcher=ct.Watcher())
    assert isinstance(found, Searched)
    return found


def test_survivors_go_on_from_their_checkpoint_and_the_best_is_confirmed(whole: Searched) -> None:
    found, out = whole, whole.out
    assert [len(one.results) for one in found.climbed] == [2, 2]
    # the metrics of both rungs are those of one run, without a gap
    steps = [record["step"] for record in ct.Run(out / "trials" / "rloo-1").metrics()]
    first, last = (next(one for one in rung.results if one.trial == "rloo-1") for rung in found.climbed)
    assert steps == list(range(1, last.steps + 1))
    assert first.steps < last.steps
    assert 100 <= first.tokens < 200 <= last.tokens

    record = found.to_json()["confirmation"]
    assert (record["best"], record["baseline"], record["seeds"]) == ("rloo-1", "grpo-1", [1, 2])
    runs = {one.parent.name: ct.Run(one) for one in (out / "confirm").glob("*/seed-2")}
    assert {name: run.config.train.tokens for name, run in runs.items() if "seconds" not in name} == {
        "grpo-1": 200,
        "rloo-1": 200,
    }
    (timed,) = (run for name, run in runs.items() if "seconds" in name)
    assert timed.config.train.cpu_seconds == runs["grpo-1"].summary.seconds["train_cpu"]
    assert timed.config.seed == 2
    assert found.winner is None  # two seeds and four problems
    assert found.conclusion().startswith("None found among 1 composition (2 settings in all) at p < 0.01")


@pytest.mark.thorough
def test_a_search_that_is_stopped_and_repeated_is_what_it_would_have_been(whole: Searched, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    steps = whole.climbed[0].results[0].steps, whole.climbed[0].results[1].steps
    path = written(tmp_path / "search.yaml", confirm={"seeds": 0})
    with pytest.raises(KeyboardInterrupt, match="repeat the command to continue"):
        ct.sweep(path, stopped, watcher=StopsAt(sum(steps) + 1))  # in the second rung, behind its first step
    assert [len(rung) for rung in without_times(stopped)] == [2]
    again = ct.sweep(path, stopped, watcher=ct.Watcher())
    assert without_times(stopped) == without_times(whole.out)
    assert ct.sweep(path, stopped, watcher=StopsAt(1)).to_json() == again.to_json()
