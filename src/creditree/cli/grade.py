"""`creditree grade` and `creditree verify-audit`."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

from creditree.cli.output import console, print_json
from creditree.config.overrides import apply_overrides
from creditree.config.reward import OPTIONS, build_verifier, reward_of
from creditree.errors import ConfigError, DataError
from creditree.evaluate.audit import CORRECT, Audit, Graded, audit, read_answers
from creditree.problem import Verdict
from creditree.verify import Verifier, closing

PIECE = 512
"""Rows graded before their verdicts are printed."""
EXAMPLES = 10
"""Rows of each kind that a table shows; JSON has all."""


def grade_command(
    path: Path, grader: str, *, deadline: float | None, workers: int | None, as_json: bool, overrides: Sequence[str]
) -> None:
    """Grade the rows of a file: one verdict a line with `as_json`, else a summary."""
    verifier = verifier_of(grader, deadline, workers, overrides)
    answers = [answer for answer, _ in read_answers(str(path))]
    statuses: Counter[str] = Counter()
    rewards: list[float | None] = []
    started = perf_counter()
    with closing(verifier):
        for start in range(0, len(answers), PIECE):
            piece = answers[start : start + PIECE]
            for answer, verdict in zip(piece, verifier.judge(piece), strict=True):
                statuses[verdict.status] += 1
                rewards.append(verdict.reward)
                if as_json:
                    print(json.dumps(_line(answer.problem.id, verdict)))
            sys.stdout.flush()
    if as_json:
        return
    correct = sum((reward or 0.0) >= CORRECT for reward in rewards)
    unjudged = sum(reward is None for reward in rewards)
    seconds = perf_counter() - started
    out = console()
    out.print(f"{len(rewards)} answers graded by {grader} in {seconds:.1f} s")
    out.print(f"correct: {correct} ({100 * correct / len(rewards):.1f} %)")
    out.print(", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    if unjudged:
        out.print(f"without a reward: {unjudged}; --json says why")


def audit_command(
    path: Path, grader: str, *, deadline: float | None, workers: int | None, as_json: bool, overrides: Sequence[str]
) -> None:
    """Compare a grader's verdicts with the labels of a file."""
    verifier = verifier_of(grader, deadline, workers, overrides)
    rows = read_answers(str(path))
    unlabelled = next((answer.problem.id for answer, label in rows if label is None), None)
    if unlabelled is not None:
        raise DataError(
            f"row '{unlabelled}' of {path} has no label: an audit needs true or false in the column 'label'."
        )
    with closing(verifier):
        found = audit(verifier, rows)
    if as_json:
        print_json(_record(found, grader))
    else:
        _print(found, grader)


def _line(name: str, verdict: Verdict) -> dict[str, object]:
    """Return a verdict as a line of JSON has it; `answer` is what the grader read, None where it found no answer."""
    line: dict[str, object] = {"id": name, "reward": verdict.reward, "status": verdict.status, "answer": verdict.answer}
    return line | ({"detail": verdict.detail} if verdict.detail else {})


def verifier_of(grader: str, deadline: float | None, workers: int | None, overrides: Sequence[str]) -> Verifier:
    """Return the verifier that the command line asks for. Raises ConfigError."""
    if deadline is not None and not isfinite(deadline):
        raise ConfigError(f"--deadline is {deadline}: write seconds, such as 5.")
    values = apply_overrides({"name": grader}, overrides)
    if grader == "program" and not values.get("allow_execution"):
        raise ConfigError(
            "the grader program runs what the model writes on this machine; if that is acceptable, add "
            "--set allow_execution=true."
        )
    limits = {"deadline": deadline, "workers": workers}
    if grader in OPTIONS and "deadline" not in OPTIONS[grader] and (deadline or workers):
        raise ConfigError(f"--deadline and --workers have no effect on {grader}, which needs no process; remove them.")
    return build_verifier(reward_of(values | {key: value for key, value in limits.items() if value is not None}))


def _record(found: Audit, grader: str) -> dict[str, Any]:
    return {
        "grader": grader,
        "n": len(found.graded),
        "agreement": found.agreement,
        "false_positives": [_row(row) for row in found.false_positives],
        "false_negatives": [_row(row) for row in found.false_negatives],
        "asymmetric": [_row(row) for row in found.asymmetric],
        "statuses": found.statuses,
        "timeouts": [_row(row) for row in found.graded if row.verdict.status == "timeout"],
    }


def _row(row: Graded) -> Mapping[str, object]:
    return {
        "id": row.answer.problem.id,
        "prediction": row.answer.completion,
        "answers": list(row.answer.problem.answers),
        "label": row.label,
        "reward": row.verdict.reward,
        "status": row.verdict.status,
    }


def _print(found: Audit, grader: str) -> None:
    out = console()
    total = len(found.graded)
    out.print(f"{grader} agrees with the labels of {found.agreement:.1%} of {total} rows")
    late = tuple(row for row in found.graded if row.verdict.status == "timeout")
    kinds = {
        "false positives (accepted, labelled wrong)": found.false_positives,
        "false negatives (refused, labelled right)": found.false_negatives,
        "asymmetric (swapped, the verdict is another)": found.asymmetric,
        "timeouts": late,
    }
    for name, rows in kinds.items():
        out.print(f"\n{name}: {len(rows)}")
        for row in rows[:EXAMPLES]:
            answers = " or ".join(row.answer.problem.answers)
            shown = f"  {row.answer.problem.id}: {_short(row.answer.completion)}  |  {_short(answers)}"
            out.print(shown, soft_wrap=True)
        if len(rows) > EXAMPLES:
            out.print(f"  and {len(rows) - EXAMPLES} more; --json has all")
    out.print("\n" + ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items())))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"...{line[-77:]}"
