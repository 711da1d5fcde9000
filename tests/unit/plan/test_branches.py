"""Forks, influence and all weights in a prediction, by hand and against what torch counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory_plan import PROMPT, Case, Run
from creditree.demand import Branches
from creditree.ledger import Seconds
from creditree.models import influence as module
from creditree.models.random_weights import random_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.models.transformer import Transformer
from creditree.plan.assumptions import assumed
from creditree.plan.fit import cards
from creditree.plan.flops import step_cost
from creditree.plan.full_update import layer_bytes
from creditree.plan.influence import influence_flops, pass_bytes, sum_bytes
from creditree.plan.prediction import predict
from creditree.plan.skeleton import bush_expected, forked_stack, latest_fork, stack_of
from creditree.plan.store import EMPTY, EngineCall, Sharing, carried, room_of, training_calls
from creditree.plan.workload import Workload
from creditree.problem import Problem
from creditree.rng import Key
from creditree.schedule.fixed import Fixed
from creditree.signals import InfluenceSpec
from creditree.tasks.split import Split
from creditree.tasks.task import PromptTemplate
from creditree.train.pipeline import Pipeline

SHAPE = Shape(2, 32, 4, 2, 8, 48, 4096, 4096, qkv_bias=True)
PASS = Branches(2, 1, 2)
DECODING = InfluenceSpec(source="decoding")
WORK = Workload(SHAPE, "float32", (1,), 12, 41, 6, problems=2, native=False, branches=PASS, influence=InfluenceSpec())
NUMBERS = 32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 48
"""In the seven matrices of a layer."""


def test_forks_share_the_prompt_and_what_they_keep() -> None:
    # 6 contexts: 3 chains with 2 points each, of one prompt of 12 tokens, which keep 5
    assert Sharing(12, 12, 2).slots(6, 17) == 12 + 3 * 5
    call = EngineCall(6, 12, 17, 0, 20, sharing=Sharing(12, 12, 2))
    assert (call.fresh, call.slots, replace(call, stored=0, new=17).fresh) == (0, 27, 27)


def test_a_step_stores_the_group_and_what_grows_below_it() -> None:
    first, forks = training_calls(WORK, 20, expected=True)
    assert (first.completions, first.budget, first.observed) == (12, 41, True)
    assert (forks.contexts, forks.completions, forks.length, forks.budget, forks.observed) == (24, 48, 32, 21, False)
    # the root, 2 prompts, 12 chains of 40 stored tokens, and 48 continuations of 20
    assert room_of(WORK, [first, forks], EMPTY).used == 1 + 2 * 12 + 12 * 40 + 48 * 20


def test_off_policy_the_first_step_samples_two_groups_and_later_ones_forward_contexts_again() -> None:
    work = replace(WORK, off_policy=True)
    start = training_calls(work, 20, expected=True)
    assert [call.completions for call in start] == [12, 12, 48]
    assert carried(work, start) == 0
    later = training_calls(replace(work, most_problems=8), 20)
    assert [call.completions for call in later] == [48, 192]
    # 8 prompts, and 20 tokens of each of 48 chains
    assert later[1].fresh == 8 * 12 + 48 * 20
    assert carried(work, later) == 48 * 41


class Task:
    """The problems of `benchmarks.memory_plan`, without end."""

    name = "turned"
    notes = ()
    prompt = PromptTemplate()
    num_training = None

    def training(self, key: Key, index: int) -> Problem:
        """Return a problem with the prompt turned by `index` letters."""
        return Problem(str(index), PROMPT[index:] + PROMPT[:index], ())

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return none."""
        return ()


def test_slots_of_a_pipeline_are_predicted() -> None:
    run = Run(Case("tiny", "treerl", 4, 64, problems=2), "cpu")
    work = replace(run.workload, off_policy=True)
    pipeline = Pipeline(run.rollout, Task(), run.method.explore, Fixed(off_policy=True), Key.of(0), 2)
    used = []
    for number in range(2):
        pipeline.step(number, Seconds())
        used.append(run.engine.store.used)
    start = room_of(work, training_calls(work, work.kept_expected, expected=True))
    # later steps of 3 problems store 3 / 2 of what those of 2 do
    later = room_of(work, training_calls(replace(work, most_problems=3), work.kept_expected))
    assert used[0] == pytest.approx(start.used, rel=0.02)
    assert used[1] == pytest.approx(1 + (later.used - 1) * 2 / 3, rel=0.02)
    assert start.capacity >= run.engine.store.capacity


def test_rounds_look_at_what_grew_before_but_the_last_one() -> None:
    rounds = replace(WORK, branches=replace(PASS, rounds=3))
    assert [call.observed for call in training_calls(rounds, 20)] == [True, True, True, False]
    assert rounds.leaves == 6 + 6 * 2 * 3 * 2


def test_a_chain_that_does_not_fit_is_a_stack_of_three() -> None:
    work = replace(WORK, micro_batch_tokens=64)
    # 20 + 5 x 20 tokens below a chain are more than 64, in which 3 of the 20 fit
    stack = forked_stack(work, 20)
    assert stack is not None
    assert [stretch.tokens for stretch in stack] == [12, 20, 60]
    # two chains with what is below them, of 120 tokens each, fit 300; all 6 and the prompt fit 732
    fitting = forked_stack(replace(work, micro_batch_tokens=300), 20)
    assert fitting is not None
    assert [stretch.tokens for stretch in fitting] == [12, 240]
    assert forked_stack(replace(work, micro_batch_tokens=732), 20) is None
    # 13 tokens after the fork fill 64 with 5 chains
    assert latest_fork(work) == 40 - 13
    # 2 x (12 + 6 x 40 + 24 x 20) tokens in all
    assert bush_expected(WORK).tokens == 2 * (12 + 720)
    assert len(stack_of(bush_expected(WORK), 2048)) == 1


