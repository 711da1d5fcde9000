"""SIGKILL at random moments: nothing is lost but the step in flight, and the run ends as if it had not been killed."""

import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.runs_alike import content
from tests.soak.conftest import Tally
from tests.soak.runs import config_of, emptied, steps_written, struck
from tests.soak.stages import STAGES, Moment, died_in, times_of

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="timers that send SIGKILL are Linux's"),
]
IN_A_ROW = 10
"""Kills of one run, each after the last was continued, before it may end and is compared."""
SHORT, LONG = 4, 50


def drawn(times: dict[str, list[float]], turn: int, rng: random.Random) -> Moment:
    """Return a moment in the stages' turn: one of the first times that it is entered, anywhere in what that takes."""
    stages = [stage for stage in STAGES if times[stage]]
    stage = stages[turn % len(stages)]
    nth = rng.randint(1, min(3, len(times[stage])))
    return Moment(stage, nth, rng.uniform(0.0, times[stage][nth - 1]))


@pytest.mark.parametrize(
    ("name", "kills"),
    [("attnrl", SHORT), *(pytest.param(name, LONG, marks=pytest.mark.slow) for name in ("grpo", "t-spmo", "attnrl"))],
)
def test_a_run_that_is_killed_anywhere_ends_as_the_one_that_was_not(
    name: str, kills: int, tmp_path: Path, tally: Tally
) -> None:
    config, whole = config_of(name, tmp_path), tmp_path / "whole"
    assert struck(["train", config, "--run", whole, "--resume"], tmp_path / "whole")[0] == 0
    expected, times = content(whole), times_of(tmp_path / "whole")
    rng, turn = random.Random(f"{name} {kills}"), 0
    fell: Counter[str] = Counter()
    in_flight = lost = runs = other = 0
    while fell.total() < kills:
        run, place = tmp_path / f"run-{runs}", tmp_path / f"at-{runs}"
        asked: list[str | Path] = ["train", config, "--run", run, "--resume"]
        code, runs = -signal.SIGKILL, runs + 1
        before = fell.total()
        while code != 0 and fell.total() < min(kills, before + IN_A_ROW):
            code, said = struck(asked, place, drawn(times, turn, rng))
            turn += 1
            assert code in (0, -signal.SIGKILL), said
            if code != 0:
                fell[died_in(place)] += 1
                made, saved = steps_written(run)
                in_flight += made == saved + 1
                lost += made > saved + 1
        if code != 0:
            code, said = struck(asked, place)
            assert code == 0, said
        other += content(run) != expected
        emptied(run)
        counts = {"steps_in_flight": in_flight, "steps_lost": lost, "other_runs": other}
        tally(kills=fell.total(), runs=runs, fell=dict(fell), **counts)
    assert (lost, other) == (0, 0)
    assert kills < LONG or set(fell) >= set(STAGES) - {"metrics"}
