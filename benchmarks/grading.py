"""Prints one JSON line, kept in results/: answers graded a second without and with math-verify, and adversarial ones.

    python benchmarks/grading.py [--workers 2] [--answers 10000] [--deadline 2]

The answers that go through math-verify are equal or unequal forms of an accepted one, each of them different, eight to
an accepted answer, as a group of completions has them.
"""

import argparse
import json
import os
import random
import resource
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from creditree.limits import Limits
from creditree.problem import Problem
from creditree.runs.environment import describe_environment
from creditree.verify.mathematics import Mathematics
from creditree.verify.pool import WorkerPool
from creditree.verify.verifier import Answer, closing
from tests.unit.verify.adversarial import adversarial

RESULTS = Path(__file__).resolve().parent / "results"
EASY = 20_000
HARD = 1_600
GROUP = 8


def easy(count: int, seed: int) -> list[Answer]:
    rng = random.Random(seed)
    forms = ("so it is \\boxed{{{}}}.", "The answer is ${}$.", "<think>long</think> The answer is {}.")
    made = []
    for index in range(count):
        number = rng.randint(0, 99_999)
        text = f"{number:,}" if index % 5 == 0 else f"\\frac{{{2 * number}}}{{2}}" if index % 5 == 1 else str(number)
        truth = str(number if index % 2 else number + 1)
        made.append(Answer(Problem("easy", "", (truth,)), "", rng.choice(forms).format(text)))
    return made


def formulas(count: int, seed: int) -> list[Answer]:
    rng = random.Random(seed)
    made: list[Answer] = []
    while len(made) < count:
        a, b, c = rng.randint(2, 99), rng.choice((2, 3, 5, 6, 7, 10, 11)), rng.randint(2, 60)
        truth, other = rng.choice((
            (f"\\frac{{{a}\\sqrt{{{b}}}}}{{{c}}}", "\\frac{{{k}}}{{" + str(c) + "}}\\sqrt{{" + str(b) + "}}"),
            (f"{a}\\pi + {c}", str(c) + " + {k} \\pi"),
            (f"x^2 + {a}x - {c}", "-" + str(c) + " + {k}x + x^{{2}}"),
            (f"\\left({a}, -{c}, {b}\\right)", "({k}.0, -" + f"{c}, {b})"),
            (f"\\sqrt{{{b}}} + {a}", "{k}+\\sqrt{{" + str(b) + "}}"),
        ))  # fmt: skip
        for step in range(GROUP):
            text = other.format(k=a + step // 2) + (" + 0" if step % 2 and "(" not in truth else "")
            made.append(Answer(Problem("formula", "", (truth,)), "", f"\\boxed{{{text}}}"))
    return made[:count]


def seconds(verifier: Mathematics, answers: list[Answer]) -> tuple[float, int]:
    started = perf_counter()
    verdicts = verifier.judge(answers)
    return perf_counter() - started, sum(verdict.reward == 1.0 for verdict in verdicts)


def grade_easy(seed: int) -> float:
    """Return the seconds of one process for a share of the easy answers; no worker is started for them."""
    answers = easy(EASY // 2, seed)
    return seconds(Mathematics(), answers)[0]


def hard(verifier: Mathematics, count: int) -> dict[str, Any]:
    made = adversarial(count)
    answers = [Answer(Problem(kind, "", (truth,)), "", text) for kind, text, truth in made]
    started = perf_counter()
    statuses: Counter[str] = Counter()
    late: Counter[str] = Counter()
    rewarded: Counter[str] = Counter()
    for start in range(0, len(answers), 500):
        verdicts = verifier.judge(answers[start : start + 500])
        statuses.update(verdict.status for verdict in verdicts)
        rewarded.update(made[start + i][0] for i, v in enumerate(verdicts) if v.reward != 0.0)
        late.update(made[start + i][0] for i, v in enumerate(verdicts) if v.status in ("timeout", "crash"))
    return {
        "answers": count,
        "seconds": round(perf_counter() - started, 1),
        "statuses": dict(statuses),
        "timeouts_by_kind": dict(late.most_common(8)),
        "rewarded_by_kind": dict(rewarded),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--deadline", type=float, default=2.0)
    arguments = parser.parse_args()
    record: dict[str, Any] = {"benchmark": "grading", "cores": len(os.sched_getaffinity(0)), **vars(arguments)}
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as processes:
        list(processes.map(grade_easy, range(arguments.workers)))
        started = perf_counter()
        busy = list(processes.map(grade_easy, range(arguments.workers)))
        wall = perf_counter() - started
    graded = EASY // 2 * arguments.workers
    record["easy_per_second"] = round(graded / max(busy))
    record["easy_per_second_with_generation"] = round(graded / wall)
    limits = Limits(deadline_s=arguments.deadline, num_workers=arguments.workers)
    with closing(Mathematics(WorkerPool(limits))) as verifier:
        seconds(verifier, formulas(400, 1))  # grammars are slow at first
        used, correct = seconds(verifier, formulas(HARD, 2))
        record["formulas_per_second"] = round(HARD / used, 1)
        record["formulas_correct"] = correct
        record["adversarial"] = hard(verifier, arguments.answers)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    record["peak_worker_rss_mib"] = round(children.ru_maxrss / 1024)
    record["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    record["environment"] = describe_environment()
    line = json.dumps(record)
    print(line)
    (RESULTS / "grading.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
