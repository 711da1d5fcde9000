"""GSPO: one ratio a sequence, against the printed formula; the learner hands each term that of its sequence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.explore.group import Group
from creditree.fields import TokenField
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.sequences import by_sequence
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.objective.gspo import Gspo
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.everything import Everything
from tests.forests import KEY, assigned, flat
from tests.rollouts import credited, sampled_forests
from tests.tiny_models import tiny

LENGTHS, REWARDS = ([2, 3, 4, 1], [3, 1], [4, 5, 1]), [1.0, 0.0, 0.25]


def _batch() -> tuple[Batch, tuple[TokenField, ...]]:
    forest = (flat(list(LENGTHS), REWARDS),)
    advantages = (GroupRelative().assign(forest[0]),)
    weights = Everything().weigh(forest, advantages, KEY)
    return pack([forest, forest], [advantages] * 2, [weights] * 2, keep_zero_advantage=True), advantages


def test_terms_know_their_branch_through_all_trees() -> None:
    batch, _ = _batch()
    assert batch.sequence.tolist() == [0] * 4 + [1] * 2 + [2] * 3 + [3] * 4 + [4] * 2 + [5] * 3


def test_golden_ratio_of_a_sequence() -> None:
    # l - o: 0.2 and -0.1 of the first, mean 0.05; -0.3 of the second, its own
    own, old = np.array([-1.0, -2.0, -0.5]), np.array([-1.2, -1.9, -0.2])
    found = by_sequence(own, old, np.array([0, 0, 1]))
    assert np.exp(own - found) == pytest.approx([np.exp(0.05), np.exp(0.05), np.exp(-0.3)])


@pytest.mark.parametrize("spread", [0.0, 2e-4, 0.05])
def test_loss_and_gradient_are_the_printed_formula_s(spread: float) -> None:
    """(1 / G) sum_i max(-A_i s_i, -A_i clip(s_i)), s_i = exp(mean_t (log pi - log pi_old)), by plain autograd."""
    batch, (advantages,) = _batch()
    generator = np.random.default_rng(3)
    old = generator.uniform(-3.0, -0.1, batch.num_terms)
    own = torch.tensor(old + spread * generator.standard_normal(len(old)), requires_grad=True)
    sequence = torch.tensor(batch.sequence)
    counts = torch.bincount(sequence)
    ratio = torch.exp(torch.zeros(6).double().index_add(0, sequence, own - torch.tensor(old)) / counts)
    of_sequence = torch.tensor([float(assigned(values)[0]) for values in advantages] * 2, dtype=torch.float64)
    printed = torch.maximum(-of_sequence * ratio, -of_sequence * ratio.clamp(1 - 3e-4, 1 + 4e-4)).sum() / 3 / 2
    (expected,) = torch.autograd.grad(printed, own)
    told = torch.tensor(by_sequence(own.detach().numpy(), old, batch.sequence))
    terms = Gspo().terms(own, None, torch.tensor(batch.advantage), told)
    loss = (torch.tensor(batch.weight) * terms).sum()
    (found,) = torch.autograd.grad(loss, own)
    assert float(loss.detach()) == pytest.approx(float(printed.detach()), abs=1e-12)
    assert torch.allclose(found, expected, atol=1e-12)


def test_the_learner_s_first_update_is_the_policy_gradient_s_and_a_later_one_clips_whole_sequences() -> None:
    adapter = Adapter(tiny("qwen2", torch.float64), LoraSpec(rank=3, layers=0.5), Key.of(0))
    method = Method("m", "", Group(6), GroupRelative(), Everything(), Gspo())
    forests = sampled_forests(adapter.model, Group(6), problems=2, temperature=1.0)
    batch = pack(forests, *credited(method, forests), keep_zero_advantage=False)
    ours = Learner(adapter, Gspo(), OptimiserSpec())
    plain = Learner(adapter, PolicyGradient(), OptimiserSpec())
    assert ours.gradient(ours._by_sequence(batch, at_old=True), KEY) == pytest.approx(plain.gradient(batch, KEY))
    moved = replace(batch, old_logprob=batch.old_logprob - 0.01 * (1 + batch.sequence % 2))
    told = ours._by_sequence(moved, at_old=False)
    assert ours.logprobs(batch) - told.old_logprob == pytest.approx(0.01 * (1 + batch.sequence % 2), abs=1e-9)
    stats = ours.step(moved, KEY)
    assert stats.clipped == int((batch.advantage > 0).sum())  # all are 1 % or 2 % above 1
    assert (stats.measured, plain.step(batch, KEY).measured) == (moved.num_tokens, 0)  # its ratios take one more pass
