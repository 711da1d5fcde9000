"""Checkpoints: arrays and a state that a run continues from, written whole or not at all, and verified when read."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from creditree.disk import content, is_folder
from creditree.errors import RunError
from creditree.runs.atomic import published, recover, remove, write_synced, writing
from creditree.runs.metrics import Mark

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Array = NDArray[np.generic]

_ARRAYS, _STATE, _MANIFEST = "arrays.safetensors", "state.json", "manifest.json"
_DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """All that a run needs to continue after `step`: numpy arrays by name, and a state of plain JSON values.

    Both come back exactly as they were given: arrays to the bit, floats of the state too (NaN and infinity included).
    `metrics` stands for the lines of the run's metrics up to it (None: not known).
    """

    step: int
    arrays: Mapping[str, Array]
    state: Mapping[str, JSON]
    metrics: Mark | None = None


class _DamagedError(Exception):
    """A checkpoint that does not agree with its manifest; the message says how."""


def save_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int = 2, sound_step: int | None = None) -> None:
    """Write ``directory/step-NNNNNN`` atomically; then remove checkpoints of later steps and all but the newest `keep`.

    That of `sound_step`, the newest that is known to be sound, stays too. Later ones belong to a course that the run
    has left: it went back to an earlier checkpoint. Raises RunError for an array or a state that would not come back as
    it is, or where the folder cannot be written; ValueError for keep < 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}: at least the checkpoint just written must stay")
    files = {
        _ARRAYS: save_arrays({name: _storable(name, array) for name, array in checkpoint.arrays.items()}),
        _STATE: _state_json(checkpoint.state).encode(),
    }
    manifest = {
        "step": checkpoint.step,
        "files": {name: _fingerprint(data) for name, data in files.items()},
        "metrics": None if checkpoint.metrics is None else asdict(checkpoint.metrics),
    }
    files[_MANIFEST] = json.dumps(manifest, indent=2).encode()
    with published(directory / f"step-{checkpoint.step:06d}") as folder:
        for name, data in files.items():
            write_synced(folder / name, data)
    folders = _folders(directory)
    kept = {sound_step, *[step for step in folders if step <= checkpoint.step][-keep:]}
    with writing(directory):
        for step, folder in folders.items():
            if step not in kept:
                remove(folder)


def remove_after(directory: Path, step: int) -> None:
    """Remove the checkpoints of steps later than `step`. Raises RunError where they cannot be removed."""
    with writing(directory):
        for saved, folder in _folders(directory).items():
            if saved > step:
                remove(folder)


def load_latest(directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that agrees with its manifest (None: there is none), and a sentence a skipped one.

    Cleans up what a crashed writer left, so only the process that holds the run may call this.
    """
    if not os.path.lexists(directory):
        return None, []
    if not is_folder(directory):
        raise RunError(f"{directory} is no folder; remove it to start over from step 0, or choose another run.")
    recover(directory)
    damages: list[str] = []
    checkpoint = None
    for step, folder in reversed(_folders(directory).items()):
        try:
            checkpoint = _read(step, folder)
            break
        except _DamagedError as damage:
            damages.append(f"Checkpoint step {step} is damaged ({damage}); ")
    onwards = "starting over from step 0." if checkpoint is None else f"continuing from step {checkpoint.step}."
    return checkpoint, [damage + onwards for damage in damages]


def _folders(directory: Path) -> dict[int, Path]:
    steps = {path.name.removeprefix("step-"): path for path in directory.glob("step-*") if not path.is_symlink()}
    return {int(step): steps[step] for step in sorted((s for s in steps if s.isdecimal()), key=int)}


def _read(step: int, folder: Path) -> Checkpoint:
    try:
        manifest = json.loads(content(folder / _MANIFEST))
        expected = {
            name: (manifest["files"][name]["bytes"], manifest["files"][name]["sha256"]) for name in (_ARRAYS, _STATE)
        }
        mark = manifest.get("metrics")
        metrics = None if mark is None else Mark(int(mark["lines"]), str(mark["sha256"]))
        recorded = manifest["step"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _DamagedError(f"{_MANIFEST} cannot be read") from error
    if recorded != step:
        raise _DamagedError(f"{_MANIFEST} is of step {recorded}")
    data = {name: _verified(folder / name, *fingerprint) for name, fingerprint in expected.items()}
    try:
        return Checkpoint(step, load_arrays(data[_ARRAYS]), json.loads(data[_STATE]), metrics)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise _DamagedError("what it holds cannot be read") from error


def _verified(path: Path, num_bytes: int, sha256: str) -> bytes:
    try:
        data = content(path)
    except OSError as error:
        raise _DamagedError(f"{path.name} cannot be read") from error
    if len(data) != num_bytes:
        raise _DamagedError(f"{path.name} is {len(data)} of {num_bytes} bytes")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _DamagedError(f"{path.name} has another sha256 than when it was written")
    return data


def _fingerprint(data: bytes) -> dict[str, JSON]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _storable(name: str, array: Array) -> Array:
    if array.dtype.name not in _DTYPES:
        raise RunError(
            f"Checkpoint array '{name}' has dtype {array.dtype.name}, which numpy's safetensors cannot hold; "
            "store it as float32, or view its bits as integers."
        )
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _state_json(state: Mapping[str, JSON]) -> str:
    _check_plain(dict(state), "state")
    return json.dumps(dict(state), indent=2, ensure_ascii=False)


def _check_plain(value: object, place: str) -> None:
    """Raise RunError for what JSON would change silently (a tuple, a key that is no string) or cannot hold."""
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise RunError(f"Checkpoint {place} has the key {key!r}; JSON keys are strings, so store it as one.")
            _check_plain(item, f"{place}.{key}")
    elif type(value) is list:
        for index, item in enumerate(value):
            _check_plain(item, f"{place}[{index}]")
    elif not (value is None or type(value) in (bool, int, float, str)):
        raise RunError(f"Checkpoint {place} is a {type(value).__name__}; store numbers, strings, lists or dicts.")
