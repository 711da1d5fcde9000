"""Plain, slow computations that the fast paths are held against: one completion at a time, whole forward passes."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from creditree.engines.engine import Sampling
from creditree.fields import TokenField
from creditree.models.load import Model
from creditree.models.trained import Trained
from creditree.objective.base import Objective
from creditree.rng import Key
from creditree.signals import InfluenceSpec
from creditree.steps import Step
from creditree.tree import FloatArray, Forest, IntArray


def naive_sample(
    model: Model, context: Sequence[int], key: Key, budget: int, sampling: Sampling
) -> tuple[list[int], list[float]]:
    """Decode one completion by whole forward passes and a linear scan of the cumulative distribution."""
    ids, logprobs = list(context), []
    for uniform in key.uniforms(budget):
        with torch.no_grad():
            logits = model.network.model(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        if sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            token = _scan(nucleus(torch.softmax(logits / sampling.temperature, -1), sampling.top_p), float(uniform))
        logprobs.append(float(torch.log_softmax(logits, -1)[token]))
        ids.append(token)
        if token in model.eos_ids:
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
    total = torch.zeros((), dtype=trained.model.network.dtype)
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
    logits = trained.model.network.model(input_ids=ids, use_cache=False).logits[0, len(context) - 1 : -1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.log_softmax(logits / temperature, -1)[torch.arange(len(tokens)), torch.tensor(np.array(tokens))]


class Dense:
    """An attention plan that keeps all of A [H, T, T] of every layer, of one sequence."""

    def __init__(self) -> None:
        self.layers: list[torch.Tensor] = []

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attend causally, keys and values repeated for the heads that share them."""
        shared, length = query.shape[1] // key.shape[1], query.shape[2]
        key, value = (one.repeat_interleave(shared, dim=1) for one in (key, value))
        scores = scaling * query @ key.mT + torch.full((length, length), -torch.inf).triu(1)
        self.layers.append(torch.softmax(scores.to(torch.promote_types(query.dtype, torch.float32)), dim=-1)[0])
        return self.layers[-1].to(value.dtype) @ value


def dense_influence(
    model: Model, token_ids: IntArray, prompt_tokens: int, steps: Sequence[Step], spec: InfluenceSpec
) -> FloatArray:
    """Return the raw influence of each step, prompt first, by the definition: W A W^T for every layer and head."""
    return dense_scores(dense_attention(model, token_ids), prompt_tokens, steps, spec)


def dense_attention(model: Model, token_ids: IntArray) -> torch.Tensor:
    """Return A [layers, heads, T, T]."""
    transformer, plan = model.transformer, Dense()
    with torch.no_grad():
        hidden = transformer.embed(torch.tensor(token_ids)[None])
        transformer.layers(hidden, transformer.rope(hidden, torch.arange(len(token_ids))[None]), plan)
    return torch.stack(plan.layers)


def dense_map(attention: torch.Tensor, steps: Sequence[Step], spec: InfluenceSpec) -> FloatArray:
    """Return a_jk of the layer and head where column k sums to most, pair by pair; `steps` are those of all tokens."""
    layers = range(len(attention)) if spec.layers is None else spec.layers
    heads = range(len(attention[0])) if spec.heads is None else spec.heads
    found = np.zeros((len(steps), len(steps)))
    for k, (first, last) in enumerate(steps):
        columns = []
        for layer, head in product(layers, heads):
            means = [attention[layer, head, i:j, first:last].double().mean().item() for i, j in steps]
            columns.append([mean if j >= k + spec.delta else 0.0 for j, mean in enumerate(means)])
        found[:, k] = max(columns, key=sum)
    return found


def dense_scores(attention: torch.Tensor, prompt_tokens: int, steps: Sequence[Step], spec: InfluenceSpec) -> FloatArray:
    """Return the raw influence of each step, prompt first, given A [layers, heads, T, T]."""
    a = attention.double().numpy()
    a = a if spec.layers is None else a[list(spec.layers)]
    a = a if spec.heads is None else a[:, list(spec.heads)]
    means = np.zeros((len(steps) + 1, a.shape[-1]))
    means[0, :prompt_tokens] = 1 / prompt_tokens
    for index, (start, stop) in enumerate(steps):
        means[index + 1, prompt_tokens + start : prompt_tokens + stop] = 1 / (stop - start)
    counts = np.arange(len(means))[:, None] >= np.arange(len(means)) + spec.delta
    found: FloatArray = np.where(counts, means @ a @ means.T, 0.0).sum(axis=-2).max(axis=(0, 1))
    return found
