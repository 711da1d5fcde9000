"""Influence of the steps of sampled completions by a pass over what is stored of them: keys and values are there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions
from creditree.engines.store import PrefixStore
from creditree.ledger import Ledger
from creditree.models.influence import StepScores, first_query, influence, whole_steps
from creditree.signals import InfluenceSpec
from creditree.step_attention import MOST_STEPS, StepAttention
from creditree.steps import Step, split_steps
from creditree.tree import IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """A completion, prompt included, whose tokens from `first` on count for its steps; `is_mapped`: its map is kept."""

    index: int
    token_ids: IntArray
    steps: list[Step]
    first: int
    is_mapped: bool = False

    @property
    def ends(self) -> IntArray:
        """Where the steps of the completion end, in its tokens."""
        return np.array([stop - self.steps[0][1] for _, stop in self.steps[1:]], dtype=np.int64)


def mapped(wanted: Sequence[Wanted]) -> list[int]:
    """Return which completions' maps are kept, by their places."""
    return [place for place, completion in enumerate(wanted) if completion.is_mapped]


Pass = Callable[[Sequence[Wanted], InfluenceSpec], Sequence[StepScores]]
"""Scores completions in one forward pass: that of each step, prompt first."""


def score(store: PrefixStore, completions: Completions, tokens_a_pass: int, ledger: Ledger) -> None:
    """Fill `completions.influence` where it is asked for and not there yet; while their prefixes are stored.

    Keys and values of all but the last tokens are read from the store, so only the tokens whose attention counts are
    forwarded: those from step `delta` on. Completions of about the same length share a pass, of `tokens_a_pass` tokens
    at most, padding and what is read included; or of one completion.
    """

    def scored(wanted: Sequence[Wanted], spec: InfluenceSpec) -> Sequence[StepScores]:
        return _pass(store, completions, wanted, spec, ledger)

    score_by(scored, completions, lambda longest: tokens_a_pass // longest)


def score_by(scored: Pass, completions: Completions, together: Callable[[int], int]) -> None:
    """Fill `completions.influence` by passes over as many completions as `together` allows of a length, or one."""
    wanted: dict[InfluenceSpec, list[Wanted]] = {}
    for index in np.flatnonzero(~completions.scored):
        spec = completions.requests[completions.owner[index]].signals.influence
        if spec is None:
            continue
        completion = _wanted(completions, int(index), spec)
        if completion is not None:
            wanted.setdefault(spec, []).append(completion)
    assert completions.influence is not None
    for spec, of_spec in wanted.items():
        for part in _passes(sorted(of_spec, key=lambda completion: len(completion.token_ids)), together):
            for completion, scores in zip(part, scored(part, spec), strict=True):
                of_token = np.repeat(scores.influence, [stop - start for start, stop in completion.steps])
                drawn = int(completions.drawn[completion.index])
                completions.influence[completion.index, :drawn] = of_token[len(of_token) - drawn :]
                if scores.attention is not None:
                    made = StepAttention(completion.ends, spec.delta, scores.attention)
                    completions.attention[completion.index] = made


def _wanted(completions: Completions, index: int, spec: InfluenceSpec) -> Wanted | None:
    own = completions.tokens[index, : completions.drawn[index]]
    whole = np.concatenate([completions.requests[completions.owner[index]].context_ids, own])
    prompt = int(completions.prompt_tokens[index])
    steps = whole_steps(prompt, split_steps(whole[prompt:], spec.separators))
    first = first_query(steps, spec.delta)
    if first is None:
        return None
    return Wanted(index, whole, steps, first, completions.begins[index] and len(steps) <= MOST_STEPS)


def _passes(wanted: Sequence[Wanted], together: Callable[[int], int]) -> Iterator[Sequence[Wanted]]:
    start = 0
    for stop in range(1, len(wanted) + 1):
        if stop == len(wanted) or stop + 1 - start > together(len(wanted[stop].token_ids)):
            yield wanted[start:stop]
            start = stop


def _pass(
    store: PrefixStore, completions: Completions, wanted: Sequence[Wanted], spec: InfluenceSpec, ledger: Ledger
) -> Sequence[StepScores]:
    """Return the scores of completions by one pass over what is not stored of them."""
    stored = [completions.path(completion.index)[:-1] for completion in wanted]
    first = min(min(completion.first, len(slots)) for completion, slots in zip(wanted, stored, strict=True))
    read = torch.from_numpy(np.stack([slots[:first] for slots in stored])).to(store.transformer.device)

    def past(layer: int, heads: int) -> tuple[Tensor, Tensor]:
        return store.read(layer, read, heads)

    ids, steps = [completion.token_ids for completion in wanted], [completion.steps for completion in wanted]
    ledger.influence_tokens += sum(len(completion.token_ids) - first for completion in wanted)
    return influence(store.transformer, ids, steps, spec, first, past if first else None, mapped(wanted))
