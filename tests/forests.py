"""Judged trees for tests: builders by hand, a fake sampler for explorers, hypothesis strategies, plain views."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from creditree.explore.base import Explorer, Growth
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.signals import InfluenceSpec, Signals
from creditree.steps import split_steps
from creditree.tree import Branch, FloatArray, Forest, IntArray, RolloutTree, token_array

EOS = 1
PROBLEM = Problem("p", "1+1=", ("2",))
PROMPT = (7, 8, 9)
KEY = Key.of(0)

Writer = Callable[[Sequence[int], np.random.Generator], tuple[Sequence[int], float | None]]
"""A fake model and verifier: from the kept tokens, the tokens of one completion and its reward."""


def branch(token_ids: Sequence[int], reward: float | None = 0.0, parent: int | None = None, fork: int = 0) -> Branch:
    """Return a judged branch; its log-probabilities tell token and offset apart. Reward None: the verdict failed."""
    tokens = token_array(token_ids)
    logprobs = -0.1 * (tokens + 1) - 0.01 * np.arange(len(tokens))
    return Branch(
        parent=parent,
        fork=fork,
        token_ids=tokens,
        logprobs=logprobs,
        sampler_logprobs=2.0 * logprobs,
        finish_reason="stop" if token_ids[-1] == EOS else "length",
        verdict=Verdict(reward, "crash" if reward is None else "ok"),
    )


def root(kept: Sequence[int] = (), prompt: Sequence[int] = PROMPT) -> RolloutTree:
    """Return a tree without branches."""
    return RolloutTree(PROBLEM, token_array(prompt), token_array(kept))


def flat(
    completions: Sequence[Sequence[int]],
    rewards: Sequence[float | None],
    kept: Sequence[int] = (),
    prompt: Sequence[int] = PROMPT,
) -> RolloutTree:
    """Return a tree whose branches all start at its root."""
    return root(kept, prompt).grown(*(branch(y, r) for y, r in zip(completions, rewards, strict=True)))


def driven(explorer: Explorer, write: Writer, key: Key = KEY, seed: int = 0) -> tuple[Forest, list[Growth]]:
    """Run an explorer to its end with a fake sampler; return its forest and every growth that it asked for."""
    rng = np.random.default_rng(seed)
    exploration = explorer.grow(root(), key)
    growths = [next(exploration)]
    while True:
        grown = list(growths[-1].forest)
        for fork in growths[-1].forks:
            tree = grown[fork.tree]
            prefix = tree.context(fork.parent, fork.at)[len(tree.prompt_ids) :]
            samples = [write(prefix.tolist(), rng) for _ in range(fork.count)]
            new = [branch(y, r, fork.parent, fork.at) for y, r in samples]
            grown[fork.tree] = tree.grown(*(observed(one, prefix, fork.signals) for one in new))
        try:
            growths.append(exploration.send(tuple(grown)))
        except StopIteration as stop:
            return stop.value, growths


def observed(new: Branch, prefix: IntArray, signals: Signals) -> Branch:
    """Return a branch with the signals asked for, made up from its tokens, so that a run can be repeated."""
    completion = np.concatenate([prefix, new.token_ids])
    influence = None if signals.influence is None else made_up_influence(completion, signals.influence)[len(prefix) :]
    entropies = (completion * 7919 % 97 / 97)[len(prefix) :] if signals.entropies else None
    return replace(new, influence=influence, entropies=entropies)


def made_up_influence(completion: IntArray, spec: InfluenceSpec) -> FloatArray:
    """Return a number for each token, the same in a step, 0 in the last `delta` steps."""
    steps = split_steps(completion, spec.separators)
    found = np.zeros(len(completion))
    for index, (start, stop) in enumerate(steps[: -spec.delta]):
        found[start:stop] = (int(completion[:stop].sum()) * 7919 + index * 31) % 97 / 97
    return found


def rambler(kept: Sequence[int], rng: np.random.Generator) -> tuple[list[int], float | None]:
    """Write random tokens 2..4, EOS with probability 0.2, at most 12 with the kept ones; the reward is 0 or 1."""
    tokens: list[int] = []
    while len(kept) + len(tokens) < 12 and (not tokens or tokens[-1] != EOS):
        tokens.append(EOS if rng.random() < 0.2 else int(rng.integers(2, 5)))
    return tokens, float(rng.random() < 0.5)


# Rewards are multiples of 1/4, so that sums of them are exact.
REWARDS = st.integers(0, 4).map(lambda quarters: quarters / 4)
BODIES = st.lists(st.integers(2, 4), max_size=5).map(lambda body: (*body, EOS))


@st.composite
def groups(draw: st.DrawFn, min_size: int = 2, max_size: int = 8) -> tuple[list[tuple[int, ...]], list[float]]:
    """Draw completions that end in EOS, with repeats; equal completions have equal rewards."""
    bank = draw(st.lists(BODIES, min_size=1, max_size=max_size, unique=True))
    value = draw(st.lists(REWARDS, min_size=len(bank), max_size=len(bank)))
    picks = draw(st.lists(st.integers(0, len(bank) - 1), min_size=min_size, max_size=max_size))
    return [bank[pick] for pick in picks], [value[pick] for pick in picks]


@st.composite
def flat_trees(draw: st.DrawFn, failures: bool = False, kept: Sequence[int] = ()) -> RolloutTree:
    """Draw a flat tree; with `failures` some branches have no reward (perhaps all)."""
    completions, rewards = draw(groups())
    lost = draw(st.lists(st.booleans(), min_size=len(rewards), max_size=len(rewards))) if failures else []
    judged = [None if index < len(lost) and lost[index] else reward for index, reward in enumerate(rewards)]
    return flat(completions, judged, kept)


@st.composite
def grown_trees(draw: st.DrawFn, failures: bool = False) -> RolloutTree:
    """Draw a tree with forks at many places, some of them at or above their parent's own first token."""
    tree = root()
    rewards = st.one_of(REWARDS, st.none()) if failures else REWARDS
    for size in range(draw(st.integers(1, 8))):
        parent = draw(st.one_of(st.none(), st.integers(0, size - 1))) if size else None
        fork = 0 if parent is None else draw(st.integers(0, tree.branches[parent].end - 1))
        tree = tree.grown(branch(draw(BODIES), draw(rewards), parent, fork))
    return tree


