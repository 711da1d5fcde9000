"""A base model that is divided among processes by torch's FSDP2: each holds a part of every layer, and gathers one
layer at a time.

`fully_shard` (arXiv 2304.11277) hooks into the forward passes of modules, so that such a model is run by its own one
(`WholeModel`). What learns is no part of it: an adapter is whole in each process.
"""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from creditree.models.load import Model
from creditree.models.reading import one_sentence, reason_of
from creditree.models.trained import Trained
from creditree.models.whole import WholeModel
from creditree.scale.lockstep import Lockstep, OutOfStepError

WAIT = timedelta(days=1)
"""How long one process waits for another, which may judge answers meanwhile: who is gone is noticed by other means."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process among those that hold one model: where they meet, and on what device it computes.

    `meeting`: how many such groups have met there before.
    """

    number: int
    size: int
    host: str
    port: int
    meeting: int
    device: str


class ModelGroup:
    """The processes that hold one model, seen from one of them. All must come before it is there."""

    def __init__(self, seat: Seat) -> None:
        self.device = seat.device
        whole = TCPStore(seat.host, seat.port, is_master=False, timeout=WAIT)
        self._store = PrefixStore(str(seat.meeting), whole)
        on_gpu = seat.device.startswith("cuda")
        if torch.device(seat.device).index is not None:  # without one torch takes the GPU that Ray left in sight
            torch.cuda.set_device(seat.device)
        # what they agree on lies on the host
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        store = PrefixStore("group", self._store)
        try:
            dist.init_process_group(backend, store=store, rank=seat.number, world_size=seat.size, timeout=WAIT)
            self._mesh: DeviceMesh = init_device_mesh("cuda" if on_gpu else "cpu", (seat.size,))
        except RuntimeError as error:  # what torch raises where one that had come is gone
            raise OutOfStepError(reason_of(error)) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Run the block when all who came before on this machine have ended theirs: it has room for one whole model."""
        place = f"turn/{socket.gethostname()}"
        number = self._store.add(place, 1)
        if number > 1:
            self._store.wait([f"{place}/{number - 1}"], WAIT)
        yield
        self._store.set(f"{place}/{number}", "over")

    def divide(self, model: Model, trained: Trained | None) -> Lockstep:
        """Keep this process's part of a model, and return what makes its passes in step with the others.

        All have loaded the same model, each on its host. Its layers go to the device one by one.
        """
        network = model.whole
        assert network is not None  # such a model is loaded as one
        matrices = [] if trained is None else trained.matrices
        for matrix in matrices:
            matrix.data = matrix.data.to(self.device)
        root = network.model
        with one_sentence(lambda error: f"{network.name} cannot be divided among workers ({reason_of(error)})."):
            for part in (*network.layer_modules, root):
                fully_shard(part, mesh=self._mesh, reshard_after_forward=True, ignored_params=set(matrices))
        # what FSDP notes of a forward pass is kept until a backward one; older versions of torch cannot forget it
        forget = getattr(root, "reset_iter_state", lambda: None)
        lockstep = Lockstep(_least, lambda: _one_token(network), matrices, forget)
        network.made = lockstep.forward
        return lockstep


def meeting_point(host: str) -> TCPStore:
    """Return where processes can meet: at a free port of one address of this machine, and of no other one."""
    server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    port = server.getsockname()[1]
    return TCPStore(host, port, is_master=True, wait_for_workers=False, timeout=WAIT, master_listen_fd=server.detach())


def _least(number: int) -> int:
    said = torch.tensor([number])
    dist.all_reduce(said, op=dist.ReduceOp.MIN)
    return int(said)


def _one_token(network: WholeModel) -> Tensor:
    ids = torch.zeros(1, 1, dtype=torch.long, device=network.device)
    logits: Tensor = network.model(input_ids=ids, use_cache=False).logits
    return logits


def bytes_held(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors in this process: of a divided one its own part."""
    parts = (tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors)
    return sum(part.numel() * part.element_size() for part in parts)
