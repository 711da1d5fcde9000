"""Counted work of one step of each method: what a shortcut saved must stay saved.

Counts are exact, where seconds on a shared machine are not. A change that raises one of them is a regression; one that
lowers it is welcome, and writes the new number here.
"""

from dataclasses import dataclass

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.allocator import allocator_peak
from benchmarks.memory_plan import PROMPT, Case, Run
from creditree.ledger import Seconds
from creditree.problem import Problem
from creditree.rng import Key
from tests.rollouts import grown

GROUP, TOKENS = 8, 64
MARGIN = 1.02
"""Of the allocator's peaks: another release of torch may round its blocks differently."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one step costs."""

    sampled: int
    decoded: int
    unique: int
    forwarded: int
    terms: int
    positions: int
    flops: int


def work_of(method: str) -> tuple[Work, int, int]:
    """Return the work of the first step, and the bytes that sampling and the update added at their peaks."""
    run = Run(Case("tiny", method, GROUP, TOKENS), "cpu")
    problem, key = Problem("0", PROMPT, ()), Key.of(0).at("problem", 0)
    with allocator_peak() as sampling:
        forests, ledger = grown(run.rollout, run.method.explore, [problem], [key], Seconds())
    batch = run.batch(forests, 0)
    with FlopCounterMode(display=False) as counter:
        run.learner.gradient(batch, Key.of(0))
    run.learner.step(batch, Key.of(0))  # from here the optimiser's moments are held
    with allocator_peak() as update:
        run.learner.step(batch, Key.of(0))
    counted = Work(
        ledger.sampled, ledger.decoded, ledger.unique_prefixes, batch.num_tokens, batch.num_terms,
        len(set(batch.row.tolist())), counter.get_total_flops(),
    )  # fmt: skip
    return counted, sampling.peak, update.peak


GRPO = Work(512, 505, 505, 544, 512, 505, 887_971_840)
S_GRPO = Work(512, 505, 505, 409, 256, 249, 544_501_760)
T_SPMO = Work(512, 505, 505, 40, 8, 1, 31_252_480)


@pytest.mark.parametrize(
    ("method", "expected", "sampling", "update"),
    [
        ("grpo", GRPO, 2_291_716, 11_975_008),
        ("s-grpo", S_GRPO, 2_291_716, 7_408_200),
        ("t-spmo", T_SPMO, 2_291_716, 636_224),
    ],
)
def test_a_step_costs_no_more_work(method: str, expected: Work, sampling: int, update: int) -> None:
    counted, sampling_peak, update_peak = work_of(method)
    assert counted == expected
    assert sampling_peak <= MARGIN * sampling
    assert update_peak <= MARGIN * update


def test_the_numbers_are_those_of_the_laws() -> None:
    for counted in (GRPO, S_GRPO, T_SPMO):
        assert counted.sampled == GROUP * TOKENS
        assert counted.decoded == counted.unique  # every prefix once, however many completions stand on it
    # each completion learns from all its tokens, or from the half of them that S-GRPO's cap lets through
    assert (GRPO.terms, S_GRPO.terms) == (GROUP * TOKENS, GROUP * TOKENS // 2)
    # the prompt, and all prefixes but those that end a completion: 40 + 505 - 1, since the prompt is a prefix too
    assert GRPO.forwarded == len(PROMPT) + GRPO.unique - 1
    # the completions all part at their first token: the prompt is forwarded, and its last position alone has logits
    assert (T_SPMO.forwarded, T_SPMO.positions) == (len(PROMPT), 1)