@st.composite
def forests(draw: st.DrawFn, failures: bool = False) -> Forest:
    """Draw a flat tree and up to two replay trees, each rooted at a proper prefix of one of its completions."""
    first = draw(flat_trees(failures))
    replays = []
    for _ in range(draw(st.integers(0, 2))):
        completion = first.completion(draw(st.integers(0, len(first.branches) - 1)))
        kept = completion[: draw(st.integers(0, len(completion) - 1))]
        replays.append(draw(flat_trees(failures, kept.tolist())))
    return (first, *replays)


def plain_completion(tree: RolloutTree, leaf: int) -> tuple[tuple[int, int, int], ...]:
    """Return the (branch, offset, token) of each token of a completion, by walking parents one token at a time."""
    found: list[tuple[int, int, int]] = []
    index: int | None = leaf
    depth = tree.branches[leaf].end
    while index is not None:
        held = tree.branches[index]
        while depth > held.fork:
            depth -= 1
            found.append((index, depth - held.fork, int(held.token_ids[depth - held.fork])))
        index = held.parent
    return tuple(reversed(found))


def prefix_values(completions: Sequence[Sequence[int]], rewards: FloatArray) -> dict[tuple[int, ...], float]:
    """Return V(p) of every prefix p, by adding up in dictionaries."""
    total: dict[tuple[int, ...], float] = {}
    count: dict[tuple[int, ...], int] = {}
    for completion, reward in zip(completions, rewards, strict=True):
        for stop in range(len(completion) + 1):
            prefix = tuple(completion[:stop])
            total[prefix] = total.get(prefix, 0.0) + float(reward)
            count[prefix] = count.get(prefix, 0) + 1
    return {prefix: total[prefix] / count[prefix] for prefix in total}


def assigned(values: FloatArray | None) -> FloatArray:
    """Return a field's array, which must be assigned."""
    assert values is not None
    return values


def judged_completions(tree: RolloutTree) -> list[tuple[int, ...]]:
    """Return the completions of the leaves that have a reward."""
    return [tuple(int(token) for token in tree.completion(leaf)) for leaf in tree.rewarded]
