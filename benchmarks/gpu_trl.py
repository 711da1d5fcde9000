"""TRL's GRPO step on the GPU, on the work of `gpu_steps.py`: the same shape, prompts, sizes, LoRA, reward and rate.

    PYTHONPATH=src:. python benchmarks/gpu_trl.py --group 16 --problems 8 --max-new-tokens 256 [--out DIR]

The model is written into a folder (random weights of the shape: nothing but sizes matters to the seconds; the token
that ends a completion cannot be sampled), and `trl_side.py` trains it in a process of its own. Where TRL cannot be
imported the record says so, with null for the seconds.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import write
from benchmarks.gpu_steps import beside, options_of, write_prompts
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import PUBLIC_SHAPES, RANDOM, public_name

SIDE = Path(__file__).resolve().with_name("trl_side.py")
NEEDED = ("trl", "datasets", "accelerate", "peft")


def model_folder(name: str, dtype: str, device: str, folder: Path) -> Path:
    """Return a directory that TRL can load: the given one, or random weights of a public shape, written now."""
    if not name.startswith(RANDOM):
        return Path(name)
    shape = PUBLIC_SHAPES[public_name(name)]
    network: Any = random_model(shape, getattr(torch, dtype), device)
    network.save_pretrained(folder)
    byte_tokenizer(shape.vocab_size).save_pretrained(folder)
    return folder


def run_side(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run `trl_side.py` and return its record. Raises CalledProcessError where it fails."""
    prompts = folder / "prompts.txt"
    write_prompts(prompts, options.prompt_tokens)
    named = {"model": model_folder(options.model, options.dtype, options.device, folder / "model"), "prompts": prompts}
    named |= {"group": options.group, "problems": options.problems, "max-new-tokens": options.max_new_tokens}
    named |= {"dtype": options.dtype, "steps": options.steps, "warmup": options.warmup, "device": options.device}
    command = [sys.executable, str(SIDE), *(f"--{name}={value}" for name, value in named.items())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure TRL, and write what came out, beside ours where that is known."""
    options = options_of(__doc__)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    record: dict[str, Any] = {"benchmark": "gpu_trl", "step": None}
    if missing:
        record["why"] = f"{', '.join(missing)} cannot be imported on this machine, and was not carried to it"
    else:
        with tempfile.TemporaryDirectory() as folder:
            record["step"] = run_side(options, Path(folder))
    write("trl", record, options.device, options.out)
    beside(options.device, options.out)


if __name__ == "__main__":
    main()
