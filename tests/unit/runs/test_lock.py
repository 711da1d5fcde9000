"""The lock of a directory that is being written: held by its file, and looked at before each write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs.directory import RunDirectory
from creditree.runs.held import claimed
from creditree.runs.lock import LOCK, RunLock

TRY = "import sys; from pathlib import Path; from creditree.runs.lock import RunLock; RunLock(Path(sys.argv[1]))"


def another_process_can_lock(folder: Path) -> bool:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", TRY, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "is being written by another process" in done.stderr
    return done.returncode == 0


def test_a_lock_whose_file_was_removed_is_made_again_at_the_next_write(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, "seed: 0") as run:
        (tmp_path / ".lock").unlink()
        run.append({"step": 1})
        assert (tmp_path / ".lock").exists()  # to read it would let go of a record lock
        assert not another_process_can_lock(tmp_path)


def test_a_run_that_another_process_took_over_is_not_written_any_more(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, "seed: 0") as run:
        run.append({"step": 1})
        (tmp_path / ".lock").unlink()
        assert another_process_can_lock(tmp_path)  # and leaves its own lock file
        for write in (
            lambda: run.append({"step": 2}),
            lambda: run.write_json("summary.json", {}),
            lambda: run.measurement("greedy", "base"),
            run.restore,
        ):
            with pytest.raises(RunError, match=r"was removed while this process wrote it.*this one stops here"):
                write()
        assert not (tmp_path / "summary.json").exists()
    assert len(RunDirectory.read(tmp_path).metrics()) == 1


def test_a_descriptor_that_somebody_closed_is_opened_again(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert lock._descriptor is not None
    os.close(lock._descriptor)
    lock.check()
    assert not another_process_can_lock(tmp_path)
    lock.release()


def test_a_forked_process_may_not_write(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            lock.check()
        except RunError:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    lock.check()
    lock.release()


def test_a_folder_that_was_made_for_the_lock_goes_with_it_while_it_is_empty(tmp_path: Path) -> None:
    made, used, theirs = tmp_path / "made", tmp_path / "used", tmp_path / "theirs"
    theirs.mkdir()
    for path in (made, used, theirs):
        with claimed(path, "`out`") as lock:
            pass
        if path == used:
            (used / "words.txt").write_text("kept")
        lock.release()
    assert not made.exists()
    assert (used / "words.txt").read_text() == "kept"
    assert theirs.is_dir()  # it was there before


def test_a_folder_is_removed_where_the_run_in_it_could_not_be_begun(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at once"), claimed(tmp_path / "new", "`out`"):
        raise ValueError("at once")
    assert not (tmp_path / "new").exists()


def test_a_lock_that_somebody_else_has_made_anew_is_not_removed(tmp_path: Path) -> None:
    with claimed(tmp_path / "new", "`out`") as lock:
        pass
    (tmp_path / "new" / LOCK).unlink()
    (tmp_path / "new" / LOCK).write_text("1\n")
    lock.release()
    assert (tmp_path / "new" / LOCK).read_text() == "1\n"
