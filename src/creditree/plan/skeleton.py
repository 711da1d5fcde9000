"""How much of a step's skeleton is held at once: the stretches that the learner cuts it into, one on another."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from creditree.models.tree_attention import TreeTokens, block_starts, num_seen
from creditree.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class Bush:
    """`count` prompts of `stem` tokens, each with `chains` chains of `length` tokens that part at once.

    The last token of a stem predicts, and `learning` tokens of each chain.
    """

    stem: int
    chains: int
    length: int
    learning: int
    count: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of all."""
        return self.count * (self.stem + self.chains * self.length)

    @property
    def rows(self) -> int:
        """Tokens that predict."""
        return self.count * ((self.stem > 0) + self.chains * self.learning)


@dataclass(frozen=True, slots=True)
class PlannedStretch:
    """What goes through the layers together: chains, with or without stems, on `above` tokens forwarded before.

    `stands` says whether other stretches stand on it, so that its keys and values are kept.
    """

    bush: Bush
    tokens: int
    rows: int
    above: int = 0
    stands: bool = False


def bush_at_most(work: Workload) -> Bush:
    """Return the largest skeleton of a step: completions of full length part at their first token."""
    return _bush(work, work.early.at_most if work.early else None)


def bush_expected(work: Workload) -> Bush:
    """Return a skeleton to expect: as at most, but for tokens that are drawn, branching pairs, and forks.

    Early and random tokens end where they do in the mean. Completions that part at their first token have one branching
    prefix a tree: its prompt, and half a completion for each replay. Forks are in the middle of a completion: chains
    have the mean length of those of the group and those that go on from a fork.
    """
    if work.branches is not None and work.learns == "everything":
        own = work.group * max(0, work.max_new_tokens - 1) + work.forked * tokens_after(work, work.kept_expected)
        length = own // work.leaves
        return Bush(work.prompt_tokens, work.leaves, length, length, work.problems)
    if work.learns != "branching":
        return _bush(work, work.early.expected if work.early else None)
    length = (work.max_new_tokens - 1) // 2
    return Bush(work.prompt_tokens, work.replays + work.forked, length, min(length, 1), work.problems)


def tokens_after(work: Workload, kept: int) -> int:
    """Return the tokens of a completion after `kept` of them that are forwarded: all but the last."""
    return max(0, work.max_new_tokens - 1 - kept)


def _bush(work: Workload, reach: int | None) -> Bush:
    """The last token that learns is predicted by the one before it, and the first by the prompt."""
    length = learning = max(0, work.max_new_tokens - 1)
    if work.early is not None and reach is not None:
        length, learning = max(0, reach - 1), max(0, min(reach, work.early.chosen) - 1)
    return Bush(work.prompt_tokens, work.leaves - work.withheld * work.group, length, learning, work.problems)


def stack_of(bush: Bush, max_tokens: int, *, uneven: bool = False) -> list[PlannedStretch]:
    """Return the largest stack of stretches, each standing on the one before, as `stretches_of` cuts a skeleton.

    `uneven`: chains differ in length, so that those of one stretch can fill it.
    """
    if bush.tokens <= max_tokens:
        return [PlannedStretch(bush, bush.tokens, bush.rows)]
    single = replace(bush, count=1)
    if single.tokens <= max_tokens:
        together = replace(bush, count=max_tokens // single.tokens)
        return [PlannedStretch(together, together.tokens, together.rows)]
    if bush.chains * bush.length == 0:
        return [PlannedStretch(single, single.tokens, single.rows)]
    chains = min(bush.chains, max(1, max_tokens // bush.length))
    stem, top = replace(single, chains=0), replace(single, stem=0, chains=chains)
    tokens = max(top.tokens, min(max_tokens, bush.chains * bush.length)) if uneven else top.tokens
    rows = tokens * bush.learning // bush.length
    return [PlannedStretch(stem, stem.tokens, 1, 0, True), PlannedStretch(top, tokens, rows, bush.stem)]


def forked_stack(work: Workload, kept: int) -> list[PlannedStretch] | None:
    """Return the largest stack where every token learns and completions are forked after `kept` tokens.

    Where a completion fits a stretch with all that grows below it, the prompt, and as many of these as fit. Else the
    prompt, then the tokens kept, then as much of what parts there as fits. None where nothing has to be cut.
    """
    if work.branches is None or work.learns != "everything" or kept == 0:
        return None
    after, chains, most = tokens_after(work, kept), 1 + work.branches.each, work.micro_batch_tokens
    below = kept + chains * after
    if work.prompt_tokens + work.group * below <= most or after == 0:
        return None
    prompt = PlannedStretch(Bush(work.prompt_tokens, 0, 0, 0), work.prompt_tokens, 1, 0, True)
    if below <= most:
        count = min(work.group, most // below)
        part = Bush(0, count * chains, below // chains, below // chains)
        return [prompt, PlannedStretch(part, count * below, count * below, work.prompt_tokens)]
    run = PlannedStretch(Bush(kept, 0, 0, 0), kept, kept, work.prompt_tokens, True)
    top = Bush(0, min(chains, max(1, most // after)), after, after)
    return [prompt, run, PlannedStretch(top, top.tokens, top.rows, work.prompt_tokens + kept)]


def latest_fork(work: Workload) -> int:
    """Return where a fork leads to the largest stack: as late as what parts there still fills a stretch."""
    chains = 1 + (work.branches.each if work.branches else 0)
    return max(0, work.max_new_tokens - 1 - -(-work.micro_batch_tokens // chains))


@dataclass(frozen=True, slots=True)
class AttentionSize:
    """Blocks that attention is computed in, and the padded queries and keys of each. One block gathers nothing."""

    blocks: int
    queries: int
    keys: int


@lru_cache(maxsize=4096)
def attention_size(stretch: PlannedStretch) -> AttentionSize:
    """Return the blocks that the learner cuts a stretch's attention into, by its own rule."""
    bush = stretch.bush
    enter, exit_ = [np.arange(stretch.above)], [np.full(stretch.above, stretch.above + stretch.tokens)]
    start = stretch.above
    for _ in range(bush.count):
        whole = start + bush.stem + bush.chains * bush.length
        enter.append(np.arange(start, whole))
        firsts = start + bush.stem + bush.length * (1 + np.arange(bush.chains))
        exit_ += [np.full(bush.stem, whole), np.repeat(firsts, bush.length)]
        start = whole
    tokens = TreeTokens(np.concatenate(enter), np.concatenate(exit_))
    queries = tokens.at(np.arange(stretch.above, len(tokens)))
    starts = block_starts(queries, tokens)
    if len(starts) <= 1:
        return AttentionSize(1, len(queries), len(tokens))
    lengths = np.diff(np.append(starts, len(queries)))
    keys = num_seen(queries, tokens)[starts] + lengths - 1
    return AttentionSize(len(starts), int(lengths.max()), int(keys.max()))
