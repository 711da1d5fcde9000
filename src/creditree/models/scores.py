"""Log-probabilities and entropies at given token ids under a model as it is, whichever way it is run."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from creditree.models.attention import CausalPlan
from creditree.models.load import Model
from creditree.tree import FloatArray, IntArray

ROWS = 64
"""Positions whose logits are held at once, layers that are run one by one being asked for them."""


def token_scores(model: Model, token_ids: IntArray, last: int | None = None) -> FloatArray:
    """Return log softmax(logits)[token] of the `last` tokens (None: all but the first), at least in float32.

    What is switched on of an adapter counts: within `Trained.off` they are the base model's.
    """
    chunks = []
    for rows, logprobs in _distributions(model, token_ids, last):
        wanted = torch.from_numpy(token_ids[rows + 1]).to(logprobs.device)
        chunks.append(logprobs.gather(-1, wanted[:, None])[:, 0])
    return _array(chunks)


def token_entropies(model: Model, token_ids: IntArray, last: int | None = None) -> FloatArray:
    """Return the entropy, in nats, of the distribution before each of the `last` tokens, as `token_scores`."""
    return _array([-(logprobs.exp() * logprobs).sum(dim=-1) for _, logprobs in _distributions(model, token_ids, last)])


@torch.no_grad()
def _distributions(model: Model, token_ids: IntArray, last: int | None) -> Iterator[tuple[IntArray, Tensor]]:
    """Yield positions [R], and the log-probabilities [R, V] of what comes after each."""
    length = len(token_ids)
    rows = np.arange(0 if last is None else length - 1 - last, length - 1)
    if model.whole is not None:
        logits = model.whole.logits([token_ids], rows)[0]
        for start in range(0, len(rows), ROWS):
            yield rows[start : start + ROWS], _log_softmax(logits[start : start + ROWS])
        return
    network = model.transformer
    ids = torch.from_numpy(token_ids.copy()).to(network.device)[None]  # torch warns of arrays that are read-only
    hidden = network.embed(ids)
    rope = network.rope(hidden, torch.arange(length, device=network.device)[None])
    states = network.layers(hidden, rope, CausalPlan())[0]
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        yield part, _log_softmax(network.logits(network.norm(states[torch.from_numpy(part).to(states.device)])))


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


def _array(parts: list[Tensor]) -> FloatArray:
    return np.asarray(torch.cat(parts).double().cpu().numpy()) if parts else np.zeros(0)
