"""Tokens and floating-point operations of a training step, at most."""

from dataclasses import dataclass, replace

from creditree.learner.cost import Adapted, UpdateWork, update_flops
from creditree.models.shapes import Shape
from creditree.plan.skeleton import Bush, Stretch, attention_size, bush_at_most, bush_expected, stack_of
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


def step_cost(work: Workload, *, expected: bool = False) -> StepCost:
    """Return the cost of a step, at most or `expected` (see `predict`).

    Prefill and decoding: each token 2 numbers of the layers' matrices, and 4 queries a token seen and layer; each row
    that a token is drawn from 2 V hidden. Update: `creditree.learner.cost`, whose counts are held to torch's.
    """
    kept = work.kept_expected if expected else 0
    bush = bush_expected(work) if expected else bush_at_most(work)
    first, later = work.problems * work.group, work.problems * work.group * work.replays
    length = work.max_new_tokens
    sampled = first * length + later * (length - kept)
    decoded = first * (length - 1) + later * max(0, length - kept - 1)
    prefilled = work.problems * work.prompt_tokens
    contexts = work.problems * (1 + work.replays)
    seen = work.prompt_tokens + length / 2
    vocabulary = 2 * work.shape.vocab_size * work.shape.hidden_size
    attention = 4 * work.queries * work.shape.num_layers
    return StepCost(
        sampled=sampled,
        decoded=decoded,
        forwarded=bush.tokens,
        loss_terms=_terms(work, sampled),
        prefill_flops=prefilled * (_forward(work.shape) + attention * work.prompt_tokens // 2) + contexts * vocabulary,
        decode_flops=decoded * (_forward(work.shape) + int(attention * seen) + vocabulary),
        update_flops=_update(work, bush),
    )


def _forward(shape: Shape) -> int:
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    sides = (shape.projection(name) for name in names)
    return 2 * shape.num_layers * sum(both[0] * both[1] for both in sides if both is not None)


def _terms(work: Workload, sampled: int) -> int:
    """All sampled tokens; as many as learn of each completion; or 2 (L - 1) of a tree with L completions."""
    if work.early is not None:
        return min(sampled, work.completions * work.early.chosen)
    if work.learns == "branching":
        return min(sampled, work.problems * (1 + work.replays) * 2 * (work.group - 1))
    return sampled


def _update(work: Workload, bush: Bush) -> int:
    targets = tuple(name for name in work.targets if work.shape.projection(name) is not None)
    rows = bush.rows if work.learns != "branching" else min(bush.rows, _terms(work, work.sampled) // 2)
    pairs = _pairs(work, bush)
    last = min(pairs, rows * bush.tokens)
    adapted = Adapted(work.layers, targets, work.rank)
    counted = UpdateWork(bush.tokens, rows, pairs, last)
    stored = work.stored_tokens is None
    return update_flops(work.shape, adapted, counted, reference=work.reference, stored_trunk=stored).total


def _pairs(work: Workload, bush: Bush) -> int:
    one, most = replace(bush, count=1), work.micro_batch_tokens
    if one.tokens <= most or bush.chains * bush.length == 0:
        together = min(bush.count, max(1, most // one.tokens))
        part = replace(bush, count=together)
        return -(-bush.count // together) * _padded(Stretch(part, part.tokens, part.rows))
    stem, top = stack_of(bush, most)
    return bush.count * (_padded(stem) + -(-bush.chains // top.bush.chains) * _padded(top))


def _padded(stretch: Stretch) -> int:
    size = attention_size(stretch)
    return size.blocks * size.queries * size.keys
