"""From hidden states to the loss and back: logits are computed once, in chunks, and none outlives its chunk."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.models.arrays import on_device
from creditree.models.transformer import Transformer
from creditree.tree import IntArray

MAX_LOGITS = 192 << 15
"""Logits of one chunk, and so the size of the one buffer that they take turns in: 25 MB in float32. Ours: with a
vocabulary of 32,768, 192 rows go through the head a tenth faster than 128, and 512 a few percent faster still."""
MAX_LOGITS_ON_GPU = 1 << 26
"""The same on a GPU: 268 MB in float32. With a vocabulary of 151,936 that is 441 rows, where launching the kernels of a
chunk does not take longer than running them. Ours."""
LEAST_ROWS = 192
"""Rows of a chunk, whatever the vocabulary: with fewer, the head's weights are read more often than they are used.
Ours: with a vocabulary of 151,936 a whole update of GRPO takes 1.2 times as long with 64."""

TermLoss = Callable[[Tensor, slice], Tensor]
"""The loss of some terms, a scalar with gradient, from their log-probabilities and which terms they are."""


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """What is predicted from which hidden state: `row` [M], ascending, of the states, and `token` [M].

    `known`: the same rows on the host, where it can be seen which chunk a term is in without waiting for the device.
    """

    row: Tensor
    token: Tensor
    known: IntArray

    @classmethod
    def of(cls, row: IntArray, token: IntArray, device: torch.device) -> "Predictions":
        """Return the predictions of tokens from rows, on a device."""
        return cls(on_device(row, device), on_device(token, device), row)

    def chunks(self, count: int, rows: int) -> Iterator[tuple[slice, slice, "Predictions"]]:
        """Yield the states, up to `rows` of `count`, and the terms of each chunk, rows counted from its first."""
        starts = range(0, count, rows)
        bounds = np.searchsorted(self.known, [*starts, count]).tolist()
        for start, first, stop in zip(starts, bounds[:-1], bounds[1:], strict=True):
            terms = slice(first, stop)
            part = Predictions(self.row[terms] - start, self.token[terms], self.known[terms] - start)
            yield slice(start, start + rows), terms, part


def rows_per_chunk(vocab_size: int, count: int, *, on_host: bool) -> int:
    """Return how many of `count` hidden states go through the head together: chunks of one size, as far as it goes."""
    most = max(LEAST_ROWS, (MAX_LOGITS if on_host else MAX_LOGITS_ON_GPU) // vocab_size)
    return math.ceil(count / math.ceil(count / most)) if count else 1


@torch.no_grad()
def token_logprobs(
    transformer: Transformer, hidden: Tensor, asked: Predictions, temperature: float, rows: int | None = None
) -> Tensor:
    """Return log softmax(logits / temperature)[token] of each term [M], at least in float32, without gradient.

    `hidden` [U, width]: states after the last layer, before the final norm;  `rows`: how many go through together.
    """
    rows, buffer = _buffer(transformer, hidden, rows)
    logprobs = []
    for states, _, part in asked.chunks(len(hidden), rows):
        logits, _ = transformer.predict(hidden[states], buffer)
        logprobs.append(_log_softmax(logits, part, temperature)[0])
    return torch.cat(logprobs) if logprobs else hidden.new_zeros(0)


@torch.no_grad()
def head_loss(
    transformer: Transformer,
    hidden: Tensor,
    asked: Predictions,
    temperature: float,
    loss_of: TermLoss,
    rows: int | None = None,
    *,
    learns: bool = True,
) -> tuple[list[Tensor], Tensor]:
    """Return losses that sum to that of all terms, and its gradient [U, width] with respect to the hidden states.

    The losses stay on the device: to look at one would make a GPU wait for the host. The gradient of norm and head is
    added to theirs, where they learn. Without `learns`, only the loss is computed.

    With logits z, p = softmax(z / temperature) and d[m] = d loss / d log p of term m, the gradient of row r's logits is
    the sum over its terms of d[m] (onehot(token[m]) - p[r]) / temperature. It takes the place of the logits and goes
    back through the head at once: two products in all, and one buffer.
    """
    rows, buffer = _buffer(transformer, hidden, rows)
    losses: list[Tensor] = []
    grad = torch.empty_like(hidden)
    for states, terms, part in asked.chunks(len(hidden), rows):
        logits, back = transformer.predict(hidden[states], buffer)
        logprobs, probabilities = _log_softmax(logits, part, temperature)
        loss, slope = _slope(logprobs, terms, loss_of)
        losses.append(loss)
        if not learns:
            continue
        slope = slope / temperature
        of_row = slope.new_zeros(len(logits), 1).index_add_(0, part.row, slope[:, None])
        probabilities.mul_(-of_row).index_put_((part.row, part.token), slope, accumulate=True)
        grad[states] = back(probabilities if probabilities.dtype == logits.dtype else logits.copy_(probabilities))
        del probabilities  # or they would be held beside the next chunk's
    return losses, grad


def _buffer(transformer: Transformer, hidden: Tensor, rows: int | None) -> tuple[int, Tensor]:
    on_host = hidden.device.type == "cpu"
    rows = rows_per_chunk(transformer.vocab_size, len(hidden), on_host=on_host) if rows is None else rows
    needed = max(transformer.head_rows(rows), transformer.head_rows(len(hidden) % rows))
    return rows, hidden.new_empty(needed, transformer.vocab_size)


def _log_softmax(logits: Tensor, predictions: Predictions, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the tokens asked for, and all probabilities, where the logits were if float32."""
    values = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature != 1.0:
        values.div_(temperature)
    chosen, largest = values[predictions.row, predictions.token], values.amax(dim=-1)
    torch.softmax(values, dim=-1, out=values)
    # p of the largest logit is 1 / sum(exp(z - largest)): the sum needs no pass of its own
    normaliser = largest - values.amax(dim=-1).log()
    return chosen - normaliser[predictions.row], values


@torch.enable_grad()
def _slope(logprobs: Tensor, terms: slice, loss_of: TermLoss) -> tuple[Tensor, Tensor]:
    """Return the loss of some terms, and its gradient with respect to their log-probabilities."""
    leaf = logprobs.detach().requires_grad_()
    loss = loss_of(leaf, terms)
    (slope,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), slope
