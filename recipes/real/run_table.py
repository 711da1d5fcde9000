"""Run what is missing of the table, one process a cell. Stop it at any time: the same command goes on.

    python -m recipes.real.fetch
    python -m recipes.real.run_table --weights build/weights --out recipes/real/results

Cells whose raw file is in `--out` are skipped; one that was stopped goes on from its last checkpoint in `--work`. Cells
for a GPU are run where `--only` names their set-up:

    python -m recipes.real.run_table --only svamp-qwen-256 --workers 4 --seconds 240 --out OUT --archive OUT.tar.gz
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic, time

from creditree.errors import CreditreeError
from recipes.real.cells import HERE, RealCell, all_cells, smoke, wanted_cells
from recipes.real.fetch import FOLDER, SOURCES

GRACE_S = 10.0
"""Seconds that a cell has to stop in when the time is up: its step ends within three of them, or is left out."""
MOST_THREADS = 4
FAILED, NO_TIME, EAGER = 1, 4, 8


def main() -> None:
    """Run the cells in order, or the one that a parent asked for."""
    options = _parser().parse_args()
    if options.cell is not None:
        _run_here(options)
        return
    if options.smoke:  # never among real results
        options.work = options.work / "smoke"
        options.out = options.work / "results"
    queue = Queue(options, monotonic() + options.seconds)
    missing = [one for one in wanted_cells(options.only) if not queue.is_done(one)]
    print(f"{len(missing)} of {len(wanted_cells(options.only))} cells to run", flush=True)
    if options.dry_run:
        print("\n".join(f"  {one.file}" for one in missing))
        return
    problem = _missing_file(missing, options) or _missing_device(missing, options)
    if problem is not None:
        print(problem, file=sys.stderr)
        raise SystemExit(2)
    with ThreadPoolExecutor(options.workers) as pool:
        status = 0
        for code in pool.map(queue.run, missing):
            status |= code
    queue.pack()
    raise SystemExit(status)


def _run_here(options: argparse.Namespace) -> None:
    from creditree.train.interrupt import Interrupted
    from recipes.real.run_cell import Places, run_cell  # imports torch: the parent does without

    (cell,) = (one for one in all_cells() if one.file == options.cell)
    kernels = None if options.kernels == "measured" else options.kernels
    places = Places(options.weights, options.data, options.work, options.out, options.workers, kernels)
    try:
        run_cell(smoke(cell) if options.smoke else cell, places)
    except CreditreeError as error:
        raise SystemExit(str(error)) from error
    except Interrupted as error:
        print(f"{cell.file}: stopped", flush=True)
        raise SystemExit(error.exit_code) from error


def _missing_file(cells: list[RealCell], options: argparse.Namespace) -> str | None:
    """Return a sentence on a file that cells need and that is not there."""
    for model in dict.fromkeys(cell.setup.model for cell in cells):
        file = options.weights / SOURCES[model].file
        if not file.is_file():
            return f"{file} is not there: python -m recipes.real.fetch {model} --to {options.weights} gets it."
    if options.data is not None and not options.data.is_file():
        return f"{options.data} is not there: give --data the file with SVAMP's 1,000 problems, or leave it out."
    return None


def _missing_device(cells: list[RealCell], options: argparse.Namespace) -> str | None:
    """Return a sentence where cells need a GPU and none is there."""
    on_gpu = dict.fromkeys(cell.setup.name for cell in cells if cell.setup.device == "cuda")
    if not on_gpu or options.smoke:
        return None
    import torch

    if torch.cuda.is_available():
        return None
    return (
        f"{', '.join(on_gpu)} needs a CUDA device, and torch finds none here: run it where there is one, or add "
        "--smoke to see that its code runs."
    )


@dataclass(slots=True)
class Queue:
    """Runs cells, each in a process of its own, until its time ends."""

    options: argparse.Namespace
    ends: float
    lock: Lock = field(default_factory=Lock)

    def result(self, cell: RealCell) -> Path:
        """Return the raw file of a cell."""
        out: Path = self.options.out
        return out / cell.table / f"{cell.file}.json"

    def is_done(self, cell: RealCell) -> bool:
        """Whether the cell's raw file is there."""
        return self.result(cell).is_file()

    def run(self, cell: RealCell) -> int:
        """Run a cell, its output in the work folder; return 0 or what was amiss.

        `FAILED`; `NO_TIME`: it was not ended;  `EAGER`: no graph launched some of its decoding steps on a GPU.
        """
        began, log = time(), self.options.work / f"{cell.file}.log"
        if monotonic() >= self.ends:
            print(f"{cell.file}: no time", flush=True)
            return NO_TIME
        self.options.work.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            process = subprocess.Popen(
                self._command(cell), stdout=file, stderr=subprocess.STDOUT, env=self._environment(cell)
            )
            code = self._wait(process)
        eager = json.loads(self.result(cell).read_text(encoding="utf-8")).get("eager") if code == 0 else None
        done = f"done, {eager} decoding steps by no graph," if eager else "done"
        word = {0: done, None: "out of time"}.get(code, f"failed ({_last_line(log)}), see {log}")
        print(f"{cell.file}: {word} after {time() - began:.0f} s", flush=True)
        self.pack()
        return {0: EAGER if eager else 0, None: NO_TIME}.get(code, FAILED)

    def pack(self) -> None:
        """Write all raw files into the archive, with what is known of the cells that are not done, and all output."""
        archive = self.options.archive
        if archive is None:
            return
        with self.lock:
            archive.parent.mkdir(parents=True, exist_ok=True)
            made = archive.with_name(f".{archive.name}")
            with tarfile.open(made, "w:gz") as tar:
                for path in sorted(self.options.out.glob("*/*.json")):
                    tar.add(path, path.relative_to(self.options.out))
                for path in sorted([*self.options.work.glob("*.json"), *self.options.work.glob("*.log")]):
                    tar.add(path, Path("unfinished" if path.suffix == ".json" else "output", path.name))
            made.replace(archive)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return the exit status of a cell, None where it was stopped because the time is up."""
        try:
            return process.wait(max(0.0, self.ends - monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None

    def _command(self, cell: RealCell) -> list[str]:
        options = self.options
        named = {"cell": cell.file, "weights": options.weights, "work": options.work, "out": options.out}
        named |= {"workers": options.workers, "kernels": options.kernels}
        named |= {} if options.data is None else {"data": options.data}
        command = [
            sys.executable,
            "-m",
            "recipes.real.run_table",
            *(f"--{name}={value}" for name, value in named.items()),
        ]
        return [*command, *(["--smoke"] if options.smoke else [])]

    def _environment(self, cell: RealCell) -> dict[str, str]:
        """Return the variables of a cell's process: on a GPU it has its share of the cores, and compiles in itself."""
        if cell.setup.device == "cpu":
            return dict(os.environ)
        threads = str(max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) // self.options.workers)))
        return os.environ | {"OMP_NUM_THREADS": threads, "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of the GGUF files")
    parser.add_argument("--data", type=Path, default=None, help="file of SVAMP's 1,000 problems; none: the hub")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the raw files")
    parser.add_argument("--work", type=Path, default=FOLDER.parent / "real", help="run directories and logs")
    parser.add_argument("--only", default="", help="cells whose name holds this text")
    parser.add_argument("--workers", type=int, default=1, help="cells side by side, on a CPU one thread each")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then, and keep what is known")
    parser.add_argument(
        "--archive", type=Path, default=None, help="a .tar.gz of all raw files and output, kept current"
    )
    parser.add_argument(
        "--kernels",
        choices=("plain", "triton", "measured"),
        default="plain",
        help="of decoding on a GPU; Triton's are compiled and tuned first, in every cell",
    )
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes, on the CPU: see that the code runs")
    parser.add_argument("--dry-run", action="store_true", help="list what would run")
    parser.add_argument("--cell", default=None, help="run this cell in this process")
    return parser


if __name__ == "__main__":
    main()
