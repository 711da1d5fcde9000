"""Weights as they are held, computed with in float32: two models then differ by their weights, not by rounding.

In bfloat16 the same weights, run by two programs, differ by .07 a log-probability: more than many adapters change.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from creditree.models.products import WIDE
from creditree.models.quantise import QuantisedLinear
from creditree.tree import FloatArray, IntArray


@torch.no_grad()
def widen(model: Any) -> None:
    """Let a model of transformers compute in float32, in place: matrices one at a time while they are used.

    Its matrices stay what they are, mapped from a file where they are; everything else becomes float32. Float64 stays.
    """
    for module in list(model.modules()):
        if isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(_widened)
        elif type(module) in (torch.nn.Linear, Conv1D):
            module.forward = _product(module)
        elif not isinstance(module, QuantisedLinear):  # that computes in the type of what goes in
            for parameter in module.parameters(recurse=False):
                parameter.data = _wide(parameter.data)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, WIDE)) if tensor.is_floating_point() else tensor


def _widened(module: torch.nn.Module, inputs: object, out: Tensor) -> Tensor:
    return _wide(out)


def _product(module: Any) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a layer, with its matrix in float32 while it lasts."""

    def multiply(states: Tensor) -> Tensor:
        weight = module.weight.T if isinstance(module, Conv1D) else module.weight
        return linear(_wide(states), _wide(weight), None if module.bias is None else _wide(module.bias))

    return multiply


@torch.no_grad()
def plain_scores(model: Any, sequences: Sequence[IntArray]) -> FloatArray:
    """Return log softmax(logits)[token] of all tokens but the first of each sequence, by transformers' own pass."""
    scores = [np.zeros(0)]
    for tokens in sequences:
        row = torch.from_numpy(tokens.copy())[None]
        logits = model(input_ids=row, use_cache=False).logits[0, :-1]
        logprobs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, WIDE)), dim=-1)
        scores.append(logprobs.gather(-1, row[0, 1:, None])[:, 0].double().numpy())
    return np.concatenate(scores)
