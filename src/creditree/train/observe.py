"""What pieces want to know of whole trees, which takes the model or its tokenizer to find out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from creditree.batch import Batch, pack
from creditree.learner.learner import Learner
from creditree.returned import Returned
from creditree.signals import Ask, Seen
from creditree.train.settings import Parts
from creditree.tree import FloatArray, Forest, IntArray, RolloutTree


def observed(parts: Parts, forests: Sequence[Forest]) -> tuple[list[Forest], int]:
    """Return the forests with what the method's pieces ask for, and how many tokens that forwarded.

    Computed with the weights as they are, so before the first update of a training step. One problem after the other:
    no more than the states of its tokens are held.
    """
    forwarded, completed = 0, []
    for forest in forests:
        for piece in parts.method.pieces:
            if piece.asks:
                seen, tokens = _seen(parts, forest, piece.asks)
                forest = tuple(
                    Returned(piece, "observe", piece.observe(tree, signals)).a(RolloutTree, "the tree, with its notes")
                    for tree, signals in zip(forest, seen, strict=True)
                )
                forwarded += tokens
        completed.append(forest)
    return completed, forwarded


def _seen(parts: Parts, forest: Forest, asks: frozenset[Ask]) -> tuple[list[Seen], int]:
    """Return what was asked for of each tree, and the tokens forwarded for it: a pass for each kind of states."""
    batch = _whole(forest) if asks - {"texts"} else None
    passes = {"residuals": parts.learner.residuals, "states": parts.learner.states}
    by_tree = {name: _split(forest, passes[name](batch)) for name in passes if batch is not None and name in asks}
    texts = (lambda prefixes: _texts(parts, prefixes)) if "texts" in asks else None
    seen = [
        Seen(**{name: values[index] for name, values in by_tree.items()}, texts=texts) for index in range(len(forest))
    ]
    return seen, 0 if batch is None else len(by_tree) * batch.num_tokens


def with_old_logprobs(learner: Learner, forest: Forest) -> tuple[Forest, int]:
    """Return a forest whose branches all have old log-probabilities, and how many tokens were forwarded for them.

    For completions that an update comes before they are learned from; the policy must still be the one that sampled.
    """
    missing = [branch for tree in forest for branch in tree.branches if branch.old_logprobs is None]
    if not missing:
        return forest, 0
    temperature, forwarded = learner.objective.loss_temperature, 0
    if learner.needs_own_old:
        batch = _whole(forest)
        own, forwarded = _split(forest, learner.logprobs(batch, temperature)), batch.num_tokens
    else:
        own = [
            [branch.logprobs if temperature == 1.0 else branch.sampler_logprobs for branch in t.branches]
            for t in forest
        ]
    return tuple(
        replace(
            tree,
            branches=tuple(
                replace(branch, old_logprobs=logprobs) if branch.old_logprobs is None else branch
                for branch, logprobs in zip(tree.branches, of_tree, strict=True)
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


def _texts(parts: Parts, prefixes: Sequence[IntArray]) -> list[str]:
    return [parts.model.text(prefix) for prefix in prefixes]
