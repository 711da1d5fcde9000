"""The directory of a pilot: records, seconds, settings, and one writer."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from creditree.errors import ConfigError, RunError
from creditree.pilot.store import PilotDirectory
from creditree.runs.atomic import StorageError
from creditree.runs.attempts import Attempt

SETTINGS = "model: builtin:multiplication\nbudget_s: 600\n"
OTHER = "model: builtin:multiplication\nbudget_s: 900\n"


def opened(path: Path, settings: str = SETTINGS) -> PilotDirectory:
    return PilotDirectory.open(path, settings)


def measure(directory: PilotDirectory) -> None:
    directory.sampled("greedy").add([Attempt("p", 0, 1.0, "ok", "5", 12, truncated=False)])


def test_a_stage_is_there_once_it_is_written(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "pilot") as directory:
        assert not directory.has("checks")
        directory.write("checks", {"rows": 3, "name": "ä"})
        directory.write_text("report.md", "# Ä\n")
        measure(directory)
        assert directory.run == tmp_path / "new" / "pilot" / "run"
        assert directory.trial(2) == tmp_path / "new" / "pilot" / "trials" / "2"
    with opened(tmp_path / "new" / "pilot") as directory:
        assert directory.has("checks")
        assert directory.read("checks") == {"rows": 3, "name": "ä"}
        assert [one.problem_id for one in directory.sampled("greedy").read()] == ["p"]
    assert (directory.path / "report.md").read_text(encoding="utf-8") == "# Ä\n"
    assert (directory.path / "code.json").is_file()


def test_seconds_add_up_over_openings_and_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each stage reads the clock twice: 3, 5 and, in the second command, 4 s.
    clock = iter([10.0, 13.0, 20.0, 25.0, 100.0, 104.0])
    monkeypatch.setattr("creditree.pilot.store.monotonic", lambda: next(clock))

    def stopped() -> None:
        with opened(tmp_path) as directory:
            with directory.stage("checks"):
                pass
            with directory.stage("trials"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with opened(tmp_path) as directory:
        assert directory.seconds == {"checks": 3.0, "trials": 5.0}
        with directory.stage("trials"):
            pass
        assert directory.seconds == {"checks": 3.0, "trials": 9.0}
        assert directory.spent_s == 12.0


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        measure(directory)
    with pytest.raises(
        RunError, match="budget_s is 600 in the pilot and 900 now; repeat it with the same ones"
    ) as error:
        opened(tmp_path, OTHER)
    assert str(tmp_path) in str(error.value)
    opened(tmp_path, "{budget_s: 600, model: 'builtin:multiplication'}").__exit__(None, None, None)


def failed(path: Path, *, measured: bool) -> None:
    with opened(path) as directory:
        directory.write("machine", {"memory": 1})
        with directory.stage("checking"):
            directory.write("checks", {})
        with directory.stage("looking"):
            directory.write("probe", {})
            if measured:
                measure(directory)
            raise ConfigError("the budget is too short")


def test_what_fails_before_anything_is_measured_leaves_the_directory_free(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        failed(tmp_path, measured=False)
    with opened(tmp_path, OTHER) as directory:
        # Nothing of the first command counts: another device has other memory, another model another pace.
        assert not any(directory.has(name) for name in ("machine", "checks", "probe"))
        assert directory.spent_s == 0


def test_what_fails_later_keeps_its_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        failed(tmp_path, measured=True)
    with pytest.raises(RunError, match="begun with other settings"):
        opened(tmp_path, OTHER)
    with opened(tmp_path) as directory:
        assert directory.has("probe")
        assert set(directory.seconds) == {"checking", "looking"}


def test_a_pilot_that_was_only_stopped_keeps_its_settings(tmp_path: Path) -> None:
    def stopped() -> None:
        with opened(tmp_path) as directory, directory.stage("checking"):
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        stopped()
    with pytest.raises(RunError, match="begun with other settings"):
        opened(tmp_path, OTHER)


def test_other_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: x")
    with pytest.raises(RunError, match="holds a training run; choose another one with `out`"):
        opened(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file; choose another directory"):
        opened(tmp_path / "file")
    with pytest.raises(RunError, match="Cannot write"):
        opened(tmp_path / "file" / "below")


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[1]", "is not a JSON object")])
def test_a_record_that_is_none_says_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    with opened(tmp_path) as directory:
        (tmp_path / "checks.json").write_text(text)
        with pytest.raises(RunError, match=f"{words}.*remove it, and repeat the command") as error:
            directory.read("checks")
        assert "\n" not in str(error.value)
        with pytest.raises(RunError, match="Cannot read"):
            directory.read("never")


def test_a_pilot_that_was_killed_at_its_very_beginning_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory as it is before and after each write reaches the disk is what a kill may leave."""
    path, moments = tmp_path / "pilot", [tmp_path / "0"]
    sync, replace = os.fsync, os.replace

    def keep() -> None:
        shutil.copytree(path, moments[-1])
        moments.append(tmp_path / str(len(moments)))

    def synced(descriptor: int) -> None:
        keep()
        sync(descriptor)

    def replaced(old: Path, new: Path) -> None:
        keep()
        replace(old, new)
        keep()

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", replaced)
    with opened(path) as directory:
        directory.write("machine", {"memory": 1})
        directory.write("checks", {"rows": 3})
    monkeypatch.undo()
    assert len(moments) > 12
    for moment in moments[:-1]:
        with opened(moment) as directory:
            assert {entry.name for entry in moment.iterdir() if entry.name.startswith(".partial-")} == set()
            directory.write("checks", {"rows": 4})


def test_an_early_end_names_what_failed_first_and_leaves_no_foreign_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    directory = opened(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"Cannot write .*checks\.json"), directory:  # noqa: SIM117
        with directory.stage("checking"):
            directory.write("checks", {})
    monkeypatch.undo()
    opened(tmp_path, OTHER).close()


def test_files_of_somebody_else_are_not_taken_for_leftovers(tmp_path: Path) -> None:
    for name in ("notes.txt", ".partial-notes.txt", "code.json", "checks.json"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(RunError, match=f"holds {name} and no pilot"):
            opened(folder)
        assert (folder / name).read_text() == "{}"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from creditree.pilot.store import PilotDirectory\n"
        f"PilotDirectory.open(Path({str(tmp_path)!r}), {SETTINGS!r})"
    )
    with opened(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is being written by another process" in done.stderr
    # A refused opening releases the lock as well.
    with pytest.raises(RunError):
        opened(tmp_path, OTHER)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
