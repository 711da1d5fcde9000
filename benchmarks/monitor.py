"""How often `creditree monitor` raises a false alarm, and how many problems it takes to see a drop, in simulation.

Prints one JSON line for each setting, and writes them to benchmarks/results/monitor.jsonl. No model is asked: problems
are drawn 0 or 1 with a known accuracy, fifty a call, and the test is looked at after every one. `se` is the standard
error of a share or a mean.

    python benchmarks/monitor.py [--lives 2000]
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditree.evaluate.sequential import FRACTIONS, RESERVE, DropTest, Evidence
from creditree.rng import Key
from creditree.runs.environment import git_commit

RESULT = Path(__file__).resolve().parent / "results" / "monitor.jsonl"
SEED, ALPHA = 11, 0.05
LOOKS, LONGEST = 1500, 10_000
CALL = 50
"""Problems of a call."""
NULLS = ((0.7, 500, 0.0), (0.7, 500, 0.05), (0.3, 100, 0.0), (0.95, 200, 0.0))
"""Accuracy, problems of the baseline, and margin."""


def answers(key: Key, accuracy: float, count: int) -> NDArray[np.float64]:
    """Return 0 or 1 for so many problems."""
    return (key.uniforms(count) < accuracy).astype(np.float64)


def in_calls(evidence: Evidence, values: NDArray[np.float64]) -> Evidence:
    """Return the evidence after the values, a call for each fifty of them."""
    for start in range(0, len(values), CALL):
        evidence = (evidence if evidence.n == 0 else evidence.next_call()).after(values[start : start + CALL])
        if evidence.alarm_at is not None:
            break
    return evidence


def false_alarms(key: Key, accuracy: float, n: int, margin: float, lives: int) -> dict[str, Any]:
    """Draw a baseline and then fresh problems that are exactly as hard as is tolerated, many times."""
    alarms = 0
    for life in range(lives):
        own = key.at(str(accuracy), n, str(margin), life)
        test = DropTest(int(answers(own.at("baseline"), accuracy, n).sum()), n, margin, ALPHA)
        alarms += in_calls(test.begin(), answers(own.at("fresh"), accuracy - margin, LOOKS)).alarm_at is not None
    found = {"accuracy": accuracy, "baseline": n, "margin": margin, "looks": LOOKS, "lives": lives}
    return {"what": "false alarms", **found, **share(alarms, lives)}


def known_baseline(key: Key, accuracy: float, lives: int) -> dict[str, Any]:
    """The test alone, at its whole level: the accuracy to be below of is known without error."""
    begun = Evidence.begin(accuracy, 1 / ALPHA, FRACTIONS, RESERVE)
    found = [in_calls(begun, answers(key.at(str(accuracy), life), accuracy, LOOKS)).alarm_at for life in range(lives)]
    alarms = sum(one is not None for one in found)
    return {"what": "baseline known", "accuracy": accuracy, "looks": LOOKS, "lives": lives, **share(alarms, lives)}


def detection(key: Key, drop: float, good: int, lives: int) -> dict[str, Any]:
    """How many problems after the drop the alarm came, with a baseline of 400 of 500 and `good` problems before it."""
    well = np.array([0.0 if place % 5 == 4 else 1.0 for place in range(good)])
    before = in_calls(DropTest(400, 500, 0.0, ALPHA).begin(), well)
    alarms = (
        in_calls(before, answers(key.at(str(drop), good, life), 0.8 - drop, LONGEST)).alarm_at for life in range(lives)
    )
    waited = [one - good for one in alarms if one is not None]
    return {
        "what": "problems until a drop is seen",
        "drop": drop,
        "good_before": good,
        "lives": lives,
        "seen": len(waited),
        "mean": round(float(np.mean(waited)), 1),
        "se": round(float(np.std(waited, ddof=1) / len(waited) ** 0.5), 1),
        "median": float(np.median(waited)),
        "problems_to_detect": before.problems_to_detect(0.8 - drop),
    }


def share(count: int, of: int) -> dict[str, float]:
    """Return a share with its standard error."""
    value = count / of
    return {"share": round(value, 5), "se": round((value * (1 - value) / of) ** 0.5, 5)}


def records(lives: int) -> Iterator[dict[str, Any]]:
    """Yield one record a setting."""
    key = Key.of(SEED)
    for accuracy, n, margin in NULLS:
        yield false_alarms(key.at("false"), accuracy, n, margin, lives)
    for accuracy in (0.3, 0.7, 0.9):
        yield known_baseline(key.at("known"), accuracy, lives)
    for drop in (0.1, 0.2, 0.3):
        for good in (0, 200, 1000):
            yield detection(key.at("drop"), drop, good, max(2, lives // 4))


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=2000)
    options = parser.parse_args()
    origin = {"commit": git_commit(RESULT.parents[1]), "seed": SEED, "alpha": ALPHA}
    lines = []
    for record in records(options.lives):
        lines.append(json.dumps(record | origin))
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
