"""Gradients of whole methods under a tabular policy, against the formulas of the paper written plainly.

The policy has a row of logits for every prefix, so a batch's loss needs nothing but the prefixes of its terms.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from creditree.batch import Batch, pack
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.objective.base import Objective
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs, PairNorm
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, flat, forests, judged_completions, prefix_values

VOCABULARY = 5
Prefix = tuple[int, ...]
Theta = NDArray[np.float64]


def _prefixes(forest: Forest) -> dict[Prefix, int]:
    """Number every prefix of the forest's completions, prompt included."""
    known = {
        (*tree.root_ids.tolist(), *completion[:stop])
        for tree in forest
        for completion in judged_completions(tree)
        for stop in range(len(completion))
    }
    return {prefix: index for index, prefix in enumerate(sorted(known))}


def _log_softmax(row: Theta) -> Theta:
    shifted = row - row.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _differences(function: Callable[[Theta], float], at: Theta, step: float = 1e-5) -> Theta:
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        found[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return found


def _batch_gradient(
    forest: Forest,
    composition: tuple[Credit, Selection, Objective],
    rows: dict[Prefix, int],
    theta: Theta,
    reference: Theta,
) -> Theta:
    """Return the gradient that a learner computes from the batch: sum of weight times term, by autograd."""
    credit, select, objective = composition
    advantages = tuple(credit.assign(tree) for tree in forest)
    weights = select.weigh(forest, advantages, KEY)
    batch = pack([forest], [advantages], [weights], keep_zero_advantage=objective.kl > 0)
    if batch.num_terms == 0:
        return np.zeros_like(theta)
    table = torch.tensor(theta, requires_grad=True)
    logprobs, fixed = (_term_logprobs(batch, rows, values) for values in (table, torch.tensor(reference)))
    known = torch.tensor(batch.advantage), torch.tensor(batch.old_logprob)
    loss = (torch.tensor(batch.weight) * objective.terms(logprobs, fixed, *known)).sum()
    (gradient,) = torch.autograd.grad(loss, table)
    return np.asarray(gradient.numpy())


def _term_logprobs(batch: Batch, rows: dict[Prefix, int], table: Tensor) -> Tensor:
    index = torch.arange(batch.num_tokens).numpy()
    prefix = [tuple(batch.token_ids[(index <= r) & (r < batch.exit)].tolist()) for r in batch.row]
    chosen = torch.log_softmax(table, dim=1)[[rows[p] for p in prefix]]
    return chosen[torch.arange(batch.num_terms), torch.tensor(batch.token)]


def _tables(rows: dict[Prefix, int], seed: int) -> tuple[Theta, Theta]:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(max(len(rows), 1), VOCABULARY))
    return theta, theta + 0.5 * rng.normal(size=theta.shape)


def _pairs(tree: RolloutTree, u_norm: PairNorm) -> list[tuple[Prefix, int, float]]:
    """Return U of one tree: (prefix with prompt, token, A)."""
    completions = judged_completions(tree)
    value = prefix_values(completions, tree.rewards(tree.rewarded))
    following: dict[Prefix, set[int]] = {}
    for completion in completions:
        for at, token in enumerate(completion):
            following.setdefault(completion[:at], set()).add(token)
    top = tuple(tree.root_ids.tolist())
    found = [
        ((*top, *prefix), token, value[(*prefix, token)] - value[prefix], len(tokens))
        for prefix, tokens in following.items()
        for token in tokens
    ]
    return [
        (prefix, token, gain)
        for prefix, token, gain, n in found
        if {"all": True, "branching": n > 1, "nonzero": abs(gain) > 1e-12}[u_norm]
    ]


