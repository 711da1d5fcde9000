"""Whether a base can be divided among the workers that there are: asked before anything is loaded."""

from creditree.config.schema import RunConfig
from creditree.errors import ConfigError, CreditreeError
from creditree.models.shapes import shape_of
from creditree.plan.workload import NUM_BYTES
from creditree.setup.machine import whole_memory
from creditree.units import show_bytes


def check_sharded(config: RunConfig, workers: int | None) -> None:
    """Raise ConfigError where `model.sharded` has no workers to divide the base among, or too few."""
    if not config.model.sharded:
        return
    if workers is None or workers < 2:
        have = "there are no `workers`" if workers is None else f"`workers` is {workers}"
        raise ConfigError(
            f"model.sharded divides the base among workers, and {have}; set `workers` to 2 or more, or remove "
            "model.sharded."
        )
    base, room = _base_bytes(config), whole_memory(config.model.device)
    if base // workers > room:
        raise ConfigError(
            f"each of {workers} `workers` would hold {show_bytes(base // workers)} of the base, and a device has "
            f"{show_bytes(room)}; set `workers` to {base // room + 2} or more, or use a smaller model."
        )


def check_host(config: RunConfig) -> None:
    """Raise ConfigError where this machine, on which all workers are, has not the memory to load a divided base.

    The process that was started holds the whole of it, one worker after the other loads it, and on a CPU all parts are
    in the same memory.
    """
    base, room = _base_bytes(config), whole_memory("cpu")
    times = 2 + (config.model.device == "cpu")
    if times * base > room:
        raise ConfigError(
            f"the base is held {times} times by this machine while workers load it, which takes "
            f"{show_bytes(times * base)} of memory, and it has {show_bytes(room)}; use a smaller model, or join a "
            "cluster."
        )


def _base_bytes(config: RunConfig) -> int:
    """Return the bytes of the base's weights, 0 where its shape is not known: loading it will tell."""
    try:
        shape = shape_of(config.model.name, offline=True)
    except CreditreeError:
        return 0
    return 0 if shape is None else shape.num_parameters * NUM_BYTES[config.model.dtype]
