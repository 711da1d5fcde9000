"""How much faster native products are than those of another commit: by turns in one process, on the same weights.

    python benchmarks/products.py 2a7486d --isa avx2 --rounds 21

Prints one JSON line: for each kind of weights, number of rows and number of inputs the median over rounds of the other
commit's seconds over ours, and of its own seconds over those of a second turn, which says what a ratio is worth.
"""

import argparse
import ctypes
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from creditree.engines.native.compiler import ISA, ISAS, compiler_at, compiler_path, flags
from creditree.runs.environment import describe_environment

HERE = Path(__file__).resolve().parent
SOURCES = Path("src/creditree/engines/native")
KINDS = ("bfloat16", "float32", "int8", "nf4")
ROWS, SIZES = (1, 4, 8, 12, 64), (576, 896, 4864)
MOST_WEIGHTS, MOST_WORK = 16e6, 6e8


def compiled(sources: Path, own: tuple[str, ...], target: Path) -> Any:
    """Compile the product against these sources."""
    path = compiler_path()
    if path is None:
        raise SystemExit("There is no C++ compiler: install g++ or clang++.")
    told = [*flags(), *compiler_at(path).own_flags, "-fopenmp", *own, f"-I{sources}"]
    subprocess.run([path, *told, str(HERE / "products.cpp"), "-o", str(target)], check=True)
    code = ctypes.CDLL(str(target))
    code.seconds.restype = ctypes.c_double
    code.prepare.argtypes = [ctypes.c_int, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return code


def ratios(ours: Any, theirs: Any, weights: int, cell: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Return medians of one cell."""
    kind, rows, size = cell
    outputs = max(24, int(min(MOST_WEIGHTS / size, MOST_WORK / rows / size)) // 24 * 24)
    for code in (ours, theirs):
        code.prepare(kind, rows, size, outputs, weights)
        code.seconds()
    turns = [(theirs.seconds(), ours.seconds(), theirs.seconds()) for _ in range(rounds)]
    faster = statistics.median(before / now for before, now, _ in turns)
    return {"faster": round(faster, 3), "the same twice": round(statistics.median(a / c for a, _, c in turns), 3)}


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--isa", choices=ISAS, default="native")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--flags", default="-Wa,-mbranches-within-32B-boundaries", help="of ours alone")
    options = parser.parse_args()
    os.environ[ISA] = options.isa
    block = mmap.mmap(-1, int(MOST_WEIGHTS) * 4 + (4 << 20))
    numbers = np.frombuffer(block, dtype=np.uint16)
    numbers[:] = 0x3C3C  # a small number in either precision
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = subprocess.run(
            ["git", "archive", options.commit, str(SOURCES)], cwd=HERE.parent, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
        theirs = compiled(folder / SOURCES, (), folder / "theirs.so")
        ours = compiled(HERE.parent / SOURCES, tuple(options.flags.split()), folder / "ours.so")
        for kind, called in enumerate(KINDS):
            for rows in ROWS:
                for size in SIZES:
                    cell = ratios(ours, theirs, numbers.ctypes.data, (kind, rows, size), options.rounds)
                    found[f"{called}, {rows} rows, {size} inputs"] = cell
    told = {"against": options.commit, "isa": options.isa, "rounds": options.rounds}
    print(json.dumps({"benchmark": "products", **told, **found, "environment": describe_environment()}))


if __name__ == "__main__":
    main()
