"""Where a model is: shipped in the package, a local directory, a GGUF file, or a name on the hub."""

from importlib.resources import files
from pathlib import Path

from creditree.disk import at_home, is_file, is_folder, is_there
from creditree.errors import ModelError, did_you_mean
from creditree.models.gguf import converted, is_gguf
from creditree.text import shown

BUILTIN = "builtin:"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""A directory without any of them gives an empty tokenizer, without a word from transformers."""


def builtin_models() -> list[str]:
    """Return the names of the models that ship in the package."""
    return sorted(
        BUILTIN + entry.name for entry in files("creditree.models").joinpath("builtin").iterdir() if entry.is_dir()
    )


def locate(name: str) -> str:
    """Return what transformers should load for `name`. Raises ModelError for a local directory that cannot be used."""
    if name.startswith(BUILTIN):
        if name not in builtin_models():
            raise ModelError(f"model '{name}' does not ship with Creditree.{did_you_mean(name, builtin_models())}")
        return str(files("creditree.models").joinpath("builtin", name.removeprefix(BUILTIN)))
    if not name or not name.isprintable():
        raise ModelError(f"{shown(name)} is no model's name; give a directory, a hub name or one of {known()}.")
    path = Path(name)
    try:
        path = path.expanduser()
        there, file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for the file system, a user without a home
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelError(f"model {shown(name)} cannot be looked for ({reason}); give a directory.") from None
    if is_gguf(name):
        return str(converted(path))
    if there:
        _check_directory(name, path)
        return str(path)
    if file:
        raise ModelError(f"model '{name}' is a file; give the directory that save_pretrained wrote, or a .gguf file.")
    if _is_path(name, path):
        raise ModelError(f"model directory '{name}' does not exist; give a directory, a hub name or one of {known()}.")
    return name


def known() -> str:
    """Return the built-in models, for a message."""
    return ", ".join(builtin_models())


def full_name(name: str) -> str:
    """Return the name by which a model is found from anywhere: the absolute path of a directory, else the name."""
    path = at_home(name)
    return str(path.absolute()) if is_there(path) and not name.startswith(BUILTIN) else name


def as_others(directory: Path) -> None:
    """Give weights the permissions of the files beside them: safetensors writes for the owner alone."""
    for path in directory.glob("*.safetensors"):
        beside = next(iter(directory.glob("*.json")), None)
        if beside is not None:
            path.chmod(beside.stat().st_mode & 0o777)


def _is_path(name: str, path: Path) -> bool:
    """Whether a name that is not there can only be meant as a directory: hub names are NAME or OWNER/NAME."""
    if path.is_absolute() or name.startswith((".", "~")) or name.endswith("/") or name.count("/") > 1:
        return True
    return "/" in name and is_folder(path.parent)


def _check_directory(name: str, path: Path) -> None:
    other = next(
        (entry for entry in sorted(path.iterdir()) if is_there(entry) and not (is_file(entry) or is_folder(entry))),
        None,
    )
    if other is not None:  # a pipe that nobody writes to would wait for ever
        raise ModelError(f"'{other.name}' in model directory '{name}' is a pipe or a device, not a file; remove it.")
    if not is_file(path / "config.json"):
        if is_file(path / "adapter_config.json"):
            raise ModelError(f"'{name}' holds an adapter, not a model; give the directory of the model it belongs to.")
        raise ModelError(f"model directory '{name}' has no config.json; give the directory that save_pretrained wrote.")
    if not any(is_file(path / file) for file in TOKENIZER_FILES):
        raise ModelError(f"model directory '{name}' has no tokenizer; save the model's tokenizer there too.")
    if any(path.glob("*.safetensors")):
        return
    if any(path.glob("*.bin")) or any(path.glob("*.pt")) or any(path.glob("*.pth")):
        raise ModelError(
            f"model directory '{name}' holds its weights as a pickle, which can run code when it is read; "
            "save them as safetensors (model.save_pretrained writes these) and try again."
        )
    raise ModelError(f"model directory '{name}' holds no weights; it needs a *.safetensors file.")
