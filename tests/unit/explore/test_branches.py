"""Where a completion is branched: golden cases, and the authors' procedure written out step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.explore import BranchRule
from creditree.steps import Step
from creditree.tree import FloatArray

PLACE = ("prompt_tokens", "think_step", "after", "forked")


def pick_branches(scores: FloatArray, steps: Sequence[Step], points: int = 2, **said: Any) -> tuple[int, ...]:
    """Return what a rule picks; `said` are its numbers, and of the completion's place."""
    place = {name: said.pop(name) for name in PLACE if name in said}
    return BranchRule(points, **said).pick(scores, steps, **place)


def even(count: int, size: int) -> list[Step]:
    return [(k * size, (k + 1) * size) for k in range(count)]


STEPS = st.lists(st.integers(1, 9), min_size=1, max_size=25).map(
    lambda sizes: [(sum(sizes[:k]), sum(sizes[: k + 1])) for k in range(len(sizes))]
)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments with many ties and zeros among the scores."""
    steps = draw(STEPS)
    scores = draw(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.2, 0.3, 0.9]), min_size=len(steps), max_size=len(steps)))
    return {
        "scores": np.array(scores),
        "steps": steps,
        "points": draw(st.integers(1, 4)),
        "quantile": draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
        "min_gap": draw(st.integers(0, 20)),
        "gap_from": draw(st.sampled_from(["prompt", "response"])),
        "quantile_over": draw(st.sampled_from(["steps", "eligible"])),
        "fallback": draw(st.sampled_from(["first_steps", "relax"])),
        "prompt_tokens": draw(st.integers(0, 10)),
        "think_step": draw(st.one_of(st.none(), st.integers(0, len(steps) - 1))),
        "delta": draw(st.integers(1, 5)),
    }


def test_golden_distances_of_a_long_response() -> None:
    # All steps are candidates. 50 tokens each, prompt 16: the first start >= 512 - 16 is 500; the next >= 550 + 512 is
    # 1100. From the response: >= 512 is 550, then >= 600 + 512 is 1150.
    flat = np.full(100, 0.1)
    assert pick_branches(flat, even(100, 50), prompt_tokens=16) == (500, 1100)
    assert pick_branches(flat, even(100, 50), prompt_tokens=16, gap_from="response") == (550, 1150)


def test_golden_earliest_of_the_top_fifth() -> None:
    # y = 0 (step 1), then .1 .5 .2 .6 .3 .7 .4 .8 .9: the 0.8-quantile of ten is at rank 7.2 of 0 .1 .. .9 = .7 + .2 *
    # .1 = .72, so steps 9 and 10 (offsets 16, 18). At 0.5: rank 4.5, .45: steps 3, 5, 7, 9, 10.
    y = np.array([0.95, 0.1, 0.5, 0.2, 0.6, 0.3, 0.7, 0.4, 0.8, 0.9])
    assert pick_branches(y, even(10, 2), min_gap=0) == (16, 18)
    assert pick_branches(y, even(10, 2), min_gap=0, quantile=0.5) == (4, 8)
    # Gap 5 between the end of one and the start of the next: 4, then the first start >= 6 + 5.
    assert pick_branches(y, even(10, 2), min_gap=4, quantile=0.5) == (4, 12)
    assert pick_branches(y, even(10, 2), min_gap=5, quantile=0.5) == (8, 16)


def test_the_first_step_never_branches_however_high() -> None:
    assert pick_branches(np.array([9.0, 0.0, 0.1, 0.0]), even(4, 2), 1, min_gap=0) == (4,)


def test_a_quantile_of_zero_gives_way_to_the_least_positive_score() -> None:
    # Eight of ten are 0, so is the 0.5-quantile.
    y = np.array([0, 0, 0, 0, 0, 0.3, 0, 0, 0.2, 0])
    assert pick_branches(y, even(10, 2), min_gap=0, quantile=0.5) == (10, 16)


def test_after_the_thinking_nothing_is_a_candidate() -> None:
    y = np.array([0.0, 0.1, 0.1, 0.9, 0.9, 0.9])
    assert pick_branches(y, even(6, 2), min_gap=0, think_step=3) == (2, 4)
    assert pick_branches(y, even(6, 2), min_gap=0, think_step=3, fallback="relax") == (2, 4)
    # One step before it: the authors' fallback goes on behind the thinking, ours branches once.
    assert pick_branches(y, even(6, 2), min_gap=0, think_step=2) == (2, 4)
    assert pick_branches(y, even(6, 2), min_gap=0, think_step=2, fallback="relax") == (2,)


def test_the_zero_of_the_first_step_is_one_of_the_scores() -> None:
    # The median of 0 .1 .2 is .1; without the zero it were .15.
    assert pick_branches(np.array([0.7, 0.1, 0.2]), even(3, 2), 1, min_gap=0, quantile=0.5) == (2,)


def test_quantile_over_eligible_steps() -> None:
    y = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.0, 0.0, 0.0])
    # All: 0 x5 .1 .2 .3 .4 .5, rank 7.2: .32. Eligible .1 .2 .3 .4 .5: rank 3.2: .42.
    assert pick_branches(y, even(10, 2), 1, min_gap=0) == (8,)
    assert pick_branches(y, even(10, 2), 1, min_gap=0, quantile_over="eligible") == (10,)


def test_golden_relaxed_gap() -> None:
    # Candidates at 4, 8, 12 (y .9). Gap 16: none; 8: only 8 (the next would start at 18); 4: 4 and 12.
    y = np.array([0, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1])
    assert pick_branches(y, even(10, 2), min_gap=16, quantile=0.8, fallback="relax") == (4, 12)
    assert pick_branches(y, even(10, 2), min_gap=16, quantile=0.8) == (2, 4)


def test_golden_next_best_score() -> None:
    # One candidate (offset 12); next best is .5 at 6, whatever the gap.
    y = np.array([0, 0.1, 0.2, 0.5, 0.3, 0.2, 0.9])
    assert pick_branches(y, even(7, 2), quantile=1.0, fallback="relax") == (6, 12)


@pytest.mark.parametrize("fallback", ["first_steps", "relax"])
@pytest.mark.parametrize(("count", "expected"), [(1, ()), (2, (3,)), (3, (3, 6))])
def test_few_steps_branch_fewer_times(fallback: Any, count: int, expected: tuple[int, ...]) -> None:
    assert pick_branches(np.zeros(count), even(count, 3), 2, fallback=fallback) == expected


def test_without_any_score_the_gap_alone_decides() -> None:
    # Starts 3, 6, 9. Halved to 2, the gap allows 3 and then 9, which is 3 from the end of the step at 3.
    assert pick_branches(np.zeros(4), even(4, 3), 2, fallback="relax") == (3, 9)
    assert pick_branches(np.zeros(4), even(4, 3), 2) == (3, 6)


def test_in_a_later_round_only_what_is_own_and_new_counts() -> None:
    flat = np.full(10, 0.1)
    # Inherited 6 tokens, forked there and at 12: the first starts after 6 are 8, 10, 14.
    assert pick_branches(flat, even(10, 2), min_gap=0, after=6, forked=(6, 12)) == (8, 10)
    # Gap 2 from the ends of the steps at 6 (8) and 12 (14), and before 12: starts >= 10 and stops <= 10; or >= 16.
    assert pick_branches(flat, even(10, 2), 1, min_gap=2, after=6, forked=(6, 12)) == (16,)
    # A fork inside a step counts as the token itself.
    assert pick_branches(flat, even(10, 2), 1, min_gap=3, after=5, forked=(5,)) == (8,)


def zeroed_scores(case: dict[str, Any]) -> tuple[list[float], int]:
    """Return the scores that count, and the first step that is excluded behind the thinking."""
    last = len(case["steps"]) if case["think_step"] is None else int(case["think_step"])
    return [0.0 if k == 0 or k >= last else float(s) for k, s in enumerate(case["scores"])], last


def greedy(case: dict[str, Any], gap: int) -> list[Step]:
    """Return the earliest high steps that are `gap` apart, by the published procedure, without its fallback."""
    scores, last = zeroed_scores(case)
    pool = scores if case["quantile_over"] == "steps" else scores[1 : max(1, min(last, len(scores) - case["delta"]))]
    threshold = float(np.quantile(pool, case["quantile"])) if pool else 0.0
    if threshold == 0 and any(s > 0 for s in pool):
        threshold = min(s for s in pool if s > 0)
    lead = case["prompt_tokens"] if case["gap_from"] == "prompt" else 0
    if (case["quantile_over"], case["fallback"]) == ("steps", "first_steps") and not any(s > 0 for s in pool):
        last = len(case["steps"])  # 0 >= 0: what was set to 0 behind the thinking is a candidate as well
    chosen: list[Step] = []
    for k, (start, stop) in enumerate(case["steps"]):
        far = start + lead >= gap and all(start - end >= gap for _, end in chosen)
        if 1 <= k < last and scores[k] >= threshold and far and len(chosen) < case["points"]:
            chosen.append((start, stop))
    return chosen


def spelled_out(case: dict[str, Any]) -> list[int]:
    """Return the chosen offsets with either fallback, duplicates left out."""
    gap = case["min_gap"]
    chosen = greedy(case, gap)
    spare = list(range(1, len(case["steps"])))
    if case["fallback"] == "relax":
        while len(chosen) < case["points"] and gap > 0:
            gap = gap // 2
            chosen = greedy(case, gap)
        scores, last = zeroed_scores(case)
        spare = sorted((k for k in spare if k < last), key=lambda k: (-scores[k], k))
    for k in spare:
        if len(chosen) < case["points"] and case["steps"][k] not in chosen:
            chosen.append(case["steps"][k])
    return sorted(start for start, _ in chosen)


@given(cases())
def test_equals_the_procedure_spelled_out_without_duplicates(case: dict[str, Any]) -> None:
    assert list(pick_branches(**case)) == spelled_out(case)


@given(cases())
def test_offsets_are_different_starts_of_later_steps(case: dict[str, Any]) -> None:
    found = pick_branches(**case)
    assert list(found) == sorted(set(found))
    assert set(found) <= {start for start, _ in case["steps"][1:]}
    free = len(case["steps"]) - 1
    if case["fallback"] == "relax" and case["think_step"] is not None:
        free = max(0, min(free, case["think_step"] - 1))
    assert len(found) == min(case["points"], free)
