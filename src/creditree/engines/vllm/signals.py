"""From drawn completions to samples: what a server does not tell of tokens is found by the model in this process.

It has the weights that were sampled from, so one pass over a finished completion gives the entropies before its tokens,
and another the influence of its steps. Both cost here what decoding in this process gives beside; the ledger counts
them.
"""

from collections.abc import Sequence

import numpy as np

from creditree.engines.completions import Completions
from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.influence import Wanted, mapped, score_by
from creditree.engines.vllm.answers import DrawnTokens
from creditree.engines.whole import ATTENTION_BYTES
from creditree.ledger import Ledger
from creditree.models.influence import StepScores, influence, influence_of_whole
from creditree.models.load import Model
from creditree.models.scores import token_entropies
from creditree.signals import InfluenceSpec
from creditree.tree import FloatArray

TOKENS_A_PASS = 8192


def samples_of(
    model: Model, requests: Sequence[SampleRequest], drawn: Sequence[Sequence[DrawnTokens]], sampling: Sampling
) -> tuple[list[list[Sample]], Ledger]:
    """Return each request's completions as samples with the signals that it asks for, and what these cost."""
    members = [(index, key) for index, request in enumerate(requests) for key in request.keys]
    completions = Completions(requests, members, sampling)
    for place, completion in enumerate(completion for own in drawn for completion in own):
        length = len(completion.token_ids)
        completions.drawn[place], completions.stopped[place] = length, completion.finish_reason == "stop"
        completions.tokens[place, :length] = completion.token_ids
        completions.logprobs[place, :length] = completion.logprobs
        completions.sampler_logprobs[place, :length] = _sampler(completion.logprobs, sampling)
    ledger = Ledger()
    _find_entropies(model, completions, sampling, ledger)
    if completions.influence is not None:
        _find_influence(model, completions, ledger)
    samples: list[list[Sample]] = [[] for _ in requests]
    for place, owner in enumerate(completions.owner):
        samples[owner].append(completions.sample(place))
    return samples, ledger


def _sampler(logprobs: FloatArray, sampling: Sampling) -> FloatArray:
    """Return log p under the distribution that was sampled from, where the raw ones say it; else NaN."""
    if sampling.temperature == 0:
        return np.zeros_like(logprobs)
    plain = sampling.temperature == sampling.top_p == 1.0
    return logprobs if plain else np.full_like(logprobs, np.nan)


def _find_entropies(model: Model, completions: Completions, sampling: Sampling, ledger: Ledger) -> None:
    for place, owner in enumerate(completions.owner):
        request, length = completions.requests[owner], int(completions.drawn[place])
        if completions.entropies is None or not (sampling.entropies or request.signals.entropies):
            continue
        whole = np.concatenate([request.context_ids, completions.tokens[place, :length]])
        completions.entropies[place, :length] = token_entropies(model, whole, length)
        ledger.measured_tokens += len(whole)


def _find_influence(model: Model, completions: Completions, ledger: Ledger) -> None:
    whole = model.whole

    def scored(wanted: Sequence[Wanted], spec: InfluenceSpec) -> Sequence[StepScores]:
        ids, steps = [completion.token_ids for completion in wanted], [completion.steps for completion in wanted]
        ledger.influence_tokens += sum(map(len, ids))
        if whole is None:
            return influence(model.transformer, ids, steps, spec, mapped=mapped(wanted))
        return influence_of_whole(whole, ids, steps, spec, mapped=mapped(wanted))

    def together(longest: int) -> int:
        if whole is None:
            return TOKENS_A_PASS // longest
        return ATTENTION_BYTES // (whole.num_layers * whole.num_heads * max(4, whole.dtype.itemsize) * longest**2)

    score_by(scored, completions, together)
