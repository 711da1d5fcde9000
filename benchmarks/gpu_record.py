"""What the GPU scripts share: where their records go, and what each record says of machine and code.

All records of a run are lines of one file, `gpu.jsonl` (on a CPU `smoke.jsonl`), each written when it is known: what is
cut off loses nothing that was finished. Of several lines with one name the last one counts.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from creditree.runs.environment import describe_environment

RESULTS = Path(__file__).resolve().parent / "results"
EAGER_STATUS = 8
"""Exit status of a script in which a decoding step was not launched by a graph."""


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every script takes: the device, and the folder of the records."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    return parser


def describe(device: str) -> dict[str, object]:
    """Return machine and code; the commit from the variable COMMIT where the source is not under git."""
    found = describe_environment()
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    found["torch"] = torch.__version__
    if device != "cpu":
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def record_file(device: str, out: Path) -> Path:
    """Return the file of the records."""
    return out / f"{'smoke' if device == 'cpu' else 'gpu'}.jsonl"


def write(name: str, record: Mapping[str, Any], device: str, out: Path, *, quiet: bool = False) -> None:
    """Add a record as one JSON line to the file, on the disk before this returns; print it unless `quiet`."""
    line = json.dumps({"name": name, **record, "device": device, "environment": describe(device)})
    append(line, record_file(device, out))
    if not quiet:
        print(line, flush=True)


def append(line: str, path: Path) -> None:
    """Add a line to a file, and wait until the disk has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last whole record of each name; a line that was cut off is left out."""
    return {record["name"]: record for record in read_all(path)}


def read_all(path: Path) -> list[dict[str, Any]]:
    """Return all whole records, in order."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "name" in record:
            found.append(record)
    return found


class Stopwatch:
    """Wall seconds since it was made, the device's work included."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._wait()
        self._start = perf_counter()

    def seconds(self) -> float:
        """Wait for the device, and return the seconds."""
        self._wait()
        return perf_counter() - self._start

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()
