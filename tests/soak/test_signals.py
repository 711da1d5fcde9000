"""Ctrl-C, SIGTERM and SIGHUP at random moments, once and twice: the right exit code, a sentence, and nothing lost."""

import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.runs_alike import content
from tests.soak.conftest import Tally
from tests.soak.runs import config_of, emptied, steps_written, struck
from tests.soak.stages import STAGES, STARTING, Moment, times_of

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="timers that send signals are Linux's"),
]
TWICE_S = 0.02
WAYS: dict[str, tuple[int, float | None]] = {
    "Ctrl-C": (signal.SIGINT, None),
    "Ctrl-C twice": (signal.SIGINT, TWICE_S),
    "SIGTERM": (signal.SIGTERM, None),
    "SIGTERM twice": (signal.SIGTERM, TWICE_S),
    "SIGHUP": (signal.SIGHUP, None),
}


@pytest.mark.parametrize("rounds", [pytest.param(8, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_anywhere_keeps_every_whole_step(rounds: int, tmp_path: Path, tally: Tally) -> None:
    config, whole = config_of("t-spmo", tmp_path), tmp_path / "whole"
    assert struck(["train", config, "--run", whole, "--resume"], tmp_path / "whole")[0] == 0
    expected, times = content(whole), times_of(tmp_path / "whole")
    rng = random.Random(0)
    stages = [stage for stage in STAGES if stage != STARTING and times[stage]]  # before it there is nothing to keep
    stopped: Counter[str] = Counter()
    fell: Counter[str] = Counter()
    lost = other = late = 0
    for turn in range(rounds):
        for index, (way, (number, again_s)) in enumerate(WAYS.items()):
            run, place = tmp_path / "run", tmp_path / "at"
            emptied(run)
            stage = stages[(turn * len(WAYS) + index) % len(stages)]
            nth = rng.randint(1, min(3, len(times[stage])))
            moment = Moment(stage, nth, rng.uniform(0.0, times[stage][nth - 1]), number, again_s)
            code, said = struck(["train", config, "--run", run, "--resume"], place, moment)
            assert code in (0, 128 + number), said
            assert "Traceback" not in said
            if code == 0:  # it came after the last step
                late += 1
            else:
                stopped[way] += 1
                fell[stage] += 1
                assert "interrupted" in said
                made, saved = steps_written(run)
                lost += made != saved
            if code != 0:
                assert struck(["train", config, "--run", run, "--resume"], place)[0] == 0
            other += content(run) != expected
    tally(stopped=dict(stopped), fell=dict(fell), after_the_end=late, runs_with_steps_lost=lost, other_runs=other)
    assert (lost, other) == (0, 0)
