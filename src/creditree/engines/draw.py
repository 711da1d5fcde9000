"""Draw tokens by the inverse of the cumulative distribution, so that a token is a function of its uniform number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from creditree.engines.engine import Sampling


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
    which is accumulated once. Computed in float32 at least; the cumulative sum in float64.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    untempered = torch.log_softmax(logits, dim=-1)
    if sampling.temperature == 0.0:
        token = logits.argmax(dim=-1)[row]
        sampler = torch.zeros_like(uniform)
    else:
        distribution = (
            untempered if sampling.temperature == sampling.top_p == 1.0 else sampling_logprobs(logits, sampling)
        )
        token = _inverse_cdf(distribution, row, uniform)
        sampler = distribution[row, token]
    entropy = -(untempered.exp() * untempered).sum(dim=-1) if sampling.entropies else None
    return Drawn(token, untempered[row, token], sampler, entropy)


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
