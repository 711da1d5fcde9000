"""Log-probabilities of chosen tokens, without ever holding all logits."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from creditree.models.transformer import Transformer


def token_logprobs(
    transformer: Transformer, hidden: Tensor, row: Tensor, token: Tensor, temperature: float, max_logits: int = 1 << 24
) -> Tensor:
    """Return log softmax(logits / temperature)[token] for each term, [M], at least in float32.

    `hidden` [U, width]: states after the last layer at U different positions, before the final norm; `row` [M] (sorted)
    names the position of each term, `token` [M] the token it predicts. Positions go through the head in chunks of at
    most `max_logits` logits; with gradients and more than one chunk, logits are computed again in the backward pass.
    """
    rows_per_chunk = max(1, max_logits // transformer.vocab_size)
    starts = range(0, len(hidden), rows_per_chunk)
    bounds = torch.searchsorted(row, torch.tensor([*starts, len(hidden)], device=row.device)).tolist()

    def of_chunk(states: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        logits = transformer.logits(transformer.norm(states))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return torch.log_softmax(logits / temperature, dim=-1)[rows, tokens]

    pieces = []
    for index, start in enumerate(starts):
        terms = slice(bounds[index], bounds[index + 1])
        arguments = (hidden[start : start + rows_per_chunk], row[terms] - start, token[terms])
        if len(starts) > 1 and torch.is_grad_enabled():
            pieces.append(checkpoint(of_chunk, *arguments, use_reentrant=False))
        else:
            pieces.append(of_chunk(*arguments))
    return torch.cat(pieces)