@settings(max_examples=25)
@given(forests(failures=True), st.sampled_from(("branching", "all", "nonzero")), st.integers(0, 99))
def test_t_spmo_ascends_the_papers_objective(forest: Forest, u_norm: PairNorm, seed: int) -> None:
    """J = (1/|U|) sum over U of pi(v|p) A(v|p)."""
    rows = _prefixes(forest)
    theta, reference = _tables(rows, seed)
    pairs = [pair for tree in forest for pair in _pairs(tree, u_norm)]

    def objective(at: Theta) -> float:
        return sum(float(np.exp(_log_softmax(at[rows[p]])[v])) * a for p, v, a in pairs) / max(len(pairs), 1)

    found = _batch_gradient(forest, (PrefixGain(), BranchingPairs(u_norm), Likelihood()), rows, theta, reference)
    assert np.allclose(-found, _differences(objective, theta), atol=1e-8)


@settings(max_examples=25)
@given(forests(failures=True), st.sampled_from([0.0, 0.3]), st.integers(0, 99))
def test_grpo_ascends_the_papers_objective(forest: Forest, kl: float, seed: int) -> None:
    """J = (1/G) sum_i (1/|y_i|) sum_t (log pi A_i - kl k3), whose gradient is that of the ratio form."""
    rows = _prefixes(forest)
    theta, reference = _tables(rows, seed)
    group = sum(len(tree.rewarded) for tree in forest)

    def objective(at: Theta) -> float:
        total = 0.0
        for tree in forest:
            rewards = tree.rewards(tree.rewarded)
            flat_rewards = len(rewards) < 2 or np.ptp(rewards) == 0
            advantages = (
                np.zeros(len(rewards)) if flat_rewards else (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4)
            )
            for advantage, completion in zip(advantages, judged_completions(tree), strict=True):
                for t, token in enumerate(completion):
                    row = rows[(*tree.root_ids.tolist(), *completion[:t])]
                    policy, fixed = _log_softmax(at[row])[token], _log_softmax(reference[row])[token]
                    k3 = np.exp(fixed - policy) - (fixed - policy) - 1
                    total += float(policy * advantage - kl * k3) / (group * len(completion))
        return total

    found = _batch_gradient(forest, (GroupRelative(), Everything(), PolicyGradient(kl=kl)), rows, theta, reference)
    assert np.allclose(-found, _differences(objective, theta), atol=1e-7)


@settings(max_examples=25)
@given(forests(failures=True), st.sampled_from([(20, 0.5, 0), (0, 1.0, 20)]), st.integers(0, 99))
def test_s_grpo_with_room_for_every_token_has_grpos_gradient_to_the_bit(
    forest: Forest, rule: tuple[int, float, int], seed: int
) -> None:
    rows = _prefixes(forest)
    tables = _tables(rows, seed)
    objective = PolicyGradient(kl=0.01)
    stochastic = _batch_gradient(forest, (GroupRelative(), EarlyAndRandom(*rule), objective), rows, *tables)
    full = _batch_gradient(forest, (GroupRelative(), Everything(), objective), rows, *tables)
    assert np.array_equal(stochastic, full)


EQUALLY_LONG = st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=2, max_size=6)


@settings(max_examples=25)
@given(EQUALLY_LONG, st.data(), st.integers(0, 99))
def test_counted_pairs_in_ratio_form_are_reinforce_with_the_prefix_value_as_baseline(
    completions: Sequence[Prefix], data: st.DataObject, seed: int
) -> None:
    """(1/GL) sum_i sum_t (R_i - V(y_<t)) grad log pi(y_t | y_<t), for completions of one length L."""
    rewards = data.draw(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(completions), max_size=len(completions))
    )
    forest = (flat(completions, rewards),)
    rows = _prefixes(forest)
    theta, reference = _tables(rows, seed)
    value = prefix_values(completions, np.array(rewards))
    top = tuple(forest[0].root_ids.tolist())

    def surrogate(at: Theta) -> float:
        return sum(
            (reward - value[y[:t]]) * float(_log_softmax(at[rows[(*top, *y[:t])]])[token])
            for y, reward in zip(completions, rewards, strict=True)
            for t, token in enumerate(y)
        ) / (3 * len(completions))

    found = _batch_gradient(forest, (PrefixGain(), Everything(), PolicyGradient()), rows, theta, reference)
    assert np.allclose(-found, _differences(surrogate, theta), atol=1e-7)
