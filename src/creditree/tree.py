"""The tree of rollouts of one problem: record what was sampled, derive what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditree.problem import Problem, Verdict
from creditree.step_attention import StepAttention
from creditree.trie import SharedTrie, TokenTrie

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
FinishReason = Literal["stop", "length"]


def token_array(token_ids: ArrayLike) -> IntArray:
    """Return token ids as a read-only int64 array."""
    array = np.array(token_ids, dtype=np.int64)
    array.setflags(write=False)
    return array


NO_TOKENS = token_array([])
ROOT_CLASS = 0
"""The class of prefixes (a note, ``classes``) that the root is in."""


def _no_tokens() -> IntArray:
    return NO_TOKENS


@dataclass(frozen=True, eq=False, slots=True)
class Branch:
    """One uninterrupted run of sampling, which ends in a leaf.

    `fork` is how many completion tokens it inherits from branch `parent` (None: it starts at the root, fork 0).
    `logprobs[t]` is log p of token t under the untempered model, `sampler_logprobs[t]` under the distribution that
    was sampled from (temperature, top-p), in nats, both as the engine computed them (NaN: it does not tell);
    `entropies[t]` that of the untempered model before token t; `influence[t]` the raw forward context influence of
    the step that holds token t (`creditree.signals`), and `attention` what it is the sum of. `old_logprobs[t]`: log p
    under the learner's policy that sampled token t and the softmax of the loss, for branches that are learned from
    after that policy was updated; None: no update came between.
    `beside`: the branch that it was forked from at the first token of all, so that they share none; else None.
    `learns`: whether its tokens may learn. One that does not has no advantage and no weight and is no loss term, and
    its completion is none of those that a loss is a mean over; its reward still counts in the values of its tree.
    `handles[t]`: the engine's own number for what it keeps of token t of context and branch together, prompt included;
    0: nothing. Numbers are never used again, so one of a token that was forgotten since leads nowhere.
    `notes[name][t]`: what pieces have found out of token t once the tree was whole (`Piece.observe`), such as
    ``classes``: the class of the prefix that it ends.
    """

    parent: int | None
    fork: int
    token_ids: IntArray
    logprobs: FloatArray
    sampler_logprobs: FloatArray
    finish_reason: FinishReason
    verdict: Verdict | None = None
    entropies: FloatArray | None = None
    influence: FloatArray | None = None
    attention: StepAttention | None = None
    notes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    old_logprobs: FloatArray | None = None
    beside: int | None = None
    handles: IntArray | None = None
    learns: bool = True

    def __post_init__(self) -> None:
        if len(self.token_ids) == 0:
            raise ValueError("a branch holds at least one token")
        if len(self.logprobs) != len(self.token_ids) or len(self.sampler_logprobs) != len(self.token_ids):
            raise ValueError("a branch has one log-probability for each token")

    @property
    def end(self) -> int:
        """Number of completion tokens from the root to this branch's leaf."""
        return self.fork + len(self.token_ids)

    @property
    def is_chain(self) -> bool:
        """Whether it was sampled from the root for its own sake, not as a fork of another."""
        return self.parent is None and self.beside is None

    @property
    def reward(self) -> float | None:
        """The leaf's reward; None where it was not judged, or could not be."""
        return None if self.verdict is None else self.verdict.reward

    def judged(self, verdict: Verdict) -> "Branch":
        """Return this branch with its verdict."""
        return replace(self, verdict=verdict)


@dataclass(frozen=True, slots=True)
class Span:
    """A maximal run of tokens that no fork interrupts: ``branches[branch].token_ids[start:stop]``.

    `leaves` are the branches whose completions contain it; `parent` is the index of the span before it, None at the
    root.
    """

    branch: int
    start: int
    stop: int
    leaves: tuple[int, ...]
    parent: int | None


