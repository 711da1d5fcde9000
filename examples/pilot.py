"""A pilot from Python: does training help on a table of problems, and is it worth it? About a minute on one CPU core.

The table is made here, of word problems for the tiny built-in model; your own is a CSV, JSONL or parquet file with the
columns `question` and `answer`, and your model a directory, a name on the hub or a GGUF file:

    python examples/pilot.py [--budget 40s] [--problems mine.csv --model Qwen/Qwen2.5-Coder-0.5B-Instruct] [--out DIR]

The same command goes on with a pilot that was stopped. Exit code 1: training did not help, so that a script can tell.
"""

import argparse
import csv
import sys
from pathlib import Path

import creditree as ct
from creditree.tasks import WordProblems


def write_problems(path: Path, count: int = 400) -> None:
    """Write a table of word problems, as a stand-in for yours."""
    task = WordProblems()
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("question", "answer"))
        for index in range(count):
            problem = task.training(ct.Key.of(1), index)
            table.writerow((problem.question, problem.answers[0]))


def main(problems: Path | None, model: str, budget: str, out: Path) -> bool:
    """Make the pilot, say what came out, and return whether training helped."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if problems is None:
        problems = out.parent / "word_problems.csv"
        write_problems(problems)
    found = ct.pilot(problems, model, out, budget=budget)
    print(f"decision: {found.decision}")
    print(found.recommendation)
    print(f"report: {out / 'report.html'}")
    return found.decision.startswith("use")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Does training help on a table of problems?")
    parser.add_argument("--problems", type=Path, help="table with question and answer; default: made here")
    parser.add_argument("--model", default="builtin:word_problems")
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--out", type=Path, default=Path("pilots/example"))
    options = parser.parse_args()
    sys.exit(0 if main(options.problems, options.model, options.budget, options.out) else 1)