def test_bytes_of_the_pass_by_hand() -> None:
    # 12 completions of 53 tokens in one pass; of each 41 - 3 are forwarded at most, 41 - 24 to expect
    call = training_calls(WORK, 0)[0]
    for expected, new in ((False, 38), (True, 17)):
        row = 12 * 4 * 53 * 4
        attention = 12 * new * (32 + 3 * 32 + 3 * 16) * 4 + 12 * (2 * 53 - new) * 32 * 4 + row + 2 * row * new
        assert pass_bytes(WORK, [call], expected=expected) == attention + 12 * 53 * 20
    assert pass_bytes(replace(WORK, influence=None), [call], expected=False) == 0


def test_bytes_of_sums_by_hand() -> None:
    decoding = replace(WORK, influence=replace(DECODING, layers=(1,), heads=(0, 1, 2)))
    call = training_calls(decoding, 0)[0]
    # 2 + 41 // 8 = 7 steps: room for 8 in torch, 14 in native code, which holds every layer and head
    assert sum_bytes(decoding, [call]) == 2 * 12 * 1 * 3 * 8 * 4
    assert sum_bytes(replace(decoding, native=True), [call]) == 2 * 12 * 2 * 4 * 14 * 4
    assert sum_bytes(replace(decoding, static=True), [call]) == 0
    assert pass_bytes(decoding, [call], expected=True) == 0
    assert pass_bytes(decoding, [call], expected=False) > 0
    assert "influence" not in {phase.name for phase in predict(decoding, expected=True).phases}


def test_operations_of_the_pass_are_what_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)  # a query after the other: none multiplies what it does not see
    transformer = Transformer(random_model(SHAPE, torch.float32))
    steps = [[(0, 12), *((start, start + 1) for start in range(12, 53))]] * 3
    ids = [np.arange(53) + row for row in range(3)]
    first = 12 + 3
    past = torch.zeros(3, 2, first, 8)
    with FlopCounterMode(display=False) as counter:
        module.influence(transformer, ids, steps, InfluenceSpec(delta=4), first, lambda layer, heads: (past, past))
    call = EngineCall(3, 3, 0, 12, 41, observed=True)
    found = influence_flops(WORK, [call], 2 * 2 * NUMBERS, expected=False)
    # the last 4 tokens that a query sees are in no column sum of it: 2 of 4 x 8 + 2 operations, of 4 tokens in 34
    assert counter.get_total_flops() == pytest.approx(found, rel=2e-3)


def test_operations_of_influence_are_a_row_of_their_own() -> None:
    decoding = replace(WORK, influence=DECODING)
    none = replace(WORK, influence=None)
    passed, looked, nothing = (step_cost(work, expected=True).influence_flops for work in (WORK, decoding, none))
    assert passed > 10 * looked > nothing == 0
    # 12 completions' last tokens, which see 53
    assert looked == 12 * (2 * 2 * NUMBERS + 4 * 32 * 2 * 53)
    assert step_cost(WORK).update_flops == step_cost(none).update_flops


def test_kept_activations_of_all_weights_by_hand() -> None:
    work = replace(WORK, all_weights=True, branches=None, influence=None, group=2)
    (stretch,) = stack_of(bush_expected(replace(work, problems=1, max_new_tokens=11)), 1024)
    # 12 + 2 x 10 tokens in one block: 6 x 32 + 4 x 48 + 32 + 2 numbers each, and in attention 2 x 32 + 4 and 2 x 16
    assert layer_bytes(work, stretch) == 4 * 32 * (192 + 192 + 32 + 2 + 68 + 32)


def test_all_weights_hold_the_gradient_between_updates_and_copies_for_checkpoints() -> None:
    shape = PUBLIC_SHAPES["Qwen/Qwen2-0.5B"]
    work = Workload(shape, "float32", tuple(range(24)), 80, 200, 16, all_weights=True, evaluation_problems=8)
    size = 4 * shape.num_parameters
    for phase in predict(work).phases:
        assert phase.parts["policy"] == size
        whole = phase.name != "update"
        assert (phase.parts["optimiser"] == 3 * size) if whole else (2 * size < phase.parts["optimiser"] <= 3 * size)
    host, device = (predict(replace(work, on_host=on_host)).phases[-1] for on_host in (True, False))
    assert (host.parts["copies"], device.parts["copies"]) == (9 * size, size)
    best = predict(replace(work, validates=True)).phases
    assert all(phase.parts["best"] == size for phase in best)
    assert {card.dtype for card in cards(work)} == {"float32"}


def test_what_is_assumed_is_said() -> None:
    work = replace(WORK, off_policy=True, most_problems=8, mini_batch=30, all_weights=True)
    text = " ".join(assumed(work))
    for words in ("2 points", "a pass over", "8 at most, 2 to expect", "1 problem each", "three times"):
        assert words in text
    assert assumed(replace(WORK, branches=None, influence=None)) == []
