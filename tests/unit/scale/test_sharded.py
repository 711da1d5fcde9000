"""A model that is divided among two processes: the same numbers as whole, and half of its bytes in each."""

import gc
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.models.whole import WholeModel
from creditree.rng import Key
from creditree.scale.sharded import ModelGroup, bytes_held
from tests.gangs import gathered
from tests.tiny_models import OTHERS, other, tiny_whole

KINDS = ("qwen2", "gemma2", "opt", "qwen3_moe")
"""A tied head; attention of two kinds; another layout; layers of which a token uses some weights."""
LEARNED, SAMPLED = (1, 3), (4, 1)
"""Passes with and without gradient that each of two processes makes."""


@dataclass(frozen=True)
class Found:
    """What one process computed whole and divided, and the bytes of the base that it held then, of its parameters and
    of all tensors there are; and how many layers were gathered at once at most."""

    whole: list[NDArray[np.float64]]
    divided: list[NDArray[np.float64]]
    bytes_whole: int
    bytes_divided: int
    in_memory: int
    gathered: int


def made(kind: str) -> tuple[Model, Adapter]:
    wrapped = other(kind) if kind in OTHERS else tiny_whole(kind)
    adapter = Adapter(wrapped, LoraSpec(rank=2, layers=0.5), Key.of(0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.05)
    return wrapped, adapter


def computed(network: WholeModel, adapter: Adapter, number: int) -> list[NDArray[np.float64]]:
    """Return logits and gradients of a process's own passes: as many of each kind as are its own."""
    numbers: list[Tensor] = []
    for index in range(max(LEARNED[number], SAMPLED[number])):
        row = np.arange(3, 9 + number + index) % 60
        if index < SAMPLED[number]:
            with torch.no_grad():
                numbers += [network.logits([row], np.arange(len(row))), network.begin([row, row[:4]])[0]]
                with adapter.off():
                    numbers.append(network.logits([row[1:]], np.arange(2)))
        if index < LEARNED[number]:
            logits = network.logits([row, row[2:]], np.arange(1, 4))
            logits.square().mean().backward()
            numbers += [logits.detach(), *(matrix.grad for matrix in adapter.matrices if matrix.grad is not None)]
            for matrix in adapter.matrices:
                matrix.grad = None
    return [tensor.cpu().numpy().copy() for tensor in numbers]


def of_base(network: WholeModel) -> int:
    return bytes_held(parameter for name, parameter in network.model.named_parameters() if "lora_" not in name)


def in_memory() -> int:
    """Return the bytes of the storages of all tensors that there are."""
    gc.collect()
    held = {}
    for tensor in (own for own in gc.get_objects() if isinstance(own, Tensor)):
        storage = getattr(tensor, "_local_tensor", tensor).untyped_storage()
        held[storage.data_ptr()] = storage.size()
    return sum(held.values())


def gathered_layers(network: WholeModel) -> int:
    """Return how many layers are whole at the moment."""
    return sum(
        all(not hasattr(p, "to_local") for name, p in layer.named_parameters() if "lora_" not in name)
        for layer in network.layer_modules
    )


def both_ways(number: int, group: ModelGroup) -> list[Found]:
    found = []
    for kind in KINDS:
        before = in_memory()
        model, adapter = made(kind)
        network = model.whole
        assert network is not None
        whole, size = computed(network, adapter, number), of_base(network)
        with group.turn():
            lockstep = group.divide(model, adapter)
        counts: list[int] = []
        for module in (*network.layer_modules, network.head):
            module.register_forward_pre_hook(lambda *inputs, own=network, to=counts: to.append(gathered_layers(own)))
        numbers = computed(network, adapter, number)
        lockstep.attend()
        own = sum(matrix.numel() * 8 for matrix in adapter.matrices)
        found.append(Found(whole, numbers, size, of_base(network), in_memory() - before - own, max(counts)))
        del model, adapter, network, lockstep, module
    return found


@pytest.fixture(scope="module")
def found() -> list[list[Found]]:
    return gathered([partial(both_ways, 0), partial(both_ways, 1)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_divided_model_computes_what_a_whole_one_does(kind: str, found: list[list[Found]]) -> None:
    for own in (by_kind[KINDS.index(kind)] for by_kind in found):
        assert len(own.divided) == len(own.whole) > 4
        for ours, theirs in zip(own.divided, own.whole, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_each_process_holds_half_of_the_base_and_gathers_one_layer_at_a_time(
    kind: str, found: list[list[Found]]
) -> None:
    for own in (by_kind[KINDS.index(kind)] for by_kind in found):
        assert own.bytes_divided <= 0.52 * own.bytes_whole  # odd rows are padded
        assert own.gathered == 1
        assert own.in_memory <= 0.7 * own.bytes_whole, (own.in_memory, own.bytes_whole)


def moved(group: ModelGroup) -> list[float]:
    """Return the largest differences of a model's numbers on the host, and on a GPU in a group of one."""
    model, adapter = made("qwen2")
    network = model.whole
    assert network is not None
    whole = computed(network, adapter, 0)
    lockstep = group.divide(model, adapter)
    assert {parameter.device.type for parameter in network.model.parameters()} == {"cuda"}
    numbers = computed(network, adapter, 0)
    lockstep.attend()
    return [float(np.abs(own - other).max()) for own, other in zip(numbers, whole, strict=True)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_part_of_a_model_goes_to_the_gpu() -> None:
    # rotary angles are float32, whose cosines differ in the last digit between devices
    assert max(gathered([moved], "cuda")[0]) < 5e-6
