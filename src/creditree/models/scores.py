"""The log-probabilities of given token ids under a model as it is, whichever way it is run."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditree.models.attention import CausalPlan
from creditree.models.load import Model
from creditree.tree import FloatArray, IntArray


@torch.no_grad()
def token_scores(model: Model, token_ids: IntArray, last: int | None = None) -> FloatArray:
    """Return log softmax(logits)[token] of the `last` tokens (None: all but the first), at least in float32.

    What is switched on of an adapter counts: within `Trained.off` they are the base model's.
    """
    length = len(token_ids)
    rows = np.arange(0 if last is None else length - 1 - last, length - 1)
    if model.whole is not None:
        logits = model.whole.logits([token_ids], rows)[0]
    else:
        network = model.transformer
        ids = torch.from_numpy(token_ids).to(network.device)[None]
        hidden = network.embed(ids)
        rope = network.rope(hidden, torch.arange(length, device=network.device)[None])
        states = network.layers(hidden, rope, CausalPlan())[:, torch.from_numpy(rows).to(network.device)]
        logits = network.logits(network.norm(states))[0]
    kind: Any = torch.promote_types(logits.dtype, torch.float32)
    logprobs: Tensor = torch.log_softmax(logits.to(kind), dim=-1)
    wanted = torch.from_numpy(token_ids[rows + 1]).to(logprobs.device)
    return np.asarray(logprobs.gather(-1, wanted[:, None])[:, 0].double().cpu().numpy())
