"""A disk that becomes full: the run stops with a sentence and its last checkpoint, and goes on when there is room."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

import pytest

from creditree.runs.checkpoint import load_latest
from tests.e2e.command import FORKS, be_command
from tests.runs_alike import content
from tests.soak.conftest import Tally
from tests.soak.runs import config_of, struck

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
PRIVATE, RECURSIVE, REMOUNT = 1 << 18, 1 << 14, 32
CANNOT = 77
SHARES = (0.1, 0.35, 0.75)
MANY = (0.02, 0.06, 0.15, 0.25, 0.45, 0.55, 0.65, 0.85)
"""Of what the whole run takes on the disk."""


def _mount(libc: ctypes.CDLL, target: Path, flags: int, size: int) -> bool:
    options = f"size={size}".encode()
    return bool(libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", ctypes.c_ulong(flags), options) == 0)


def _alone(libc: ctypes.CDLL) -> bool:
    """Give this process mounts of its own, as root or as an ordinary user."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(NEW_MOUNTS) != 0:
        if libc.unshare(NEW_MOUNTS | NEW_USER) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    return bool(libc.mount(None, b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None) == 0)


def _run(config: Path, run: Path, printed: Path) -> tuple[int, list[str]]:
    """Train in a copy of this process; return the exit code and the lines on stderr."""
    printed.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            be_command(["train", str(config), "--run", str(run), "--resume"], None, [Path(os.devnull), printed], int)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, printed.read_text().splitlines()


def _filled(config: Path, disk: Path, size: int, out: Path) -> None:
    """In a process of its own: train onto a disk of `size` bytes, see what is left, and go on with more room."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not _alone(libc) or not _mount(libc, disk, 0, size):
        os._exit(CANNOT)
    run = disk / "run"
    code, lines = _run(config, run, out.with_suffix(".full"))
    assert code == 2, (code, lines)
    assert "No space left on device" in lines[-1], lines
    assert not any("Traceback" in line for line in lines), lines
    checkpoints = sorted((run / "checkpoints").glob("step-*"))
    latest, damages = load_latest(run / "checkpoints")
    assert damages == []
    assert [latest.step] == [step_of(checkpoints[-1])] if latest else not checkpoints
    assert _mount(libc, disk, REMOUNT, 256 << 20)
    code, lines = _run(config, run, out.with_suffix(".more"))
    assert code == 0, lines
    shutil.copytree(run, out)
    out.with_suffix(".kept").write_text(str(latest.step if latest else 0))


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="a small file system is mounted by Linux's namespaces")
@pytest.mark.parametrize("shares", [SHARES[1:2], pytest.param((*SHARES, *MANY), marks=pytest.mark.slow)])
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(
    shares: tuple[float, ...], tmp_path: Path, tally: Tally
) -> None:
    config, whole, disk = config_of("grpo", tmp_path), tmp_path / "whole", tmp_path / "disk"
    assert struck(["train", config, "--run", whole], tmp_path / "at")[0] == 0
    taken = sum(-(-file.stat().st_size // 4096) * 4096 for file in whole.rglob("*") if file.is_file())
    disk.mkdir()
    kept = []
    for share in shares:
        out = tmp_path / f"run-{share}"
        child = FORKS.Process(target=_filled, args=(config, disk, int(share * taken), out))
        child.start()
        child.join(300)
        if child.exitcode == CANNOT:
            pytest.skip("no file system can be mounted here: neither root nor user namespaces")
        assert child.exitcode == 0
        kept.append(int(out.with_suffix(".kept").read_text()))
        same = content(out) == content(whole)
        tally(disks=len(kept), last_checkpoints=kept, other_runs=int(not same))
        assert same
