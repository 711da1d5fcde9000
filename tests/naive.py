"""Plain, slow computations that the fast paths are held against: one completion at a time, whole forward passes."""

from collections.abc import Sequence

import numpy as np
import torch

from creditree.engines.engine import Sampling
from creditree.fields import TokenField
from creditree.models.load import Model
from creditree.models.trained import Trained
from creditree.objective.objective import Objective
from creditree.rng import Key
from creditree.tree import Forest


def naive_sample(
    model: Model, context: Sequence[int], key: Key, budget: int, sampling: Sampling
) -> tuple[list[int], list[float]]:
    """Decode one completion by whole forward passes and a linear scan of the cumulative distribution."""
    ids, logprobs = list(context), []
    for uniform in key.uniforms(budget):
        with torch.no_grad():
            logits = model.transformer.model(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        if sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            token = _scan(nucleus(torch.softmax(logits / sampling.temperature, -1), sampling.top_p), float(uniform))
        logprobs.append(float(torch.log_softmax(logits, -1)[token]))
        ids.append(token)
        if token == model.eos_id:
            break
    return ids[len(context) :], logprobs


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the distribution cut to its nucleus, by a loop over tokens from the most likely down."""
    kept, total = torch.zeros_like(probabilities), 0.0
    for token in sorted(range(len(probabilities)), key=lambda t: -float(probabilities[t])):
        if total >= top_p:
            break
        kept[token] = probabilities[token]
        total += float(probabilities[token])
    return kept / kept.sum()


def _scan(probabilities: torch.Tensor, uniform: float) -> int:
    below = 0.0
    for token, probability in enumerate(probabilities.tolist()):
        below += probability
        if uniform < below:
            return token
    return int(probabilities.nonzero()[-1])


def naive_loss(
    trained: Trained,
    objective: Objective,
    forests: Sequence[Forest],
    advantages: Sequence[tuple[TokenField, ...]],
    weights: Sequence[tuple[TokenField, ...]],
) -> torch.Tensor:
    """Return the loss by one whole forward pass for each branch, with gradient; mean over problems."""
    total = torch.zeros((), dtype=trained.model.transformer.dtype)
    for forest, forest_advantages, forest_weights in zip(forests, advantages, weights, strict=True):
        for tree, tree_advantages, tree_weights in zip(forest, forest_advantages, forest_weights, strict=True):
            for leaf, (a, w) in enumerate(zip(tree_advantages, tree_weights, strict=True)):
                if a is None or w is None:
                    continue
                branch = tree.branches[leaf]
                context = tree.context(branch.parent, branch.fork)
                policy = _logprobs(trained, context, branch.token_ids, objective.loss_temperature)
                with torch.no_grad(), trained.off():
                    reference = _logprobs(trained, context, branch.token_ids, objective.loss_temperature)
                old = branch.logprobs if objective.loss_temperature == 1.0 else branch.sampler_logprobs
                known = torch.tensor(a, dtype=policy.dtype), torch.tensor(old, dtype=policy.dtype)
                terms = objective.terms(policy, reference, *known)
                total = total + (torch.tensor(w, dtype=policy.dtype) * terms).sum() / len(forests)
    return total


def _logprobs(trained: Trained, context: np.ndarray, tokens: np.ndarray, temperature: float) -> torch.Tensor:
    ids = torch.tensor(np.concatenate([context, tokens]))[None]
    logits = trained.model.transformer.model(input_ids=ids, use_cache=False).logits[0, len(context) - 1 : -1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.log_softmax(logits / temperature, -1)[torch.arange(len(tokens)), torch.tensor(np.array(tokens))]
