"""Measuring piece by piece, with a stand-in for what samples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from creditree.engines.engine import Sampling
from creditree.engines.pulse import Pulse, Told
from creditree.errors import RunError
from creditree.evaluate.session import InMemory, measure
from creditree.problem import Problem
from creditree.report.watcher import Watcher
from creditree.runs.attempts import Attempt, AttemptParts, read_parts
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock

PROBLEMS = [Problem(f"q{number}", f"{number}?", ("1",)) for number in range(7)]


class Sampler:
    """Gives every completion its own reward, by problem and index; can be stopped after some pieces."""

    def __init__(self, stop_after: int = 99) -> None:
        self.stop_after, self.asked = stop_after, [""]
        self.asked.clear()

    def pieces(self, problems: Sequence[Problem], samples: int) -> list[Sequence[Problem]]:
        return [problems[start : start + 2] for start in range(0, len(problems), 2)]

    def examine(
        self, problems: Sequence[Problem], sampling: Sampling, samples: int, told: Told | None = None
    ) -> list[Attempt]:
        if told is not None:
            told(Pulse(len(problems) * samples))
        if self.stop_after == 0:
            raise KeyboardInterrupt
        self.stop_after -= 1
        self.asked += [problem.id for problem in problems]
        return [
            Attempt(p.id, index, float((int(p.id[1]) + index) % 2), "ok", str(index), 5, False, text="words")
            for p in problems
            for index in range(samples)
        ]

    def judge_again(self, problems: Mapping[str, Problem], attempts: Sequence[Attempt]) -> list[Attempt]:
        assert all(one.text == "words" and one.problem_id in problems for one in attempts)
        return [replace(one, reward=None if one.problem_id == "q1" else 1.0, status="ok") for one in attempts]


class Seen(Watcher):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, int, int, int]] = []
        self.unjudged: list[int] = []
        self.beats: list[tuple[str, int]] = []

    def measured(self, label: str, new: int, old: int, correct: int, total: int, unjudged: int = 0) -> None:
        self.lines.append((label, new, old, correct, total))
        self.unjudged.append(unjudged)

    def beat(self, label: str, pulse: Pulse) -> None:
        self.beats.append((label, pulse.rows))


@pytest.fixture
def held(tmp_path: Path) -> HeldDirectory:
    return HeldDirectory(tmp_path, RunLock(tmp_path))


def test_a_stopped_measurement_goes_on_where_it_was(held: HeldDirectory) -> None:
    whole = measure(Sampler(), PROBLEMS, Sampling(1.0), 3, InMemory(), Seen(), "t")
    with pytest.raises(KeyboardInterrupt):
        measure(Sampler(2), PROBLEMS, Sampling(1.0), 3, AttemptParts(held, "parts"), Seen(), "t")
    rest, seen = Sampler(), Seen()
    found = measure(rest, PROBLEMS, Sampling(1.0), 3, AttemptParts(held, "parts"), seen, "t")
    assert rest.asked == ["q4", "q5", "q6"]
    assert found.attempts == whole.attempts
    assert list(found.attempts) == [problem.id for problem in PROBLEMS]
    # Of 3 completions an even problem has one right, an odd one two: 12 kept have 1 + 2 + 1 + 2 = 6.
    assert seen.lines[0] == ("t", 0, 12, 6, 21)
    assert seen.lines[-1] == ("t", 9, 12, 10, 21)
    assert seen.beats == [("t", 6), ("t", 3)]
    again = Sampler(0)
    assert (
        measure(again, PROBLEMS, Sampling(1.0), 3, AttemptParts(held, "parts"), Seen(), "t").attempts == whole.attempts
    )


def test_completions_of_something_else_are_refused(held: HeldDirectory) -> None:
    measure(Sampler(), PROBLEMS, Sampling(1.0), 3, AttemptParts(held, "parts"), Seen(), "t")
    for problems, samples in ((PROBLEMS[:3], 3), (PROBLEMS, 4)):
        with pytest.raises(RunError, match="choose another directory\\."):
            measure(Sampler(), problems, Sampling(1.0), samples, AttemptParts(held, "parts"), Seen(), "t")


def test_what_has_no_reward_is_judged_again_and_not_sampled_again(held: HeldDirectory) -> None:
    """Of 3 completions each of q0 and q1, the judge had failed on the first two: q1's it still cannot judge."""
    measure(Sampler(), PROBLEMS, Sampling(1.0), 3, AttemptParts(held, "parts"), Seen(), "t")
    parts = AttemptParts(held, "parts")

    def lost(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        raise AssertionError("all were judged")

    parts.revise(lost)
    first = [one for one in read_parts(held, "parts") if one.problem_id in ("q0", "q1")]
    failed = [replace(one, reward=None if one.index < 2 else one.reward, status="crash") for one in first]
    fresh = AttemptParts(held, "failed")
    fresh.add(failed)
    rest, seen = Sampler(), Seen()
    found = measure(rest, PROBLEMS, Sampling(1.0), 3, fresh, seen, "t")
    assert rest.asked == ["q2", "q3", "q4", "q5", "q6"]
    assert found.rewards["q0"] == (1.0, 1.0, 0.0)
    assert found.rewards["q1"] == (None, None, 1.0)
    assert (seen.unjudged[0], seen.lines[0]) == (2, ("t", 0, 6, 3, 21))
    kept = [one for one in read_parts(held, "failed") if one.problem_id == "q0"]
    assert [(one.reward, one.text) for one in kept] == [(1.0, "words"), (1.0, "words"), (0.0, "words")]
