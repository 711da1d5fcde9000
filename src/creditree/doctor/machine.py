"""Diagnoses of the machine: what decodes, GPUs that are not used, versions, disks, and whether a run fits."""

from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis, Figure
from creditree.engines.native.library import SWITCH
from creditree.setup.defaults import SMALL
from creditree.units import show_bytes

LEAST_FREE, LITTLE_FREE = 10**9, 5 * 10**9
"""Bytes free on a cache's disk: below the first little can be kept, below the second no model can be downloaded."""


def native(case: Case) -> Diagnosis | None:
    """Is decoding on the CPU left to torch, several times as slow as native code?"""
    host = case.host
    on_cpu = case.config is None or case.config.model.device == "cpu"
    if host is None or host.decoder["engine"] == "native" or not on_cpu:
        return None
    why = host.decoder["why"]
    switched = f"unset the environment variable {SWITCH}" if SWITCH in why else ""
    return Diagnosis(
        "native",
        "note",
        f"Torch decodes on this CPU, because {why}: native code is several times as fast.",
        {"engine": host.decoder["engine"], "why": why},
        f"To have it, {switched or 'install a C++ compiler (g++ or clang++), or name one in the variable CXX'}.",
    )


def gpu(case: Case) -> Diagnosis | None:
    """Is there a GPU that torch does not find, or that a real model is not put on?"""
    host, config = case.host, case.config
    if host is None:
        return None
    seen = {"driver": host.driver_gpus, "torch": host.versions.get("torch"), "found_by_torch": host.has_gpu}
    figures = {name: value if isinstance(value, bool) or value is None else str(value) for name, value in seen.items()}
    if host.driver_gpus is not None and not host.has_gpu:
        return Diagnosis(
            "gpu",
            "problem",
            f"The driver names a GPU ({host.driver_gpus}), but torch finds none: everything would run on the CPU.",
            figures,
            "Install a build of torch for CUDA (pytorch.org says which), and look whether CUDA_VISIBLE_DEVICES hides "
            "the GPU.",
        )
    is_real = case.shape is not None and case.shape.num_parameters >= SMALL
    if host.has_gpu and config is not None and is_real and config.model.device == "cpu":
        return Diagnosis(
            "gpu",
            "note",
            "The model is on the CPU, and torch finds a GPU here.",
            figures,
            "Put it there, unless the CPU is meant.",
            settings={"model.device": "cuda"},
        )
    return None


def versions(case: Case) -> Diagnosis | None:
    """Is something installed in a version that Creditree has not been made for?"""
    if case.host is None or not case.host.unmet:
        return None
    first = case.host.unmet[0]
    wanted = [unmet.partition(" (")[0] for unmet in case.host.unmet]
    return Diagnosis(
        "versions",
        "problem",
        f"{len(case.host.unmet)} of the packages that Creditree needs are missing, or are in a version that it has not "
        f"been made for; the first: {first}.",
        {"unmet": ", ".join(case.host.unmet)},
        f"Run: pip install {' '.join(repr(name) for name in wanted)}",
    )


def disk(case: Case) -> Diagnosis | None:
    """Is a cache's disk full, or can it not be written?"""
    caches = () if case.host is None else case.host.caches
    worst = min(caches, key=lambda cache: (cache.writable, cache.free), default=None)
    if worst is None or (worst.writable and worst.free >= LITTLE_FREE):
        return None
    state = f"has {show_bytes(worst.free)} free" if worst.writable else "cannot be written"
    grave = not worst.writable or worst.free < LEAST_FREE
    return Diagnosis(
        "disk",
        "problem" if grave else "note",
        f"The folder of {worst.what} ({worst.path}) {state}.",
        {"path": worst.path, "free_bytes": worst.free, "writable": worst.writable},
        "Free it, or name another folder in the environment variables XDG_CACHE_HOME and HF_HOME.",
    )


def memory(case: Case) -> Diagnosis | None:
    """Does the run need more memory than there is?"""
    room = case.room
    if room is None or (room.problem is None and room.at_most <= room.usable):
        return None
    evidence: dict[str, Figure] = {
        "device": room.device,
        "usable_bytes": room.usable,
        "needed_bytes": room.at_most,
        "expected_bytes": room.expected,
        "phase": room.phase,
    }
    if room.problem is None:
        return Diagnosis(
            "memory",
            "note",
            f"The run may need up to {show_bytes(room.at_most)} in {room.phase}, more than the "
            f"{show_bytes(room.usable)} that are free; {show_bytes(room.expected)} are expected.",
            evidence,
            "Set a limit, by which rows and micro-batches are chosen.",
            settings={"train.memory": show_bytes(room.usable).replace(" ", "")},
        )
    fitting = {room.group_key: room.group, "sampling.max_new_tokens": room.length}
    settings = {key: value for key, value in fitting.items() if value and key.startswith(("method.", "sampling."))}
    first = dict(list(settings.items())[:1])
    return Diagnosis(
        "memory",
        "problem",
        f"The run does not fit: {room.problem}",
        evidence,
        "Make one of these smaller, take a smaller model, or model.dtype bfloat16; creditree plan shows each part."
        if first
        else "Take a smaller model, or a larger machine; creditree plan shows each part.",
        settings=first,
    )
