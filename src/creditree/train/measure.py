"""What selection and credit want to know of whole trees, which takes the model or its tokenizer to find out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from creditree.batch import Batch, pack
from creditree.credit.prefix_classes import hidden_classes, text_classes
from creditree.credit.prefix_gain import PrefixGain
from creditree.learner.learner import Learner
from creditree.select.adapter_residual import AdapterResidual
from creditree.train.settings import Parts
from creditree.tree import FloatArray, Forest, IntArray


def measured(parts: Parts, forests: Sequence[Forest]) -> tuple[list[Forest], int]:
    """Return the forests with what the method asks for on their branches, and how many tokens that forwarded.

    Computed with the weights as they are, so before the first update of a training step. One problem after the other:
    no more than the states of its tokens are held.
    """
    found, forwarded = list(forests), 0
    credit = parts.method.credit
    if isinstance(parts.method.select, AdapterResidual):
        for index, forest in enumerate(found):
            batch = _whole(forest)
            found[index] = _with_residuals(forest, _split(forest, parts.learner.residuals(batch)))
            forwarded += batch.num_tokens
    if isinstance(credit, PrefixGain) and credit.match == "text":
        found = [tuple(text_classes(tree, lambda ids: _texts(parts, ids)) for tree in forest) for forest in found]
    if isinstance(credit, PrefixGain) and credit.match == "hidden":
        for index, forest in enumerate(found):
            batch = _whole(forest)
            states = _split(forest, parts.learner.states(batch))
            pairs = zip(forest, states, strict=True)
            found[index] = tuple(hidden_classes(tree, own, credit.least_cosine) for tree, own in pairs)
            forwarded += batch.num_tokens
    return found, forwarded


def with_old_logprobs(learner: Learner, forest: Forest) -> tuple[Forest, int]:
    """Return a forest whose branches all have old log-probabilities, and how many tokens were forwarded for them.

    For completions that an update comes before they are learned from; the policy must still be the one that sampled.
    """
    missing = [branch for tree in forest for branch in tree.branches if branch.old_logprobs is None]
    if not missing:
        return forest, 0
    temperature, forwarded = learner.objective.loss_temperature, 0
    if learner.recomputes_old and learner.objective.uses_old:
        batch = _whole(forest)
        own, forwarded = _split(forest, learner.logprobs(batch, temperature)), batch.num_tokens
    else:
        own = [[one.logprobs if temperature == 1.0 else one.sampler_logprobs for one in t.branches] for t in forest]
    return tuple(
        replace(
            tree,
            branches=tuple(
                replace(one, old_logprobs=found) if one.old_logprobs is None else one
                for one, found in zip(tree.branches, of_tree, strict=True)
            ),
        )
        for tree, of_tree in zip(forest, own, strict=True)
    ), forwarded


def _whole(forest: Forest) -> Batch:
    """Return a batch whose terms are all tokens of a forest: tree after tree, branch after branch, in order."""
    ones = tuple(tuple(np.ones(len(branch.token_ids)) for branch in tree.branches) for tree in forest)
    return pack([forest], [ones], [ones], keep_zero_advantage=True)


def _split(forest: Forest, values: FloatArray) -> list[list[FloatArray]]:
    """Return the numbers of a whole batch's terms, by tree and branch."""
    sizes = [len(branch.token_ids) for tree in forest for branch in tree.branches]
    pieces = iter(np.split(values, np.cumsum(sizes)[:-1]))
    return [[next(pieces) for _ in tree.branches] for tree in forest]


def _with_residuals(forest: Forest, residuals: list[list[FloatArray]]) -> Forest:
    return tuple(
        replace(
            tree,
            branches=tuple(replace(one, residuals=own) for one, own in zip(tree.branches, found, strict=True)),
        )
        for tree, found in zip(forest, residuals, strict=True)
    )


def _texts(parts: Parts, prefixes: Sequence[IntArray]) -> list[str]:
    return [parts.model.text(prefix) for prefix in prefixes]
