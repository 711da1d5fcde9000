"""GGUF files as base models: dequantised once, by transformers' own reader, into a directory of safetensors.

The directory lies in the user's cache and is named after the sha256 of the file: a file that has changed is read anew,
one that has moved is not. Weights are kept in float32, in which every block format of GGUF is exact: four bytes a
weight on the disk. `model.dtype` says what is held in memory.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from creditree.disk import at_home, is_file, opened
from creditree.errors import ModelError
from creditree.models.plain import plain_model

SUFFIX = ".gguf"
MAGIC = b"GGUF"
SOURCE = "gguf.json"
"""The file of a converted directory that says which GGUF it was made from."""


def is_gguf(name: str) -> bool:
    """Return whether a model name is meant as the path of a GGUF file."""
    return name.lower().endswith(SUFFIX)


def converted(path: Path) -> Path:
    """Return the directory of safetensors that `path` was dequantised into, made now where there is none.

    Raises ModelError for a file that is no GGUF or is damaged, for an architecture that transformers does not read from
    GGUF, and where the package `gguf` is missing.
    """
    _check(path)
    digest = _digest(path)
    target = _cache() / f"{path.stem[:80]}-{digest[:16]}"
    if not is_file(target / SOURCE):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target):
            if not is_file(target / SOURCE):  # another process may have made it while this one waited
                _make(path, digest, target)
    return target


def _make(path: Path, digest: str, target: Path) -> None:
    """Dequantise `path`, of that sha256, into the directory `target`, which is there whole or not at all."""
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=".partial-"))
    try:
        _dequantise(path, made)
        source = {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}
        (made / SOURCE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
        with contextlib.suppress(OSError):  # where nothing locks, another was faster: what it made is the same
            made.replace(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _one_at_a_time(target: Path) -> Iterator[None]:
    """Run the block in one process after another: it takes most of a minute and several times the model's memory.

    The system releases the lock of a process that is killed. A file system without locks is used without.
    """
    lock = target.with_name(f".{target.name}.lock")
    with lock.open("a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def source_sha256(name: str) -> str | None:
    """Return the sha256 of the GGUF file that a model name means; None where it means no such file.

    The name may also be that of a directory that a file was converted into.
    """
    if is_gguf(name):
        return _digest(at_home(name))
    try:
        said = json.loads((at_home(name) / SOURCE).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # another directory, or no directory at all
        return None
    return said if isinstance(said, str) else None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path) -> str:
    """Return the sha256 of a file, read again only where it has changed: a run asks several times."""
    about = path.stat()
    return _read_digest(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_digest(path: Path, *_about: int) -> str:
    return file_sha256(path)


def _check(path: Path) -> None:
    if not is_file(path):
        raise ModelError(f"model file '{path}' does not exist; give the path of a .gguf file, or a model directory.")
    with opened(path) as file:
        magic = file.read(4)
    if magic != MAGIC:
        raise ModelError(f"model file '{path}' is no GGUF file (it begins with {magic!r}); get it again.")
    if find_spec("gguf") is None:
        raise ModelError(f"model file '{path}' needs the package gguf; install it with pip install 'creditree[gguf]'.")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "creditree" / "gguf"


def _dequantise(path: Path, folder: Path) -> None:
    # imported here: whoever asks for another kind of model does not wait for it
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _one_sentence(path), _read_once():
        where, name = str(path.parent), path.name
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
        model: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
        plain_model(model, model.state_dict()).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _read_once() -> Iterator[None]:
    """Let all that transformers asks of a file share one reader.

    It makes four, for configuration, tokenizer and weights, and each takes in the whole vocabulary: ten seconds for
    150 k tokens.
    """
    import gguf

    reader: Any = gguf.GGUFReader
    vars(gguf)["GGUFReader"] = cache(reader)
    try:
        yield
    finally:
        vars(gguf)["GGUFReader"] = reader


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model file '{path}' could not be read ({reason}); get the file again, or give the model as a directory "
            "of safetensors."
        ) from error
