"""Draw tokens by the inverse of the cumulative distribution, so that a token is a function of its uniform number."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions
from creditree.engines.engine import Sampling
from creditree.errors import NonFiniteError
from creditree.tree import IntArray

NO_DISTRIBUTION = "logits are NaN or infinite"
_BLOCK, _SMALLEST_BLOCK = 512, 16
_ROWS = 8
"""Rows whose logits are worked on at once on a CPU: few enough to stay in its cache with a large vocabulary."""


@dataclass(frozen=True, eq=False, slots=True)
class Draws:
    """Tokens [m] with their log-probabilities in nats; `entropy` [n] per row, or None."""

    token: Tensor
    logprob: Tensor
    sampler_logprob: Tensor
    entropy: Tensor | None


def sampling_logprobs(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return log-probabilities [n, V] of the sampling distribution (temperature > 0), -inf outside the nucleus.

    The nucleus is the smallest set of most likely tokens whose probability reaches top_p.
    """
    logprobs = torch.log_softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p >= 1.0:
        return logprobs
    ordered, index = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    outside = torch.zeros_like(before, dtype=torch.bool).scatter(-1, index, before >= sampling.top_p)
    return torch.log_softmax(logprobs.masked_fill(outside, -torch.inf), dim=-1)


def draw(logits: Tensor, row: Tensor, uniform: Tensor, sampling: Sampling) -> Draws:
    """Draw one token for each member from the row that it stands on.

    `logits` [n, V];  `row` [m], sorted ascending;  `uniform` [m] in [0, 1). Members of one row share its distribution,
    which is summed once: by blocks in the logits' precision (float32 at least), over blocks in float64. Raises
    NonFiniteError for logits that give no distribution.
    """
    if logits.device.type != "cpu" or len(logits) <= _ROWS:
        return _drawn(logits, row, uniform, sampling)
    starts = torch.arange(0, len(logits), _ROWS)
    counts = torch.diff(torch.searchsorted(row, starts), append=torch.tensor([len(row)])).tolist()
    pieces = zip(starts.tolist(), logits.split(_ROWS), row.split(counts), uniform.split(counts), strict=True)
    draws = [_drawn(some, on - start, numbers, sampling) for start, some, on, numbers in pieces]
    token, logprob, sampler = (
        torch.cat(parts)
        for parts in zip(*((draw.token, draw.logprob, draw.sampler_logprob) for draw in draws), strict=True)
    )
    entropies = [draw.entropy for draw in draws if draw.entropy is not None]
    return Draws(token, logprob, sampler, torch.cat(entropies) if entropies else None)


def _drawn(logits: Tensor, row: Tensor, uniform: Tensor, sampling: Sampling) -> Draws:
    """Draw from few rows, with as few passes over them and as little new memory as may be."""
    shifted = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
    shifted -= shifted.amax(dim=-1, keepdim=True)
    weights = shifted.exp()
    log_total = weights.sum(dim=-1).log()
    if bool(log_total.isnan().any()):  # of one NaN or +inf, or of nothing but -inf
        raise NonFiniteError(NO_DISTRIBUTION)
    if sampling.temperature == 0.0:
        token = _first_largest(shifted)[row]
        sampler = torch.zeros_like(uniform)
    elif sampling.top_p < 1.0:
        distribution = sampling_logprobs(shifted, sampling)
        token = _by_blocks(distribution.exp(), uniform, row)
        sampler = distribution[row, token]
    else:
        torch.div(shifted, sampling.temperature, out=weights).exp_()
        token = _by_blocks(weights, uniform, row)
        sampler = shifted[row, token] / sampling.temperature - weights.sum(dim=-1).log()[row]
    entropy = _entropy(shifted - log_total[:, None], sampling) if sampling.entropies else None
    return Draws(token, shifted[row, token] - log_total[row], sampler, entropy)


def draw_into(completions: Completions, which: IntArray, row: IntArray, logits: Tensor, step: int) -> IntArray:
    """Draw token `step` of the completions `which` [m], standing on rows `row` [m] of `logits`; return the tokens."""
    uniform = torch.from_numpy(completions.uniform[which, step]).to(logits.device)
    drawn = draw(logits, torch.from_numpy(row).to(logits.device), uniform, completions.sampling)
    tokens = np.asarray(drawn.token.cpu().numpy(), dtype=np.int64)
    completions.tokens[which, step] = tokens
    completions.logprobs[which, step] = drawn.logprob.double().cpu().numpy()
    completions.sampler_logprobs[which, step] = drawn.sampler_logprob.double().cpu().numpy()
    if completions.entropies is not None and drawn.entropy is not None:
        completions.entropies[which, step] = drawn.entropy.double().cpu().numpy()[row]
    completions.drawn[which] = step + 1
    return tokens


