"""The tiles of a model's products, and the way to attend, that are the fastest on the device that is there."""

from collections.abc import Sequence
from math import inf

import torch

from creditree.engines.static.kernels.launch import Launch, compile_ahead
from creditree.engines.static.kernels.scratch import Parts, Scratch, model_tiles, products_of
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import Looks, Tiles, looks_to_compare, tiles_to_compare
from creditree.engines.static.step import DecodeStep

_REPLAYS = 5


def tuned(plain: DecodeStep, parts: Parts, block_m: int) -> tuple[Scratch, dict[str, dict[Tiles | Looks, float]]]:
    """Time each kernel of a step over all layers in a few ways; return memory for the fastest, and seconds a launch.

    What the kernels leave is nothing that a step reads: `scratch` of their own, and caches at a column to come.
    """
    candidates = _choices(plain, parts, block_m)
    looks = [choice for choice in candidates["attention"] if isinstance(choice, Looks)]
    steps: list[TritonStep] = []
    for turn in range(max(map(len, candidates.values()))):
        tiles = {name: choices[turn] for name, choices in candidates.items() if turn < len(choices)}
        chosen = {name: choice for name, choice in tiles.items() if isinstance(choice, Tiles)}
        steps.append(TritonStep(plain, parts, Scratch.of(parts, block_m, chosen, looks[min(turn, len(looks) - 1)])))
    compile_ahead([launch for step in steps for name in candidates for launch in _alike(step, name)[:1]])
    column = plain.buffers.column
    saved = column.clone()
    column.clamp_(min=plain.buffers.grid.length // 2)
    times = {
        name: {choice: _seconds(_alike(step, name)) for choice, step in zip(choices, steps, strict=False)}
        for name, choices in candidates.items()
    }
    column.copy_(saved)
    best = {name: min(took, key=took.__getitem__) for name, took in times.items()}
    best_tiles = {name: choice for name, choice in best.items() if isinstance(choice, Tiles)}
    best_looks = next(choice for choice in best.values() if isinstance(choice, Looks))
    return Scratch.of(parts, block_m, best_tiles, best_looks), times


def _choices(plain: DecodeStep, parts: Parts, block_m: int) -> dict[str, list[Tiles | Looks]]:
    """Return what is compared: the first of each is taken where nothing is measured."""
    keys = plain.buffers.large["keys"][0]
    layer, kv, size = parts.layers[0], int(keys.shape[1]), int(keys.shape[-1])
    inputs = {name: product.weight.shape[1] for name, product in products_of(layer).items()}
    inputs["logits"] = parts.head.shape[1]
    tiles = model_tiles(parts, block_m)
    candidates: dict[str, list[Tiles | Looks]] = {
        name: [*tiles_to_compare(name, block_m, tiles[name], inputs[name], size if name == "heads" else 1)]
        for name in tiles
    }
    candidates["attention"] = [*looks_to_compare(plain.buffers.grid.rows * kv, 2 * size * keys.itemsize)]
    return candidates


def _alike(step: TritonStep, name: str) -> list[Launch]:
    """Return the launches of a kernel in the layers where it is the same: most of them."""
    same: dict[str, list[Launch]] = {}
    for launch in step.launches:
        if launch.name == name:
            same.setdefault(str(launch.constants), []).append(launch)
    return max(same.values(), key=len)


def _seconds(launches: Sequence[Launch]) -> float:
    """Return the seconds of a launch, in a graph of them all; infinitely many where the device cannot run it."""
    try:
        for launch in launches:  # what is compiled or loaded now is not while they are recorded
            launch()
        torch.cuda.synchronize()
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                for launch in launches:
                    launch()
            finally:
                graph.capture_end()
    except Exception:  # Triton says in classes of its own that shared memory does not suffice
        return inf
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    begun.record()
    for _ in range(_REPLAYS):
        graph.replay()
    ended.record()
    ended.synchronize()
    return float(begun.elapsed_time(ended)) / 1000 / _REPLAYS / len(launches)
