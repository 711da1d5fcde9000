"""Checkpoints are removed as new ones come, and whenever the writer dies or one is damaged, a good one is left."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditree.runs.checkpoint import Checkpoint, load_latest, save_checkpoint

STEPS = st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True)
"""Steps in the order in which they are saved: after a step back, a run writes an earlier one again."""


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": np.full(3, step, dtype=np.float32)}, {"step": step})


def good(directory: Path) -> list[int]:
    """Return the steps of the checkpoints that can be continued from, looking at a copy: to look cleans up."""
    copy = directory.with_name("looked-at")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    found = []
    while (latest := load_latest(copy)[0]) is not None:
        assert latest.arrays["w"].tolist() == [latest.step] * 3
        found.append(latest.step)
        shutil.rmtree(copy / f"step-{latest.step:06d}")
    return found


def damage(folder: Path, kind: str) -> None:
    """Truncate a file of a checkpoint, flip one of its bits, or leave it half written."""
    if kind == "half":
        (folder / "manifest.json").unlink()
    else:
        file = folder / ("arrays.safetensors" if kind == "cut" else "state.json")
        data = bytearray(file.read_bytes())
        if kind == "cut":
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2] ^= 1
        file.write_bytes(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(saved=STEPS, keep=st.integers(1, 3), back=st.integers(0, 5), kinds=st.data())
def test_the_only_good_one_is_never_removed(
    saved: list[int], keep: int, back: int, kinds: st.DataObject, tmp_path: Path
) -> None:
    """Whatever is damaged on the disk meanwhile: what was just written is good, and so is what is known to be sound."""
    directory = tmp_path / "checkpoints"
    shutil.rmtree(directory, ignore_errors=True)
    sound: int | None = None
    for number, step in enumerate(saved):
        sound = sound if sound is not None and sound <= step else None  # a later one is of a course that was left
        save_checkpoint(directory, checkpoint(step), keep, sound)
        there = good(directory)
        assert there[0] == step
        assert sound is None or sound in there
        for other in there[1:]:
            if other != sound and kinds.draw(st.booleans()):
                damage(directory / f"step-{other:06d}", kinds.draw(st.sampled_from(["cut", "bit", "half"])))
        if number == back:
            sound = step


def dies_at(operation: int, directory: Path, step: int, keep: int, sound: int | None) -> bool:
    """Save a checkpoint in a process that dies before its n-th operation on a file; return whether it did."""
    child = os.fork()
    if child == 0:
        left = [operation]

        def strike(event: str, given: tuple[object, ...]) -> None:
            if event.partition(".")[0] in ("open", "os", "shutil"):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(1)

        try:
            sys.addaudithook(strike)
            save_checkpoint(directory, checkpoint(step), keep, sound)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.parametrize(
    ("there", "step", "keep", "sound"),
    [
        pytest.param((), 1, 2, None, id="the first"),
        pytest.param((1,), 2, 1, None, id="keep 1", marks=pytest.mark.thorough),
        pytest.param((1, 2), 3, 2, None, id="keep 2", marks=pytest.mark.thorough),
        pytest.param((1, 4, 5), 6, 1, 1, id="a sound one"),
        pytest.param((4, 5), 2, 2, None, id="a left course", marks=pytest.mark.thorough),
        pytest.param((3,), 3, 2, 3, id="the same once more", marks=pytest.mark.thorough),
    ],
)
def test_a_writer_may_die_before_any_of_its_operations(
    there: tuple[int, ...], step: int, keep: int, sound: int | None, tmp_path: Path
) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    first = tmp_path / "first"
    first.mkdir()
    for one in there:
        save_checkpoint(first, checkpoint(one), keep=9)
    deaths = 0
    while True:
        directory = tmp_path / "checkpoints"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(first, directory)
        died = dies_at(deaths, directory, step, keep, sound)
        left = good(directory)
        assert left or not there
        assert sound is None or sound in left
        if not died:
            break
        deaths += 1
    assert left[0] == step
    assert deaths > 10
