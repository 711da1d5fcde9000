"""How much of a measurement is sampled and kept together: what a stop in its midst loses, at most."""

import torch

from creditree.models.load import Model

THREAD_FLOP, CUDA_FLOP = 1.5e12, 6e14
"""Work of a piece: what one thread of a CPU, and a large GPU, decode in about half a minute (one core of a Xeon with
AVX-512 made 25 GFLOP/s of SmolLM2-135M, 8 rows in float32)."""
MEAN_SHARE = 0.4
"""Of the limit of tokens: where completions end, in the mean."""
FEWEST = 8
"""Completions of a piece, at least: the weights are read once for all of them."""


def rows_at_once(model: Model, max_new_tokens: int) -> int:
    """Return how many completions make a piece of about half a minute.

    2 FLOP a weight and token. It depends on nothing that changes from call to call, so the same measurement is cut the
    same way.
    """
    network = model.network
    weights = sum(parameter.numel() for parameter in network.model.parameters())
    work = CUDA_FLOP if network.device.type == "cuda" else THREAD_FLOP * torch.get_num_threads()
    return max(FEWEST, int(work / (2 * weights * MEAN_SHARE * max_new_tokens)))
