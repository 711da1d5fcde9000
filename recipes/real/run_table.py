"""Run what is missing of the table, one process a cell. Stop it at any time: the same command goes on.

    python -m recipes.real.fetch
    python -m recipes.real.run_table --weights build/weights --out recipes/real/results

Cells whose raw file is in `--out` are skipped; one that was stopped goes on from its last checkpoint in `--work`.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time

from recipes.real.cells import HERE, RealCell, all_cells
from recipes.real.fetch import FOLDER


def main() -> None:
    """Run the cells in order, or the one that a parent asked for."""
    options = _parser().parse_args()
    wanted = [cell for cell in all_cells() if options.only in cell.file]
    if options.cell is not None:
        from recipes.real.run_cell import Places, run_cell  # imports torch: the parent does without

        (cell,) = (one for one in wanted if one.file == options.cell)
        run_cell(cell, Places(options.weights, options.data, options.work, options.out))
        return
    missing = [one for one in wanted if not (options.out / one.table / f"{one.file}.json").is_file()]
    print(f"{len(missing)} of {len(wanted)} cells to run", flush=True)
    if options.dry_run:
        print("\n".join(f"  {one.file}" for one in missing))
        return
    with ThreadPoolExecutor(options.workers) as pool:
        failed = sum(pool.map(lambda one: _run(one, options), missing))
    raise SystemExit(1 if failed else 0)


def _run(cell: RealCell, options: argparse.Namespace) -> int:
    """Run a cell in a process of its own, its output in the work folder; return 1 where it failed."""
    started = time()
    options.work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "recipes.real.run_table", "--cell", cell.file, "--weights", str(options.weights)]
    command += ["--work", str(options.work), "--out", str(options.out)]
    command += [] if options.data is None else ["--data", str(options.data)]
    log = options.work / f"{cell.file}.log"
    with log.open("a", encoding="utf-8") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    print(f"{cell.file}: {'done' if code == 0 else f'failed, see {log}'} after {time() - started:.0f} s", flush=True)
    return int(code != 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of the GGUF files")
    parser.add_argument("--data", type=Path, default=None, help="file of SVAMP's 1,000 problems; none: the hub")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the raw files")
    parser.add_argument("--work", type=Path, default=FOLDER.parent / "real", help="run directories and logs")
    parser.add_argument("--only", default="", help="cells whose name holds this text")
    parser.add_argument("--workers", type=int, default=1, help="cells side by side, one thread each")
    parser.add_argument("--dry-run", action="store_true", help="list what would run")
    parser.add_argument("--cell", default=None, help="run this cell in this process")
    return parser


if __name__ == "__main__":
    main()
