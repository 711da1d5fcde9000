"""Influence of the steps of sampled completions by a pass over what is stored of them: keys and values are there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions
from creditree.engines.store import PrefixStore
from creditree.ledger import Ledger
from creditree.models.influence import first_query, influence, whole_steps
from creditree.signals import InfluenceSpec
from creditree.steps import Step, split_steps
from creditree.tree import FloatArray, IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """A completion, prompt included, whose tokens from `first` on count for its steps."""

    index: int
    token_ids: IntArray
    steps: list[Step]
    first: int


Pass = Callable[[Sequence[Wanted], InfluenceSpec], Sequence[FloatArray]]
"""Scores completions in one forward pass: that of each step, prompt first."""


def score(store: PrefixStore, completions: Completions, tokens_a_pass: int, ledger: Ledger) -> None:
    """Fill `completions.influence` where it is asked for and not there yet; while their prefixes are stored.

    Keys and values of all but the last tokens are read from the store, so only the tokens whose attention counts are
    forwarded: those from step `delta` on. Completions of about the same length share a pass, of `tokens_a_pass` tokens
    at most, padding and what is read included; or of one completion.
    """

    def scored(wanted: Sequence[Wanted], spec: InfluenceSpec) -> Sequence[FloatArray]:
        return _pass(store, completions, wanted, spec, ledger)

    score_by(scored, completions, lambda longest: tokens_a_pass // longest)


def score_by(scored: Pass, completions: Completions, together: Callable[[int], int]) -> None:
    """Fill `completions.influence` by passes over as many completions as `together` allows of a length, or one."""
    wanted: dict[InfluenceSpec, list[Wanted]] = {}
    for index in np.flatnonzero(~completions.scored):
        spec = completions.requests[completions.owner[index]].signals.influence
        if spec is None:
            continue
        request = _wanted(completions, int(index), spec)
        if request is not None:
            wanted.setdefault(spec, []).append(request)
    assert completions.influence is not None
    for spec, asking in wanted.items():
        for part in _passes(sorted(asking, key=lambda request: len(request.token_ids)), together):
            for request, scores in zip(part, scored(part, spec), strict=True):
                of_token = np.repeat(scores, [stop - start for start, stop in request.steps])
                drawn = int(completions.drawn[request.index])
                completions.influence[request.index, :drawn] = of_token[len(of_token) - drawn :]


def _wanted(completions: Completions, index: int, spec: InfluenceSpec) -> Wanted | None:
    own = completions.tokens[index, : completions.drawn[index]]
    whole = np.concatenate([completions.requests[completions.owner[index]].context_ids, own])
    prompt = int(completions.prompt_tokens[index])
    steps = whole_steps(prompt, split_steps(whole[prompt:], spec.separators))
    first = first_query(steps, spec.delta)
    return None if first is None else Wanted(index, whole, steps, first)


def _passes(wanted: Sequence[Wanted], together: Callable[[int], int]) -> Iterator[Sequence[Wanted]]:
    start = 0
    for stop in range(1, len(wanted) + 1):
        if stop == len(wanted) or stop + 1 - start > together(len(wanted[stop].token_ids)):
            yield wanted[start:stop]
            start = stop


def _pass(
    store: PrefixStore, completions: Completions, wanted: Sequence[Wanted], spec: InfluenceSpec, ledger: Ledger
) -> Sequence[FloatArray]:
    """Return the scores of completions by one pass over what is not stored of them."""
    stored = [completions.path(completion.index)[:-1] for completion in wanted]
    first = min(min(completion.first, len(slots)) for completion, slots in zip(wanted, stored, strict=True))
    read = torch.from_numpy(np.stack([slots[:first] for slots in stored])).to(store.transformer.device)

    def past(layer: int, heads: int) -> tuple[Tensor, Tensor]:
        return store.read(layer, read, heads)

    ids, steps = [completion.token_ids for completion in wanted], [completion.steps for completion in wanted]
    ledger.influence_tokens += sum(len(completion.token_ids) - first for completion in wanted)
    return influence(store.transformer, ids, steps, spec, first, past if first else None)
