"""The machines of a Ray cluster: connecting to them, and whether they have what is asked for."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from creditree.errors import ConfigError, ModelError
from creditree.text import one_line

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable for the cluster to join; without it workers run on this machine."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what it would print of dead workers is said in words of our own
    "RAY_enable_worker_prestart": "0",  # idle processes for work that nobody has
    "RAY_prestart_worker_first_driver": "0",
    "RAY_agent_register_timeout_ms": "300000",  # a machine that is busy takes longer than Ray's 30 s
}
STARTS = 3
"""Attempts to start Ray here: it gives a machine 30 s, which may be busy."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one worker needs."""

    cpus: int = 1
    gpus: int = 0

    def of(self, node: "NodeRoom") -> int:
        """Return how many workers fit on a node."""
        by_gpu = node.gpus // self.gpus if self.gpus else node.cpus
        return min(node.cpus // self.cpus, by_gpu)

    @property
    def words(self) -> str:
        """What one worker needs, in words."""
        gpus = f" and {self.gpus} GPU" if self.gpus else ""
        return f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}{gpus}"


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a machine of the cluster has in all."""

    address: str
    cpus: int
    gpus: int = 0


def ray_module() -> ModuleType:
    """Return Ray. Raises ConfigError where it is not installed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigError("`workers` needs Ray, which is not installed: pip install 'creditree[ray]'.") from None
    return ray


@contextmanager
def connected(local: NodeRoom) -> Iterator[list[NodeRoom]]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine, for the block; give its machines.

    One that the program has joined already is used, and not left. Raises ModelError where a cluster does not answer.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield _nodes(ray)
        return
    address = os.environ.get(ADDRESS)
    if address:
        _begun(ray, f"the Ray cluster at {address} ({ADDRESS})", 1, address=address)
    else:
        own = {"num_cpus": local.cpus, "num_gpus": local.gpus, "include_dashboard": False}
        _begun(ray, "Ray on this machine", STARTS, address="local", **own)
    try:
        yield _nodes(ray)
    finally:
        ray.shutdown()


def _begun(ray: ModuleType, where: str, attempts: int, **options: Any) -> None:
    """Join or start a cluster, silently. Raises ModelError where it does not answer."""
    try:
        ray.init(**options, log_to_driver=False, logging_level="critical")
    except Exception as error:  # Ray raises plain ones
        ray.shutdown()
        if attempts > 1:
            _begun(ray, where, attempts - 1, **options)
            return
        reason = one_line(str(error), 200) or type(error).__name__
        raise ModelError(
            f"{where} does not start or answer ({reason}); see that `ray status` shows it, or leave `workers` out."
        ) from None


def _nodes(ray: ModuleType) -> list[NodeRoom]:
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [
        NodeRoom(
            str(node["NodeManagerAddress"]), int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0))
        )
        for node in alive
    ]


def fitting(nodes: Sequence[NodeRoom], workers: int, most_cpus: int, gpus: int) -> Need:
    """Return what each of some workers takes: as many CPUs as fit, up to `most_cpus`.

    Raises ConfigError, which says what is missing, where so many workers do not fit at all.
    """
    for cpus in range(max(1, most_cpus), 0, -1):
        need = Need(cpus, gpus)
        if sum(need.of(node) for node in nodes) >= workers:
            return need
    check_fits(nodes, workers, Need(1, gpus))
    return Need(1, gpus)


def check_fits(nodes: Sequence[NodeRoom], workers: int, need: Need) -> None:
    """Raise ConfigError, which says what is missing, where some workers do not fit on the machines."""
    room = sum(need.of(node) for node in nodes)
    if room >= workers:
        return
    have = "; ".join(f"{node.address}: {node.cpus} CPUs, {node.gpus} GPUs" for node in nodes)
    cure = f"set `workers` to {room}" if room else "add a machine with `ray start`"
    missing = need.words if workers - room == 1 else f"{workers - room} times {need.words}"
    raise ConfigError(
        f"`workers` is {workers}, each of which needs {need.words}, and there is room for {room} ({have}); missing: "
        f"{missing}; {cure}, or join a larger cluster ({ADDRESS})."
    )
