"""llama.cpp's own virtual environment: built from the source package of llama-cpp-python on first use, and kept."""

import os
import subprocess
import sys
from pathlib import Path

LLAMA_VERSION, GGUF_VERSION = "0.3.36", "0.19.0"


def llama_python(cache: Path) -> Path | str:
    """Return the interpreter of llama.cpp's environment, or why there is none. Building takes a core half an hour."""
    home = cache / f"llama-cpp-{LLAMA_VERSION}"
    python, done = home / "bin" / "python", home / ".installed"
    if done.is_file():
        return python
    print(f"building llama-cpp-python {LLAMA_VERSION} in {home}: a core needs half an hour, once", file=sys.stderr)
    packages = (f"llama-cpp-python=={LLAMA_VERSION}", f"gguf=={GGUF_VERSION}")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        settings = os.environ | {"CMAKE_ARGS": "-DLLAVA_BUILD=OFF"}  # its tools for pictures take half of the time
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True, env=settings)
    except (OSError, subprocess.SubprocessError) as error:
        return f"llama-cpp-python {LLAMA_VERSION} could not be built: {error}"
    done.touch()
    return python
