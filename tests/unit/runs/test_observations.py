import subprocess
import sys
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs.attempts import Attempt, read_parts
from creditree.runs.held import HeldDirectory
from creditree.runs.observations import Observation, ObservationLog

SETTINGS = "{alpha: 0.05, margin: 0.0}"


def observation(name: str, share: float = 1.0) -> Observation:
    return Observation("2026-01-31T12:00:00+00:00", 1, f"digest-{name}", name, share, {"ok": 1}, 0, 12, "fresh.csv")


def attempt(name: str) -> Attempt:
    return Attempt(f"digest-{name}", 0, 1.0, "ok", "5", 12, truncated=False, text="it is 5")


def test_observations_are_added_up_over_calls(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with ObservationLog.open(path, SETTINGS) as log:
        assert log.observations == ()
        log.add([observation("a"), observation("b", 0.5)], [attempt("a"), attempt("b")])
    with ObservationLog.open(path, "margin: 0.0\nalpha: 0.05") as log:
        log.add([observation("c")], [attempt("c")])
        assert log.observations == (observation("a"), observation("b", 0.5), observation("c"))
    assert [one.problem_id for one in read_parts(HeldDirectory(path, None), "completions")] == [
        "digest-a",
        "digest-b",
        "digest-c",
    ]


def test_a_command_that_fails_before_it_measures_leaves_no_settings(tmp_path: Path) -> None:
    with ObservationLog.open(tmp_path, "alpha: 0.5"):
        pass
    with ObservationLog.open(tmp_path, SETTINGS) as log:
        log.add([observation("a")])
    with pytest.raises(RunError, match=r"alpha is 0\.05 in the state and 0\.5 now.*another `state`, or remove"):
        ObservationLog.open(tmp_path, "{alpha: 0.5, margin: 0.0}")


def test_a_torn_last_line_is_dropped_and_another_one_named(tmp_path: Path) -> None:
    with ObservationLog.open(tmp_path, SETTINGS) as log:
        log.add([observation("a"), observation("b")])
    path = tmp_path / "observations.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(RunError, match="does not hold the 2 observations that it had; put back what it was"):
        ObservationLog.open(tmp_path, SETTINGS)
    path.write_bytes(whole[:-9])
    (tmp_path / "observed.json").unlink()  # a crash while lines are written comes before it
    with ObservationLog.open(tmp_path, SETTINGS) as log:
        assert log.observations == (observation("a"),)
        log.add([observation("b")])
    assert path.read_bytes() == whole
    path.write_bytes(whole[9:])
    with pytest.raises(RunError, match=r"line 1 is no observation; remove the line") as raised:
        ObservationLog.open(tmp_path, SETTINGS)
    assert "\n" not in str(raised.value)
    path.write_text(whole.decode().replace('"share": 1.0', '"share": 7', 1))
    with pytest.raises(RunError, match="line 1 is no observation"):
        ObservationLog.open(tmp_path, SETTINGS)


def test_other_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("task: x")
    with pytest.raises(RunError, match="holds a training run; choose another one with `state`"):
        ObservationLog.open(tmp_path / "run", SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        ObservationLog.open(tmp_path / "file", SETTINGS)
    with pytest.raises(RunError, match=r"Cannot write.*elsewhere with `state` DIR"):
        ObservationLog.open(tmp_path / "file" / "below", SETTINGS)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "observations.jsonl").write_text("")
    with pytest.raises(RunError, match=r"but no monitor\.yaml"):
        ObservationLog.open(tmp_path / "foreign", SETTINGS)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from creditree.runs.observations import ObservationLog\n"
        f"ObservationLog.open(Path({str(tmp_path)!r}), '')"
    )
    with ObservationLog.open(tmp_path, SETTINGS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is being written by another process" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
