"""Everything that needs a GPU, for a machine that is there for minutes: called by `gpu.sh`, which sees to the packages.

    PYTHONPATH=src:. python benchmarks/gpu_run.py [--out DIR] [--seconds 590] [--only NAME ...] [--cpu]

Pieces of at most 90 seconds, the most wanted first, each in a process of its own with a time limit. Each prints its
line and adds its records to DIR/gpu.jsonl (see `gpu_record.py`) as soon as it has them. A piece that fails does not
stop the next; one that passed before is left out when the command is given again with the same folder (`--again`
repeats it). `--together` starts all of them side by side, each with its output in DIR/NAME.log: that finds what fails
in the time of the slowest one; what it measures of speed means nothing.

Exit status, added up: 1 where a piece failed, 4 where one was cut off or found no time, 8 where a decoding step was not
launched by a graph; 2 where nothing could be run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, RESULTS, append, read, record_file

HERE = Path(__file__).resolve().parent
MOST_SECONDS, SMOKE_SECONDS = 90, 300
FEWEST_SECONDS = 5
FAILED, NO_TIME = 1, 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A script with its arguments, and how long it may take."""

    name: str
    seconds: int
    script: str
    arguments: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


HALF = "--model random:qwen2.5-0.5b --dtype bfloat16"
STEP = f"{HALF} --group 16 --problems 8 --max-new-tokens 256"
PIECES: tuple[Piece, ...] = (
    Piece("graphs", 60, "gpu_graphs.py"),
    Piece("kernels", 50, "gpu_kernels.py"),
    Piece("ways", 90, "gpu_ways.py"),
    Piece("exactness", 90, "gpu_exactness.py"),
    Piece("step", 60, "gpu_steps.py", _words(f"{HALF} --name step --method grpo --group 8 --max-new-tokens 128")),
    Piece("decode-0.5b", 90, "gpu_decode.py", _words(f"{HALF} --name decode-0.5b --rows 8 50 --tokens 256")),
    Piece("decode-1.5b", 90, "gpu_decode.py", _words("--name decode-1.5b --rows 8 50 --tokens 256")),
    Piece("grpo", 90, "gpu_steps.py", _words(f"{STEP} --name grpo --method grpo --steps 5")),
    Piece("trl", 90, "gpu_trl.py", _words(f"{STEP} --steps 2")),
    Piece("t-spmo", 90, "gpu_steps.py", _words(f"{STEP} --name t-spmo --method t-spmo --steps 5")),
    Piece(
        "t-spmo-1.5b",
        75,
        "gpu_steps.py",
        _words("--name t-spmo-1.5b --method t-spmo --group 50 --dtype bfloat16 --steps 1"),
    ),
    Piece(
        "t-spmo-1.5b-nf4",
        75,
        "gpu_steps.py",
        _words("--name t-spmo-1.5b-nf4 --method t-spmo --group 50 --dtype nf4 --steps 1"),
    ),
    Piece("learning", 90, "gpu_learning.py", _words("--seconds 75 --max-new-tokens 256")),
    Piece("profile", 60, "gpu_profile.py"),
    Piece("decode-shared", 90, "gpu_decode.py", _words(f"{HALF} --name decode-shared --system shared --rows 128 512")),
    Piece(
        "decode-plain",
        45,
        "gpu_decode.py",
        _words(f"{HALF} --name decode-plain --system plain --rows 8 50 --tokens 120 --rounds 2"),
    ),
    Piece("decode-400", 60, "gpu_decode.py", _words(f"{HALF} --name decode-400 --rows 400 --tokens 256 --rounds 1")),
    Piece(
        "decode-generate",
        90,
        "gpu_decode.py",
        _words(f"{HALF} --name decode-generate --system generate --rows 8 50 --tokens 120 --rounds 1"),
    ),
    Piece(
        "decode-continuous",
        90,
        "gpu_decode.py",
        _words(f"{HALF} --name decode-continuous --system continuous --rows 8 50 --tokens 120 --rounds 1"),
    ),
)
"""On a GPU: do graphs work, is it right, does a step run; then speed, memory, learning, and what explains them."""


