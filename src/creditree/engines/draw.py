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


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
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


def draw(logits: Tensor, row: Tensor, uniform: Tensor, sampling: Sampling) -> Drawn:
    """Draw one token for each member from the row that it stands on.

    `logits` [n, V];  `row` [m], sorted ascending;  `uniform` [m] in [0, 1). Members of one row share its distribution,
    which is accumulated once. Computed in float32 at least; the cumulative sum in float64. Raises NonFiniteError for
    logits that give no distribution.
    """
    logits, untempered, distribution = _distributions(logits, sampling)
    # one NaN or +inf, or nothing but -inf, makes a whole row of log_softmax NaN
    if any(bool(one[:, 0].isnan().any()) for one in (untempered, distribution) if one is not None):
        raise NonFiniteError(NO_DISTRIBUTION)
    if distribution is None:
        token = logits.argmax(dim=-1)[row]
        sampler = torch.zeros_like(uniform)
    else:
        token = _inverse_cdf(distribution, row, uniform)
        sampler = distribution[row, token]
    return Drawn(token, untempered[row, token], sampler, _entropy(untempered, sampling))


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


def draw_each(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Drawn:
    """Draw one token from each row: `draw` for `logits` [n, V] and `uniform` [n], without a look at any result.

    The distribution is summed in blocks, of which one is accumulated: fewer passes over all logits. Sums are float64 of
    terms in the logits' precision, float32 at least; in float64 the tokens are `draw`'s but for rounding. A row without
    a distribution gets any token, and a log-probability that is NaN: whoever waits for the results has to look.
    """
    logits, untempered, distribution = _distributions(logits, sampling)
    if distribution is None:
        token = logits.argmax(dim=-1)
        sampler = torch.zeros_like(uniform)
    else:
        token = _by_blocks(distribution.exp(), uniform)
        sampler = distribution.gather(-1, token[:, None])[:, 0]
    logprob = untempered.gather(-1, token[:, None])[:, 0]
    return Drawn(token, logprob, sampler, _entropy(untempered, sampling))


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


def _by_blocks(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return for each row of `weights` [n, V] the first index whose cumulative sum exceeds `uniform` [n] of the total.

    A token of weight 0 is never returned.
    """
    num_tokens = weights.shape[1]
    size = math.gcd(num_tokens, _BLOCK)
    if size < _SMALLEST_BLOCK:
        size = _BLOCK
        weights = torch.nn.functional.pad(weights, (0, -weights.shape[1] % size))
    blocks = weights.view(len(weights), -1, size)
    ends = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = _below(uniform * ends[:, -1], ends[:, -1])
    # past the end only where the sums are NaN
    which = torch.searchsorted(ends, target[:, None], right=True).clamp(max=ends.shape[1] - 1)
    before = torch.where(which > 0, ends.gather(-1, (which - 1).clamp(min=0)), 0.0)
    inside = blocks.gather(1, which[:, :, None].expand(-1, 1, size))[:, 0].cumsum(dim=-1, dtype=torch.float64)
    rest = _below(target - before[:, 0], inside[:, -1])
    token = which[:, 0] * size + torch.searchsorted(inside, rest[:, None], right=True)[:, 0]
    return token.clamp(max=num_tokens - 1)


def _below(target: Tensor, total: Tensor) -> Tensor:
    return torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))


def _inverse_cdf(logprobs: Tensor, row: Tensor, uniform: Tensor) -> Tensor:
    cdf = logprobs.double().exp().cumsum(dim=-1)
    total = cdf[:, -1]
    per_row = torch.bincount(row, minlength=len(logprobs))
    first = per_row.cumsum(0) - per_row
    place = torch.arange(len(row), device=row.device) - first[row]
    target = torch.zeros(len(logprobs), int(per_row.max()), dtype=torch.float64, device=row.device)
    below_total = torch.nextafter(total, torch.zeros_like(total))
    target[row, place] = torch.minimum(uniform * total[row], below_total[row])
    return torch.searchsorted(cdf, target, right=True)[row, place]