@dataclass(frozen=True, eq=False, slots=True)
class RolloutTree:
    """All that was sampled below one root. Frozen; a branch's index never changes.

    The root is the prompt followed by `kept_ids`: the part of an earlier completion that a replay keeps. Kept tokens
    belong to every completion's text and to its token budget, but were not sampled here, so no credit falls on them.
    `root_handles`: the engine's of the root (`Branch.handles`). `shared`: the trie of the step, and which of its
    sequences is leaf 0 of this tree (`creditree.forest.share`). `solution_ids`: the worked solution of the problem,
    without what ends a text, and shorter than a completion may be; empty where there is none, or it is not needed.
    """

    problem: Problem
    prompt_ids: IntArray
    kept_ids: IntArray = field(default_factory=_no_tokens)
    branches: tuple[Branch, ...] = ()
    root_handles: IntArray | None = None
    shared: tuple[SharedTrie, int] | None = None
    solution_ids: IntArray = field(default_factory=_no_tokens)

    @property
    def root_ids(self) -> IntArray:
        """Token ids of the root: the prompt and the kept tokens."""
        return np.concatenate([self.prompt_ids, self.kept_ids])

    def grown(self, *branches: Branch) -> "RolloutTree":
        """Return a new tree with `branches` appended.

        A fork at or before its parent's own first token is re-homed to the branch that holds the token before it; at
        the first token of all it starts at the root, `beside` the branch that was its parent.
        Raises ValueError where the parent does not exist, or the fork lies past the parent's last token.
        """
        so_far = list(self.branches)
        for branch in branches:
            so_far.append(_rehomed(branch, so_far))
        return replace(self, branches=tuple(so_far), shared=None)

    def judged(self, verdicts: Mapping[int, Verdict]) -> "RolloutTree":
        """Return this tree with verdicts on the named leaves."""
        branches = (b.judged(verdicts[i]) if i in verdicts else b for i, b in enumerate(self.branches))
        return replace(self, branches=tuple(branches))

    def noted(self, name: str, values: Sequence[NDArray[Any] | None]) -> "RolloutTree":
        """Return this tree with a note on its branches, an array for the tokens of each; None: that one has none."""
        return replace(
            self,
            branches=tuple(
                branch if own is None else replace(branch, notes={**branch.notes, name: own})
                for branch, own in zip(self.branches, values, strict=True)
            ),
        )

    def path(self, leaf: int) -> list[tuple[int, int]]:
        """Return the (branch, stop) pieces from the root to `leaf`; its completion joins their ``token_ids[:stop]``."""
        pieces: list[tuple[int, int]] = []
        index: int | None = leaf
        stop = len(self.branches[leaf].token_ids)
        while index is not None:
            branch = self.branches[index]
            pieces.append((index, stop))
            if branch.parent is not None:
                stop = branch.fork - self.branches[branch.parent].fork
            index = branch.parent
        return pieces[::-1]

    def completion(self, leaf: int) -> IntArray:
        """Return the tokens sampled from the root to `leaf`, without prompt and kept tokens."""
        return np.concatenate([self.branches[branch].token_ids[:stop] for branch, stop in self.path(leaf)])

    def context(self, parent: int | None, fork: int) -> IntArray:
        """Return the token ids, prompt included, that a branch forked at `fork` tokens of `parent` continues."""
        inherited = NO_TOKENS if parent is None else self.completion(parent)[:fork]
        return np.concatenate([self.root_ids, inherited])

    def context_handles(self, parent: int | None, fork: int) -> IntArray | None:
        """Return the engine's handles of `context`, as far as they are known."""
        size = len(self.prompt_ids) + len(self.kept_ids)
        if parent is not None:
            known = self.branches[parent].handles
            return None if known is None else known[: size + fork]
        sampled = (branch.handles for branch in reversed(self.branches) if branch.handles is not None)
        known = next(sampled, self.root_handles)
        return None if known is None else known[:size]

    def rooted(self, leaf: int, kept: int) -> "RolloutTree":
        """Return a tree without branches that is rooted at the first `kept` tokens of a completion."""
        kept_ids = np.concatenate([self.kept_ids, self.completion(leaf)[:kept]])
        handles = self.context_handles(leaf, kept)
        return replace(self, kept_ids=token_array(kept_ids), branches=(), root_handles=handles, shared=None)

    @property
    def leaves(self) -> range:
        """Every branch ends in exactly one leaf, so leaves are numbered as branches."""
        return range(len(self.branches))

    @property
    def rewarded(self) -> tuple[int, ...]:
        """The leaves that have a reward; only these receive or give credit."""
        return tuple(leaf for leaf in self.leaves if self.branches[leaf].reward is not None)

    @property
    def learning(self) -> tuple[int, ...]:
        """The leaves that have a reward and whose branches learn; only these receive credit."""
        return tuple(leaf for leaf in self.rewarded if self.branches[leaf].learns)

    @property
    def forked(self) -> tuple[int, ...]:
        """The leaves of forks, and those that something was forked from: all but the chains that were left alone."""
        origins = {branch.parent for branch in self.branches} | {branch.beside for branch in self.branches}
        return tuple(i for i, branch in enumerate(self.branches) if not branch.is_chain or i in origins)

    def rewards(self, leaves: Sequence[int]) -> FloatArray:
        """Return the rewards of `leaves`; NaN where there is none."""
        rewards = (self.branches[leaf].reward for leaf in leaves)
        return np.array([np.nan if reward is None else reward for reward in rewards], dtype=np.float64)

    def trie(self, leaves: Sequence[int]) -> TokenTrie:
        """Return the token trie of the completions of `leaves`: branches merged wherever their token ids coincide."""
        part = self.part
        if part is None:
            return TokenTrie.of([self.completion(leaf) for leaf in leaves])
        whole, first = part
        return whole.below([first + leaf for leaf in leaves], len(self.prompt_ids) + len(self.kept_ids))

    @property
    def part(self) -> tuple[SharedTrie, int] | None:
        """Where `shared` has this tree; None where it has none, or had one whose branches were others."""
        if self.shared is None:
            return None
        whole, first = self.shared
        size = len(self.prompt_ids) + len(self.kept_ids)
        lengths, ends = [size + branch.end for branch in self.branches], [branch.token_ids for branch in self.branches]
        return self.shared if whole.has(first, lengths, ends) else None

    def prefix_classes(self, leaves: Sequence[int], trie: TokenTrie) -> IntArray | None:
        """Return the class of every prefix of the trie of `leaves` [K], or None where prefixes match by their tokens.

        The root, which no branch holds, is ROOT_CLASS.
        """
        of_nodes = np.full(len(trie), ROOT_CLASS, dtype=np.int64)
        for row, leaf in enumerate(leaves):
            start = 1
            for branch, stop in self.path(leaf):
                classes = self.branches[branch].notes.get("classes")
                if classes is None:
                    return None
                of_nodes[trie.node_of[row, start : start + stop]] = classes[:stop]
                start += stop
        return of_nodes

    def spans(self) -> tuple[Span, ...]:
        """Return all spans, those of a branch in order, branches in order (so parents come first)."""
        children: dict[int, list[int]] = {index: [] for index in self.leaves}
        for index, branch in enumerate(self.branches):
            if branch.parent is not None:
                children[branch.parent].append(index)
        below: dict[int, tuple[int, ...]] = {}
        for index in reversed(self.leaves):
            below[index] = tuple(sorted([index, *(leaf for child in children[index] for leaf in below[child])]))
        spans: list[Span] = []
        ending: dict[tuple[int, int], int] = {}
        for index, branch in enumerate(self.branches):
            forks = {child: self.branches[child].fork - branch.fork for child in children[index]}
            previous = None if branch.parent is None else ending[(branch.parent, branch.fork)]
            start = 0
            for stop in sorted({*forks.values(), len(branch.token_ids)}):
                leaves = {index}.union(*(below[child] for child, at in forks.items() if at >= stop))
                spans.append(Span(index, start, stop, tuple(sorted(leaves)), previous))
                previous = ending[(index, branch.fork + stop)] = len(spans) - 1
                start = stop
        return tuple(spans)


def _rehomed(branch: Branch, branches: Sequence[Branch]) -> Branch:
    parent, fork = branch.parent, branch.fork
    if parent is not None:
        if not 0 <= parent < len(branches):
            raise ValueError(f"branch {parent} does not exist: the tree has {len(branches)}")
        if not 0 <= fork < branches[parent].end:
            raise ValueError(f"cannot fork after {fork} tokens of a completion of {branches[parent].end}")
    while parent is not None and fork <= branches[parent].fork:
        parent = branches[parent].parent
    if parent is None and fork != 0:
        raise ValueError(f"a branch that starts at the root inherits no token, but its fork is {fork}")
    beside = branch.parent if parent is None else None
    return replace(branch, parent=parent, beside=branch.beside if beside is None else beside)


Forest = tuple[RolloutTree, ...]
"""The trees of one problem: the first is rooted at the prompt, the others at the prefixes that were replayed."""
