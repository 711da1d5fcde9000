"""Damaged files of evaluations, monitors and pilots: the file is named, in one sentence, with what to do."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.evaluate.compare import Measured
from creditree.pilot.store import PilotDirectory
from creditree.runs.attempts import Attempt
from creditree.runs.evaluation import EvaluationDirectory
from creditree.runs.observations import Observation, ObservationLog

ATTEMPT = Attempt("p", 0, 1.0, "ok", "5", 12, truncated=False, text="it is 5")
ROW: dict[str, object] = {
    "task": "t", "decoding": "greedy", "side": "measured", "problem_id": "p", "digest": "d", "completions": 2,
    "correct": 1, "unjudged": 1, "truncated": 1, "tokens": 32, "majority": "5",
}  # fmt: skip
SEEN = Observation("2026-01-31T12:00:00+00:00", 1, "d", "p", 1.0, {"ok": 1}, 0, 12, "fresh.csv")
SETTINGS = "seed: 0\nsamples: 1\n"


def damaged(file: Path) -> Iterator[str]:
    """Damage a file in one way after the other; yield what was done, and put it back in the end."""
    held = file.read_bytes()
    middle = len(held) // 2
    ways = {
        "emptied": b"",
        "cut": held[:middle],
        "flipped": held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :],
        "no text": b"\xff\xfe\x80",
        "nested": b"[" * 100_000,
        "another shape": b"[1]",
    }
    for way, data in ways.items():
        file.write_bytes(data)
        yield way
    file.unlink()
    file.mkdir()
    yield "a folder"
    file.rmdir()
    file.write_bytes(held)


def refused(name: str, call: Callable[[], object], folder: Path, ignored: tuple[str, ...] = ()) -> None:
    """Check that a call names the file `name` of a folder, however it is damaged."""
    call()
    for way in damaged(folder / name):
        if way in ignored:
            continue
        with pytest.raises(RunError) as raised:
            call()
        assert str(folder / name) in str(raised.value), way
        assert "\n" not in str(raised.value), way
        assert "; " in str(raised.value), way
    call()


def evaluation(path: Path) -> None:
    with EvaluationDirectory.open(path, SETTINGS) as directory:
        directory.keep_base({"sha256": "x"})
        directory.parts("t", "greedy", "measured").add([ATTEMPT])
        directory.finish([ROW], {"seed": 0})


def continued(path: Path) -> None:
    with EvaluationDirectory.open(path, SETTINGS) as directory:
        directory.keep_base({"sha256": "x"})
        directory.parts("t", "greedy", "measured").read()


def test_a_saved_evaluation(tmp_path: Path) -> None:
    evaluation(tmp_path)
    for name in ("problems.parquet", "result.json"):
        refused(name, lambda: Measured.of(tmp_path), tmp_path)
    for name in ("base.json", "completions/t/greedy/measured/part-000001.parquet"):
        refused(name, lambda: continued(tmp_path), tmp_path)
    for way in damaged(tmp_path / "evaluation.yaml"):
        with pytest.raises(RunError, match="evaluation"):
            continued(tmp_path)
        assert way


def test_an_evaluation_of_other_weights_is_not_continued(tmp_path: Path) -> None:
    evaluation(tmp_path)
    refusal = pytest.raises(RunError, match="was made with other weights of the base model than it has now")
    with EvaluationDirectory.open(tmp_path, SETTINGS) as directory, refusal:
        directory.keep_base({"sha256": "y"})


def test_the_state_of_a_monitor(tmp_path: Path) -> None:
    with ObservationLog.open(tmp_path, SETTINGS) as log:
        log.add([SEEN, SEEN], [ATTEMPT])
        log.add([SEEN])

    def opened() -> None:
        ObservationLog.open(tmp_path, SETTINGS).close()

    refused("observed.json", opened, tmp_path)
    # What cannot be read at the end of the file is first dropped as a torn line, so a copy is damaged each time.
    shutil.copy(tmp_path / "observations.jsonl", tmp_path.parent / "kept.jsonl")
    refused("observations.jsonl", opened, tmp_path)
    for _ in damaged(tmp_path / "monitor.yaml"):
        with pytest.raises(RunError, match=r"monitor|test"):
            opened()


def test_the_records_of_a_pilot(tmp_path: Path) -> None:
    with PilotDirectory.open(tmp_path, SETTINGS) as directory:
        directory.sampled("greedy").add([ATTEMPT])
        directory.write("timeline", {"trials": 3, "seconds": 2.5})
        with directory.stage("checks"):
            pass
        refused("timeline.json", lambda: directory.read_as("timeline", dict[str, float]), tmp_path)
    refused("seconds.json", lambda: PilotDirectory.open(tmp_path, SETTINGS).close(), tmp_path)
    for _ in damaged(tmp_path / "pilot.yaml"):
        with pytest.raises(RunError, match="pilot"):
            PilotDirectory.open(tmp_path, SETTINGS)