def smoke_pieces(model: Path) -> tuple[Piece, ...]:
    """Return a few of them in tiny sizes, for a CPU."""
    tiny = f"--model {model} --prompt-tokens 10 --dtype float32"
    step = f"{tiny} --group 4 --max-new-tokens 8 --steps 1"
    decode = f"{tiny} --rows 3 --tokens 4 --rounds 1"
    arguments = {
        "graphs": ("gpu_graphs.py", ""),
        "exactness": ("gpu_exactness.py", ""),
        "grpo": ("gpu_steps.py", f"{step} --name grpo --problems 2"),
        "trl": ("gpu_trl.py", f"{step} --problems 2"),
        "learning": ("gpu_learning.py", ""),
        "decode": ("gpu_decode.py", f"{decode} --name decode"),
        "decode-shared": ("gpu_decode.py", f"{decode} --name decode-shared --system shared"),
        "decode-generate": ("gpu_decode.py", f"{decode} --name decode-generate --system generate"),
        "decode-continuous": ("gpu_decode.py", f"{decode} --name decode-continuous --system continuous"),
    }
    return tuple(Piece(name, SMOKE_SECONDS, script, _words(text)) for name, (script, text) in arguments.items())


@dataclass(slots=True)
class Run:
    """The pieces of one command."""

    device: str
    out: Path
    ends: float
    together: bool = False
    status: int = 0

    @property
    def file(self) -> Path:
        """Where the records are."""
        return record_file(self.device, self.out)

    def passed(self, piece: Piece) -> bool:
        """Whether a piece passed before, in this folder."""
        return read(self.file).get(f"piece {piece.name}", {}).get("status") == "passed"

    def make(self, piece: Piece) -> None:
        """Run a piece within its own limit and what is left of the whole, and write down what came of it."""
        began = monotonic()
        left = int(self.ends - began)
        left = left if self.together else min(piece.seconds, left)
        code = self._call(piece, left) if left >= FEWEST_SECONDS else None
        status = {0: "passed", None: "no time", EAGER_STATUS: "eager"}.get(code, "failed")
        self.status |= {0: 0, None: NO_TIME, EAGER_STATUS: EAGER_STATUS}.get(code, FAILED)
        seconds = round(monotonic() - began, 1)
        record = {"name": f"piece {piece.name}", "status": status, "exit": code, "seconds": seconds}
        append(json.dumps(record), self.file)
        print(f"{status:8s}{piece.name} ({seconds:.0f} s)", flush=True)

    def _call(self, piece: Piece, seconds: int) -> int | None:
        """Return the exit status of a piece, None where it was stopped."""
        command = [sys.executable, str(HERE / piece.script), *piece.arguments]
        command += ["--device", self.device, "--out", str(self.out)]
        with self._output(piece) as output:
            process = subprocess.Popen(command, start_new_session=True, stdout=output, stderr=output)
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                return None
            finally:  # with what it has started: a step that runs on would disturb the next piece
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _output(self, piece: Piece) -> AbstractContextManager[IO[str] | None]:
        """Return where a piece writes its lines: to a log of its own where others write at the same time."""
        if not self.together:
            return nullcontext()
        self.out.mkdir(parents=True, exist_ok=True)
        return (self.out / f"{piece.name}.log").open("w", encoding="utf-8")


def chosen(pieces: tuple[Piece, ...], only: list[str] | None) -> tuple[Piece, ...]:
    """Return the pieces asked for. SystemExit with status 2 for a name that none has."""
    unknown = set(only or ()) - {piece.name for piece in pieces}
    if unknown:
        print(f"no piece is called {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in pieces)}")
        raise SystemExit(2)
    return tuple(piece for piece in pieces if only is None or piece.name in only)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--seconds", type=float, default=590, help="for everything together")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these pieces")
    parser.add_argument("--again", action="store_true", help="pieces that passed in this folder too")
    parser.add_argument("--together", action="store_true", help="side by side: what fails, not how fast")
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the CPU: a smoke test of the scripts")
    return parser.parse_args()


def main() -> None:
    """Run the pieces; exit with what failed."""
    options = parse()
    run = Run("cpu" if options.cpu else "cuda", options.out.resolve(), monotonic() + options.seconds, options.together)
    with tempfile.TemporaryDirectory() as folder:
        pieces = PIECES
        if options.cpu:
            from benchmarks.models import model_directory

            pieces = smoke_pieces(model_directory("tiny", Path(folder)))
        wanted = []
        for piece in chosen(pieces, options.only):
            if run.passed(piece) and not options.again:
                print(f"before  {piece.name}", flush=True)
            else:
                wanted.append(piece)
        with ThreadPoolExecutor(max(1, len(wanted)) if options.together else 1) as pool:
            list(pool.map(run.make, wanted))
    print(f"records in {run.file}, exit status {run.status}", flush=True)
    sys.exit(run.status)


if __name__ == "__main__":
    main()
