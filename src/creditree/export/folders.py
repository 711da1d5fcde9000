"""Models and adapters as folders that transformers and PEFT load."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from creditree.disk import is_file
from creditree.export.source import TrainedRun
from creditree.models.directory import as_others
from creditree.models.merge import WeightFiles, merged
from creditree.models.reading import load_generation, load_tokenizer
from creditree.models.saved_adapter import CONFIG_FILE, WEIGHTS_FILE, SavedAdapter
from creditree.runs.checksums import CHECKSUMS
from creditree.train.inputs import BASE

SHARD = "2GB"
"""Of one file of weights: what is written is held in memory once more while it is."""
GENERATION = "generation_config.json"
OWN = {CHECKSUMS, BASE}
"""What only Creditree reads in the folder of what was trained."""


def write_adapter(source: TrainedRun, folder: Path) -> None:
    """Write the adapter, in PEFT's format, into an empty folder."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(source.trained / name, folder / name)


def write_model(source: TrainedRun, folder: Path) -> str:
    """Write the whole model into an empty folder, tokenizer, template and generation settings included.

    Return the type of its weights. Raises ModelError.
    """
    if not source.is_adapter:
        for path in sorted(source.trained.iterdir()):
            if path.name not in OWN and is_file(path):
                shutil.copyfile(path, folder / path.name)
        return source.base.dtype
    base = source.base
    with _scratch(folder) as scratch:
        model = merged(base.name, base.dtype, SavedAdapter.read(source.trained), scratch)
        dtype = str(model.dtype).removeprefix("torch.")
        _save(model, base.name, folder)
    return dtype


def _save(model: Any, base: str, folder: Path) -> None:
    """Save a model, with the tokenizer and the generation settings that the base has."""
    tokenizer, generation = load_tokenizer(base), load_generation(base)
    model.generation_config = GenerationConfig()  # the base's own may be one that transformers refuses to save
    model.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)
    (folder / GENERATION).unlink(missing_ok=True)
    if generation is not None:
        generation.to_json_file(folder / GENERATION)
    as_others(folder)


@contextmanager
def _scratch(folder: Path) -> Iterator[WeightFiles]:
    """Give the block room for weights, on the disk on which it writes."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".scratch-") as room:
        yield WeightFiles(Path(room))
