"""What a run trained, for other programs: a merged model, a PEFT adapter, or a GGUF file."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from creditree.errors import ConfigError
from creditree.export.folders import write_adapter, write_model
from creditree.export.gguf import convert, find_converter
from creditree.export.licence import licence_of
from creditree.export.request import Exported, ExportRequest, Kind, Verified, free_file, free_folder
from creditree.export.source import TrainedRun
from creditree.export.verify import probes, trained_scores, verified
from creditree.models.gguf import is_gguf
from creditree.models.load import load_texts
from creditree.models.merge import is_dequantised
from creditree.report.card import ModelCard, card
from creditree.report.watcher import Watcher
from creditree.runs.atomic import published, write_text, writing

CARD = "README.md"
CURE = "free it or choose another place"


def export(request: ExportRequest, watcher: Watcher) -> Exported:
    """Write what a run trained. It is there whole, and verified, or not at all.

    A merged model, and that of which a GGUF file is made, is compared with what was trained, by its log-probabilities.
    Raises ConfigError, ModelError or RunError.
    """
    kind, path = request.wanted
    writers: dict[Kind, Callable[[], Exported]] = {
        "merged": lambda: _merged(source, free_folder(path, kind), watcher),
        "adapter": lambda: _adapter(source, free_folder(path, kind)),
        "gguf": lambda: _gguf(source, free_file(path, kind), find_converter(request.converter), watcher),
    }
    source = TrainedRun.of(request.run)
    return writers[kind]()


def _adapter(source: TrainedRun, path: Path) -> Exported:
    if not source.is_adapter:
        raise ConfigError(f"run '{source.run.path}' trained all weights and has no adapter; export it with `merged`.")
    base = source.base
    over = f", which learned over the {base.dtype} weights of its base" if base.dtype in ("int8", "nf4") else ""
    exported = Exported("adapter", str(path), base.name, f"a LoRA adapter in PEFT's format{over}", "float32", None)
    with published(path, CURE) as folder:
        write_adapter(source, folder)
        _write_card(source, folder, exported)
    return exported


def _merged(source: TrainedRun, path: Path, watcher: Watcher) -> Exported:
    with published(path, CURE) as folder:
        dtype, found = _model(source, folder, watcher)
        exported = Exported("merged", str(path), source.base.name, _holds(source, dtype), dtype, found)
        _write_card(source, folder, exported)
    return exported


def _gguf(source: TrainedRun, path: Path, converter: list[str], watcher: Watcher) -> Exported:
    with writing(path, CURE):
        path.parent.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(dir=path.parent, prefix=".creditree-export-")
    with room as place:
        model, file = Path(place) / "model", Path(place) / "model.gguf"
        model.mkdir()
        dtype, found = _model(source, model, watcher)
        watcher.message("converting it to GGUF")
        convert(converter, model, file, dtype)
        with writing(path, CURE):
            file.rename(free_file(path, "gguf"))
    return Exported("gguf", str(path), source.base.name, f"a GGUF file: {_holds(source, dtype)}", dtype, found)


def _model(source: TrainedRun, folder: Path, watcher: Watcher) -> tuple[str, Verified]:
    """Write the whole model into a folder and compare it; return the type of its weights, and what was found."""
    watcher.message(f"computing the log-probabilities of what run {source.run.path} trained")
    ids = probes(source, load_texts(source.base.name, offline=False))
    after, before = trained_scores(source, ids)
    watcher.message("writing the merged model" if source.is_adapter else "writing the model")
    dtype = write_model(source, folder)
    watcher.message("comparing it with what was trained")
    return dtype, verified(folder, dtype, ids, after, before)


def _holds(source: TrainedRun, dtype: str) -> str:
    """Return what a whole model holds, in words: above all, into which weights the adapter was merged."""
    if not source.is_adapter:
        return f"all weights as they were trained, in {dtype}"
    base = source.base
    if is_dequantised(base.name, base.dtype):
        return f"the adapter merged into what the {base.dtype} weights stand for, in {dtype}"
    if is_gguf(base.name):
        return f"the adapter merged into the weights that the GGUF file was dequantised to, in {dtype}"
    return f"the adapter merged into the base's weights, in {dtype} as their files have them"


def _write_card(source: TrainedRun, folder: Path, exported: Exported) -> None:
    facts = ModelCard(
        kind=exported.kind,
        base=source.base.name,
        licence=licence_of(source.base.name),
        holds=exported.holds,
        verified=None if exported.verified is None else exported.verified.words(),
        summary=source.summary,
        config_yaml=source.run.config_yaml,
        made_with=source.made_with,
        title=source.run.path.resolve().name,
    )
    write_text(folder / CARD, card(facts), CURE)
