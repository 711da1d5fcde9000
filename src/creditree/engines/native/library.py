"""The native decode step: compiled on first use and kept for later runs; where that cannot be, it is said why."""

import contextlib
import ctypes
import logging
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from creditree.engines.native.cache import folder, is_sound
from creditree.engines.native.compiler import (
    KINDS,
    BuildError,
    Compiler,
    build,
    compiler_at,
    compiler_path,
    digest_of,
)
from creditree.errors import ConfigError

SWITCH = "CREDITREE_NATIVE"
"""Set to 0, this environment variable keeps the engine on torch."""
_LOG = logging.getLogger("creditree.native")

_compiling = threading.Lock()


@dataclass(frozen=True, eq=False, slots=True)
class Library:
    """The compiled code, what names it and who compiled it; or `why` there is none."""

    code: Any | None
    digest: str = ""
    compiler: str = ""
    why: str = ""


def prepare(dtype: str = "float32") -> None:
    """Start to compile in the background what `library` will be asked for, while heavy packages are imported."""
    threading.Thread(target=_prepared, args=[dtype], daemon=True).start()


def _prepared(dtype: str) -> None:
    if not can_compile(dtype):
        return
    with contextlib.suppress(BuildError, ConfigError, OSError):  # said by `library`
        _built(dtype)


def library(dtype: str) -> Any | None:
    """Return the compiled library for base weights of `dtype`, or None: then it is said once why."""
    return _opened(dtype).code


def identity(dtype: str, device: str = "cpu") -> dict[str, str]:
    """Return what decides the sampler's last bits: native code by digest and compiler, or torch and why.

    Compiles where that has not been done yet. A model that is not of the Llama family is decoded by torch all the same.
    """
    if not device.startswith("cpu"):
        return {"engine": "torch", "why": f"the model is on {device}"}
    opened = _opened(dtype)
    if opened.code is None:
        return {"engine": "torch", "why": opened.why}
    return {"engine": "native", "library": opened.digest, "compiler": opened.compiler}


def can_compile(dtype: str) -> bool:
    """Return whether `library` can be expected to return one: there is a compiler, and nobody switched it off."""
    return os.environ.get(SWITCH) != "0" and dtype in KINDS and compiler_path() is not None


def forget() -> None:
    """Look anew at the next call: for tests that change the machine's environment."""
    _opened.cache_clear()
    folder.cache_clear()
    compiler_at.cache_clear()


@cache
def _opened(dtype: str) -> Library:
    if os.environ.get(SWITCH) == "0":
        return Library(None, why=f"{SWITCH} is 0")
    if dtype not in KINDS:
        return Library(None, why=f"native code has no {dtype}")
    try:
        path, digest, compiler = _built(dtype)
        return Library(_declared(ctypes.CDLL(str(path))), digest, compiler.version)
    except (BuildError, OSError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        _LOG.warning("native code is not used: %s; torch decodes, more slowly and with other rounding.", why)
        return Library(None, why=why)


def _built(dtype: str) -> tuple[Path, str, Compiler]:
    """Return the library, compiled now if need be, its digest and its compiler. Raises BuildError or OSError."""
    path = compiler_path()
    if path is None:
        raise BuildError("there is no C++ compiler (install g++ or clang++, or name one in CXX)")
    with _compiling:
        compiler, kept = compiler_at(path), folder()
        digest = digest_of(compiler)
        target = kept.path / f"decode-{dtype}-{digest}.so"
        if not is_sound(target):
            if kept.refused is not None:
                _LOG.warning("%s; native code is compiled for this process alone.", kept.refused)
            build(compiler, dtype, target)
    return target, digest, compiler


def _declared(library: Any) -> Any:
    address, whole = ctypes.c_void_p, ctypes.c_int64
    library.creditree_new.restype = address
    library.creditree_new.argtypes = [address] * 5
    library.creditree_free.restype = None
    library.creditree_free.argtypes = [address]
    library.creditree_cells.restype = None
    library.creditree_cells.argtypes = [address, address]
    library.creditree_forward.restype = whole
    library.creditree_forward.argtypes = [address, address, whole, address, address, whole]
    library.creditree_begin.restype = whole
    library.creditree_begin.argtypes = [
        address,
        address,
        address,
        whole,
        address,
        address,
        whole,
        whole,
        address,
        address,
    ]
    library.creditree_watch.restype = whole
    library.creditree_watch.argtypes = [address, address]
    library.creditree_run.restype = whole
    library.creditree_run.argtypes = [address, ctypes.c_double, address]
    return library
