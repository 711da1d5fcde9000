"""Tokens and floating-point operations of a training step, at most."""

from dataclasses import dataclass, replace

from creditree.learner.cost import Adapted, UpdateWork, full_update_flops, update_flops
from creditree.models.shapes import Shape
from creditree.plan.influence import influence_flops
from creditree.plan.skeleton import (
    Bush,
    PlannedStretch,
    attention_size,
    bush_at_most,
    bush_expected,
    forked_stack,
    stack_of,
)
from creditree.plan.store import EngineCall, training_calls
from creditree.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class StepCost:
    """Tokens of a step and its operations: a product of [n, m] and [m, k] is 2 n m k, all else counts nothing."""

    sampled: int
    decoded: int
    forwarded: int
    loss_terms: int
    prefill_flops: int
    decode_flops: int
    update_flops: int
    influence_flops: int


def step_cost(work: Workload, *, expected: bool = False) -> StepCost:
    """Return the cost of a step, at most or `expected` (see `predict`): each number by itself.

    Prefill and decoding: each token 2 numbers of the layers' matrices, and 4 queries a token seen and layer; each row
    that a token is drawn from 2 V hidden. Off-policy, forks are of completions of the step before: what they keep is
    forwarded again, once. Update: `creditree.learner.cost`, whose counts are held to torch's; several optimiser steps
    forward each token once. Influence: `creditree.plan.influence`.
    """
    work = work if expected else work.at_most
    kept = work.kept_expected if expected else 0
    bush = bush_expected(work) if expected else bush_at_most(work)
    length, group = work.max_new_tokens, work.problems * work.group
    first, later = group, group * work.replays + work.problems * work.forked
    sampled = first * length + later * (length - kept)
    decoded = first * (length - 1) + later * max(0, length - kept - 1)
    return StepCost(
        sampled=sampled,
        decoded=decoded,
        forwarded=bush.tokens,
        loss_terms=_terms(work, sampled),
        prefill_flops=_prefill(work, expected=expected),
        decode_flops=decoded * (_forward(work.shape) + int(_attention(work) * _seen(work)) + _vocabulary(work)),
        update_flops=_update(work, bush, kept),
        influence_flops=influence_flops(work, _calls(work, kept), _forward(work.shape), expected=expected),
    )


def _calls(work: Workload, kept: int) -> list[EngineCall]:
    """Return the calls of one step, whatever the policy."""
    return training_calls(replace(work, off_policy=False), kept, expected=True)


def _prefill(work: Workload, *, expected: bool) -> int:
    """Prompts, and off-policy the prompts and completions that forks go on from; rows that tokens are drawn from."""
    prompts, contexts = work.problems * work.prompt_tokens, work.problems * (1 + work.replays)
    flops = prompts * (_forward(work.shape) + _attention(work) * work.prompt_tokens // 2)
    if work.off_policy and work.branches is not None:
        kept = work.kept_expected if expected else work.max_new_tokens - 1
        again = prompts + work.problems * work.group * kept
        flops += again * (_forward(work.shape) + int(_attention(work) * _seen(work)))
        contexts += work.problems * work.group * work.branches.points
    return flops + contexts * _vocabulary(work)


def _seen(work: Workload) -> float:
    return work.prompt_tokens + work.max_new_tokens / 2


def _attention(work: Workload) -> int:
    return 4 * work.queries * work.shape.num_layers


def _vocabulary(work: Workload) -> int:
    return 2 * work.shape.vocab_size * work.shape.hidden_size


def _forward(shape: Shape) -> int:
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    sides = (shape.projection(name) for name in names)
    return 2 * shape.num_layers * sum(both[0] * both[1] for both in sides if both is not None)


def _terms(work: Workload, sampled: int) -> int:
    trees, leaves = work.problems * (1 + work.replays - work.withheld), work.leaves // (1 + work.replays)
    return min(sampled, work.learned.terms(trees, leaves, work.max_new_tokens))


def _update(work: Workload, bush: Bush, kept: int) -> int:
    targets = tuple(name for name in work.targets if work.shape.projection(name) is not None)
    rows = bush.rows if work.learns != "branching" else min(bush.rows, _terms(work, work.sampled) // 2)
    pairs = _pairs(work, bush, kept)
    counted = UpdateWork(bush.tokens, rows, pairs, min(pairs, rows * bush.tokens))
    if work.all_weights:
        return full_update_flops(work.shape, counted, reference=work.reference).total
    adapted = Adapted(work.layers, targets, work.rank)
    stored = work.stored_tokens is None
    return update_flops(work.shape, adapted, counted, reference=work.reference, stored_trunk=stored).total


def _pairs(work: Workload, bush: Bush, kept: int) -> int:
    single, most = replace(bush, count=1), work.micro_batch_tokens
    forked = forked_stack(work, kept)
    if forked is not None:
        prompt, *run, top = forked
        chains = work.leaves if not run else work.leaves // work.group
        tops = -(-chains // top.bush.chains) * _padded(top)
        parts = work.group * (_padded(run[0]) + tops) if run else tops
        return work.problems * (_padded(prompt) + parts)
    if single.tokens <= most or bush.chains * bush.length == 0:
        together = min(bush.count, max(1, most // single.tokens))
        part = replace(bush, count=together)
        return -(-bush.count // together) * _padded(PlannedStretch(part, part.tokens, part.rows))
    stem, top = stack_of(bush, most)
    return bush.count * (_padded(stem) + -(-bush.chains // top.bush.chains) * _padded(top))


def _padded(stretch: PlannedStretch) -> int:
    size = attention_size(stretch)
    return size.blocks * size.queries * size.keys
