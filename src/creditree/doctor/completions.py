"""Judged completions of training, from the rollouts that a run keeps, or a rehearsal made."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditree.problem import Problem
from creditree.runs.attempts import Attempt

Row = Mapping[str, Any]
"""A row of `creditree.runs.rollouts`."""


@dataclass(frozen=True, eq=False, slots=True)
class JudgedCompletion:
    """A completion that was sampled in a training step.

    `in_group`: it was sampled from the prompt itself, with others, not forked from them or replayed; `prompt_tokens`:
    of its prompt;  `surprisal`: mean of -log p of its own tokens under the policy that sampled, untempered, in nats:
    an unbiased estimate of the entropy where the temperature is 1. None: the engine did not tell.
    """

    step: int
    problem: Problem
    attempt: Attempt
    in_group: bool
    prompt_tokens: int
    surprisal: float | None

    @classmethod
    def of_row(cls, row: Row, index: int) -> "JudgedCompletion":
        """Return the completion of a row, the `index`-th of its problem."""
        problem = Problem(row["problem_id"], row["question"] or "", tuple(row["answers"] or ("",)))
        own = [value for value in row["logprobs"] or () if value is not None and math.isfinite(value)]
        attempt = Attempt(
            problem.id,
            index,
            row["reward"],
            row["status"] or "ok",
            None,
            int(row["fork"]) + len(row["token_ids"] or ()),
            row["finish_reason"] == "length",
            row["detail"] or "",
            row["text"] or "",
            tuple(row["singles"] or ()),
        )
        return cls(
            step=row["step"],
            problem=problem,
            attempt=attempt,
            in_group=row["tree"] == 0 and row["parent"] is None and row.get("beside") is None,
            prompt_tokens=len(row["prompt_ids"] or ()),
            surprisal=-sum(own) / len(own) if own else None,
        )


def completions_of(rows: Iterable[Row]) -> tuple[JudgedCompletion, ...]:
    """Return the completions of some rows."""
    seen: dict[tuple[int, str], int] = {}
    completions = []
    for row in rows:
        place = row["step"], row["problem_id"]
        seen[place] = seen.get(place, -1) + 1
        completions.append(JudgedCompletion.of_row(row, seen[place]))
    return tuple(completions)


def groups_of(completions: Sequence[JudgedCompletion]) -> list[tuple[JudgedCompletion, ...]]:
    """Return the groups: what was sampled together from one problem's prompt in one step."""
    groups: dict[tuple[int, str], list[JudgedCompletion]] = {}
    for completion in completions:
        if completion.in_group:
            groups.setdefault((completion.step, completion.problem.id), []).append(completion)
    return [tuple(group) for group in groups.values()]


def by_step(completions: Sequence[JudgedCompletion]) -> dict[int, list[JudgedCompletion]]:
    """Return the completions by step, in order."""
    steps: dict[int, list[JudgedCompletion]] = {}
    for completion in sorted(completions, key=lambda completion: completion.step):
        steps.setdefault(completion.step, []).append(completion)
    return steps