def _first_largest(shifted: Tensor) -> Tensor:
    """Return the first index of each row's maximum, which is 0: `argmax` is slow where a row is long."""
    blocks = _blocks(shifted, -torch.inf)
    which = (blocks.amax(dim=-1) == 0).byte().argmax(dim=-1)
    inside = (blocks[torch.arange(len(blocks), device=which.device), which] == 0).byte().argmax(dim=-1)
    return which * blocks.shape[2] + inside


def draw_each(logits: Tensor, uniform: Tensor, sampling: Sampling, row: Tensor | None = None) -> Draws:
    """Draw one token from each row: `draw` for `logits` [n, V] and `uniform` [n], without a look at any result.

    With `row` [m] (in any order), one for each of m members from the row that it stands on, with `uniform` [m]; the
    entropy is then each member's, too.

    In float64 the tokens are `draw`'s but for rounding. A row without a distribution gets any token, and a
    log-probability that is NaN: whoever waits for the results has to look.
    """
    logits, untempered, distribution = _distributions(logits, sampling)
    if distribution is None:
        token = logits.argmax(dim=-1)
        token = token if row is None else token.index_select(0, row)
        sampler = torch.zeros_like(uniform)
    else:
        token = _by_blocks(distribution.exp(), uniform, row)
        sampler = _at(distribution, token, row)
    entropy = _entropy(untempered, sampling)
    if entropy is not None and row is not None:
        entropy = entropy.index_select(0, row)
    return Draws(token, _at(untempered, token, row), sampler, entropy)


def _at(table: Tensor, token: Tensor, row: Tensor | None) -> Tensor:
    return table.gather(-1, token[:, None])[:, 0] if row is None else table[row, token]


def _distributions(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits in float32 at least, log-probabilities, and those to sample from (None: greedily)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    untempered = torch.log_softmax(logits, dim=-1)
    if sampling.temperature == 0.0:
        return logits, untempered, None
    plain = sampling.temperature == sampling.top_p == 1.0
    return logits, untempered, untempered if plain else sampling_logprobs(logits, sampling)


def _entropy(untempered: Tensor, sampling: Sampling) -> Tensor | None:
    return -(untempered.exp() * untempered).sum(dim=-1) if sampling.entropies else None


def _by_blocks(weights: Tensor, uniform: Tensor, row: Tensor | None) -> Tensor:
    """Return for each row of `weights` [n, V] the first index whose cumulative sum exceeds `uniform` [n] of the total.

    With `row` [m]: for each of m members that stand on these rows. A token of weight 0 is never returned.
    """
    num_tokens, blocks = weights.shape[1], _blocks(weights, 0.0)
    size = blocks.shape[2]
    ends = blocks.sum(dim=-1).double().cumsum(dim=-1)
    ends = ends if row is None else ends.index_select(0, row)
    target = _below(uniform * ends[:, -1], ends[:, -1])
    # past the end only where the sums are NaN
    which = torch.searchsorted(ends, target[:, None], right=True).clamp(max=ends.shape[1] - 1)
    before = torch.where(which > 0, ends.gather(-1, (which - 1).clamp(min=0)), 0.0)
    own = torch.arange(len(blocks), device=blocks.device) if row is None else row
    block = blocks[own, which[:, 0]]
    inside = block.cumsum(dim=-1, dtype=torch.float64)
    rest = _below(target - before[:, 0], inside[:, -1])
    token = which[:, 0] * size + torch.searchsorted(inside, rest[:, None], right=True)[:, 0]
    return token.clamp(max=num_tokens - 1)


def _blocks(rows: Tensor, filler: float) -> Tensor:
    """Return `rows` [n, V] in blocks [n, blocks, size], filled up where no block size divides V."""
    size = math.gcd(rows.shape[1], _BLOCK)
    if size < _SMALLEST_BLOCK:
        size = _BLOCK
        rows = torch.nn.functional.pad(rows, (0, -rows.shape[1] % size), value=filler)
    return rows.view(len(rows), -1, size)


def _below(target: Tensor, total: Tensor) -> Tensor:
    return torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
