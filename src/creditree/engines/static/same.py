"""Whether a step in other kernels computes what the plain step computes, but for rounding."""

import torch
from torch import Tensor

from creditree.engines.static.graphs import Step, rehearse
from creditree.engines.static.step import DecodeStep

_TOLERANCE = {torch.bfloat16: 0.1, torch.float16: 0.05, torch.float32: 1e-3, torch.float64: 1e-6}
"""Differences that rounding makes in a whole model: of hidden states, relative; of log-probabilities and shares."""


@torch.no_grad()
def check_same(plain: DecodeStep, other: Step) -> None:
    """Run both steps once, undo them, and compare what they left. RuntimeError if `other` is no use.

    Compared are the last hidden states, and whether the tokens drawn are those of the plain step's distribution: with
    its log-probabilities, and for their uniform numbers. Tokens themselves may differ where rounding moves a boundary.
    """
    to = plain.buffers
    tolerance = _TOLERANCE[plain.transformer.dtype]
    rehearse(plain, to.state)
    states = to.large["hidden"].index_select(1, to.column)[:, 0].clone()
    rehearse(other, to.state)
    theirs = to.large["hidden"].index_select(1, to.column)[:, 0]
    if not _near(theirs, states, tolerance):
        raise RuntimeError("its hidden states are not the plain step's")
    token, logprob, sampler = (kind.index_select(1, to.column + 1)[:, 0] for kind in to.out[:3])
    on = torch.arange(len(token), device=token.device) if to.row is None else to.row
    logits = plain.transformer.logits(plain.transformer.norm(states)).float()
    table = torch.log_softmax(logits, dim=-1)
    place = token.long().clamp(0, logits.shape[1] - 1)
    if not _close(logprob, table[on, place], tolerance):
        raise RuntimeError("its log-probabilities are not the plain step's")
    sampling = plain.sampling
    if sampling.temperature == 0.0:
        right = bool((table[on, place] >= table.amax(dim=-1)[on] - tolerance).all())
    elif sampling.top_p < 1.0:
        right = True  # these are drawn by the plain step's own function
    else:
        tempered = torch.log_softmax(logits / sampling.temperature, dim=-1)
        upto = tempered.exp().cumsum(dim=-1)[on, place].double()
        uniform = to.uniform.index_select(1, to.column + 1)[:, 0]
        before = upto - tempered[on, place].exp().double()
        right = bool(((before - tolerance <= uniform) & (uniform <= upto + tolerance)).all())
        right &= _close(sampler, tempered[on, place], tolerance / sampling.temperature)
    if not right:
        raise RuntimeError("its tokens are not those of their uniform numbers")


def _near(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    """Return whether each row is near the other, relative to its length. NaN is near nothing."""
    apart = (ours.double() - theirs.double()).norm(dim=-1)
    return bool((apart <= tolerance * theirs.double().norm(dim=-1)).all())


def _close(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    """Return whether numbers are close on the average."""
    return bool((ours.double() - theirs.double()).abs().mean() <= tolerance)
