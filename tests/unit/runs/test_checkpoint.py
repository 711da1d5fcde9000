import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from creditree.errors import RunError
from creditree.runs.checkpoint import JSON, Array, Checkpoint, load_latest, save_checkpoint


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": np.full((2, 3), step, dtype=np.float32)}, {"step": step, "rate": 0.1})


def steps(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


HELD = scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8)
PLAIN: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(array=HELD.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0))), state=PLAIN)
def test_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, array: Array, state: JSON) -> None:
    directory = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(directory, Checkpoint(7, {"a": array, "turned": array.T}, {"state": state}))
    found, warnings = load_latest(directory)
    assert found is not None
    assert (found.step, warnings) == (7, [])
    for name, given_array in (("a", array), ("turned", array.T)):
        native = given_array.astype(given_array.dtype.newbyteorder("="))
        assert found.arrays[name].dtype == native.dtype
        assert found.arrays[name].shape == native.shape
        assert found.arrays[name].tobytes() == native.tobytes()
    assert repr(found.state["state"]) == repr(state)


def test_equal_checkpoints_have_equal_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        save_checkpoint(tmp_path / place, checkpoint(3))
    for name in ("arrays.safetensors", "state.json", "manifest.json"):
        one, two = (tmp_path / place / "step-000003" / name for place in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_keeps_the_newest_and_drops_later_steps_of_a_left_course(tmp_path: Path) -> None:
    for step in (100, 200, 999_999, 1_000_000, 1_000_001):
        save_checkpoint(tmp_path, checkpoint(step))
    assert steps(tmp_path) == ["step-1000000", "step-1000001"]
    for step in (100, 200, 300, 150):
        save_checkpoint(tmp_path, checkpoint(step), keep=3)
    assert steps(tmp_path) == ["step-000100", "step-000150"]
    with pytest.raises(ValueError, match="keep is 0"):
        save_checkpoint(tmp_path, checkpoint(500), keep=0)


def test_none_where_there_is_nothing(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "missing") == (None, [])
    assert load_latest(tmp_path) == (None, [])


def test_a_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    for step in (100, 200):
        save_checkpoint(tmp_path, checkpoint(step))
    path = tmp_path / "step-000200" / "arrays.safetensors"
    size = path.stat().st_size
    os.truncate(path, 10)
    found, warnings = load_latest(tmp_path)
    assert found is not None
    assert found.step == 100
    assert warnings == [
        f"Checkpoint step 200 is damaged (arrays.safetensors is 10 of {size} bytes); continuing from step 100."
    ]


def test_one_changed_byte_is_noticed_in_every_file(tmp_path: Path) -> None:
    rng = random.Random(0)
    for name in ("arrays.safetensors", "state.json"):
        directory = tmp_path / name
        save_checkpoint(directory, checkpoint(5))
        path = directory / "step-000005" / name
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1
        path.write_bytes(data)
        found, warnings = load_latest(directory)
        assert found is None
        cause = f"{name} has another sha256 than when it was written"
        assert warnings == [f"Checkpoint step 5 is damaged ({cause}); starting over from step 0."]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"step": 5}', '{"step": 5, "files": {"state.json": 1}}'])
def test_a_damaged_manifest_is_no_crash(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, checkpoint(5))
    (tmp_path / "step-000005" / "manifest.json").write_text(damage)
    assert load_latest(tmp_path) == (
        None,
        ["Checkpoint step 5 is damaged (manifest.json cannot be read); starting over from step 0."],
    )


def test_a_missing_file_or_another_steps_folder_is_noticed(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint(step), keep=3)
    (tmp_path / "step-000003" / "state.json").unlink()
    (tmp_path / "step-000002").rename(tmp_path / "step-000009")
    found, warnings = load_latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert warnings == [
        "Checkpoint step 9 is damaged (manifest.json is of step 2); continuing from step 1.",
        "Checkpoint step 3 is damaged (state.json cannot be read); continuing from step 1.",
    ]


def test_leftovers_of_a_crash_are_ignored_and_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    leftover = tmp_path / ".partial-step-000002"
    leftover.mkdir()
    (leftover / "arrays.safetensors").write_bytes(b"half")
    (tmp_path / "step-notes").mkdir()
    found, warnings = load_latest(tmp_path)
    assert found is not None
    assert (found.step, warnings) == (1, [])
    assert steps(tmp_path) == ["step-000001", "step-notes"]


@pytest.mark.parametrize("dtype", ["complex64", "object", "longdouble", "datetime64[s]", "V2"])
def test_dtypes_that_safetensors_lacks_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(RunError, match=r"Checkpoint array 'w' has dtype .* store it as float32"):
        save_checkpoint(tmp_path, Checkpoint(1, {"w": np.zeros(2, dtype=dtype)}, {}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"best": (1, 2)}, "Checkpoint state.best is a tuple"),
        ({"best": [{"at": {3: 1}}]}, r"Checkpoint state.best\[0\].at has the key 3"),
        ({"loss": np.float64(1)}, "Checkpoint state.loss is a float64"),
    ],
)
def test_a_state_that_would_come_back_changed_is_refused(tmp_path: Path, state: dict[str, JSON], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        save_checkpoint(tmp_path, Checkpoint(1, {}, state))


def test_the_state_may_hold_what_json_lacks(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, {}, {"best": -math.inf}))
    found, _ = load_latest(tmp_path)
    assert found is not None
    assert found.state == {"best": -math.inf}


WRITER = """
import sys, numpy as np, pathlib
from creditree.runs.checkpoint import Checkpoint, save_checkpoint
for step in range(1, 100_000):
    arrays = {"w": np.full(50_000, step, dtype=np.float32)}
    save_checkpoint(pathlib.Path(sys.argv[1]), Checkpoint(step, arrays, {"step": step}))
    print(step, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.013, 0.037, 0.061])
def test_killed_while_writing_loses_at_most_the_checkpoint_being_written(tmp_path: Path, delay_s: float) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        reported = [1, *(int(line) for line in writer.stdout if line.endswith("\n"))]
    found, warnings = load_latest(tmp_path)
    assert found is not None
    assert warnings == []
    assert found.step in (reported[-1], reported[-1] + 1)
    np.testing.assert_array_equal(found.arrays["w"], np.full(50_000, found.step, dtype=np.float32))
    assert not [name for name in steps(tmp_path) if name.startswith(".")]


def test_the_manifest_is_readable_by_others(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(5))
    manifest = json.loads((tmp_path / "step-000005" / "manifest.json").read_text())
    sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    assert sizes == {name: (tmp_path / "step-000005" / name).stat().st_size for name in sizes}
