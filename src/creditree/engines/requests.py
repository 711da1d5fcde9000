"""What every engine of this process asks of requests, and says where a model gives no distribution."""

from collections.abc import Sequence

from creditree.engines.engine import SampleRequest
from creditree.errors import DataError, NonFiniteError
from creditree.models.influence import check_influence
from creditree.models.load import Model

PREFILL_TOKENS = 8192
"""Tokens of a prefill pass, padding included, where nothing else is said."""


def check_requests(model: Model, requests: Sequence[SampleRequest]) -> None:
    """Raise DataError for a context that does not fit, ConfigError for influence of layers that are not there."""
    limit, known = model.network.max_positions, model.network.num_embeddings
    for request in requests:
        outside = request.context_ids[(request.context_ids < 0) | (request.context_ids >= known)]
        if len(outside):
            raise DataError(
                f"a prompt holds token {outside[0]}, but model '{model.name}' has embeddings for tokens 0 to "
                f"{known - 1} only; use the model's own tokenizer, or add rows to its embedding."
            )
        if len(request.context_ids) + request.max_new_tokens > limit:
            raise DataError(
                f"a prompt of {len(request.context_ids)} tokens and {request.max_new_tokens} new ones exceed the "
                f"context of {limit} tokens of model '{model.name}'; shorten the prompt or lower "
                "sampling.max_new_tokens."
            )
        if request.signals.influence is not None:
            check_influence(request.signals.influence, model.network)


def no_distribution(model: Model) -> NonFiniteError:
    """Return the error for logits that are NaN or infinite."""
    return NonFiniteError(
        f"model '{model.name}' computes logits that are NaN or infinite, so nothing can be sampled from it: its "
        "weights, or those of its adapter, are damaged or have grown too large; get them again, or train from an "
        "earlier checkpoint with a smaller learning rate."
    )
