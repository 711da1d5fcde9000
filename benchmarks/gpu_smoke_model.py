"""Write the tiny benchmark model into a folder, for `gpu.sh --cpu`, and print the folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.models import model_directory

if __name__ == "__main__":
    print(model_directory("tiny", Path(sys.argv[1])))
