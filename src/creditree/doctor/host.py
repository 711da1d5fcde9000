"""The machine: hardware, versions, what decodes, devices, caches, and which extras are installed."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from packaging.requirements import Requirement

from creditree.disk import is_folder
from creditree.engines.native.library import identity
from creditree.runs.environment import describe_environment
from creditree.setup.machine import usable_memory, whole_memory

PACKAGE = "creditree"
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "quant": ("bitsandbytes",),
    "gguf": ("gguf",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""Extras of the package, and what is to be installed for each."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that torch can use: its memory in bytes, all of it and what a run may plan with."""

    name: str
    kind: str
    memory: int
    usable: int


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """A folder of caches: what is kept there, and the bytes that are free on its disk; `writable`: also once made."""

    what: str
    path: str
    free: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Host:
    """`versions`: of Creditree, Python and the libraries, with the hardware (`describe_environment`);  `unmet`:
    requirements of the package that what is installed does not meet;  `decoder`: native code and its compiler, or torch
    and why;  `extras`: by name, the version of what it needs, None where that is missing.
    """

    versions: Mapping[str, object]
    unmet: tuple[str, ...]
    decoder: Mapping[str, str]
    devices: tuple[Device, ...]
    caches: tuple[CacheFolder, ...]
    extras: Mapping[str, str | None]
    offline: bool

    @property
    def has_gpu(self) -> bool:
        """Whether torch finds a GPU."""
        return any(device.name.startswith("cuda") for device in self.devices)

    @property
    def driver_gpus(self) -> str | None:
        """The GPUs that the driver names, whether torch finds them or not."""
        gpus = self.versions.get("gpu")
        return None if gpus is None else str(gpus)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def look_at_host() -> Host:
    """Return what this machine is; native code is compiled where that has not been done yet."""
    return Host(
        describe_environment(),
        unmet_requirements(_requirements()),
        identity("float32"),
        _devices(),
        _caches(),
        {extra: _versions_of(needed) for extra, needed in EXTRAS.items()},
        offline=bool(constants.HF_HUB_OFFLINE),
    )


def unmet_requirements(required: Sequence[str]) -> tuple[str, ...]:
    """Return the requirements that the installed versions do not meet, each with what is there."""
    unmet = []
    for requirement in map(Requirement, required):
        installed = _version(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            unmet.append(f"{requirement.name}{requirement.specifier} (installed: {installed or 'no'})")
    return tuple(unmet)


def _requirements() -> list[str]:
    """Return what the package asks for, without its extras; nothing where it is not installed as a package."""
    try:
        return [line for line in requires(PACKAGE) or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions_of(packages: Sequence[str]) -> str | None:
    versions = [_version(package) for package in packages]
    return None if None in versions else ", ".join(map(str, versions))


def _devices() -> tuple[Device, ...]:
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return tuple(
        Device(
            name,
            "" if name == "cpu" else torch.cuda.get_device_name(name),
            whole_memory(name),
            usable_memory(name),
        )
        for name in names
    )


def _caches() -> tuple[CacheFolder, ...]:
    base = os.environ.get("XDG_CACHE_HOME")
    own = (Path(base) if base else Path.home() / ".cache") / "creditree"
    return (
        _cache("native code, models read from GGUF files, evaluations in progress", own),
        _cache("models and data sets of the hub", Path(constants.HF_HUB_CACHE)),
    )


def _cache(what: str, path: Path) -> CacheFolder:
    """Return what is known of a folder; of one that is not there yet, by the first folder above it that is."""
    there = next((place for place in (path, *path.parents) if is_folder(place)), Path("/"))
    return CacheFolder(what, str(path), shutil.disk_usage(there).free, os.access(there, os.W_OK | os.X_OK))
