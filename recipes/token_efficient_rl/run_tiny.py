"""Run the tiny twins: every cell and seed once, raw results in results/, what is already there is not run again.

python -m recipes.token_efficient_rl.run_tiny [--only TEXT] [--workers 2] [--dry-run]
"""

from pathlib import Path

from recipes.tiny_runs import run_all
from recipes.token_efficient_rl.cells import all_cells

if __name__ == "__main__":
    run_all(all_cells(), Path(__file__).resolve().parent / "results")
