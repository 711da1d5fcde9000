"""The licence of a base model, where the model says it."""

from pathlib import Path

import yaml
from huggingface_hub import try_to_load_from_cache

from creditree.disk import at_home, is_folder
from creditree.models.directory import BUILTIN, locate
from creditree.models.gguf import is_gguf

OWN = "apache-2.0"
"""Of the models that ship with Creditree: the package's."""
KEY = "general.license"


def licence_of(name: str) -> str | None:
    """Return the licence that a model's card, or its GGUF file, names; None: it is not known here."""
    if name.startswith(BUILTIN):
        return OWN
    if is_gguf(name):
        return _of_gguf(at_home(name))
    where = Path(locate(name))
    readme = where / "README.md" if is_folder(where) else _cached(name)
    return None if readme is None else _of_card(readme)


def _cached(name: str) -> Path | None:
    """Return the card of a model of the hub where it was downloaded before."""
    found = try_to_load_from_cache(name, "README.md")
    return Path(found) if isinstance(found, str) else None


def _of_card(readme: Path) -> str | None:
    """Return the licence of a card's front matter: YAML between two lines of ``---``."""
    try:
        text = readme.read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else None
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) else None


def _of_gguf(file: Path) -> str | None:
    try:
        from gguf import GGUFReader

        field = GGUFReader(file).get_field(KEY)
        said = None if field is None else field.contents()
    except Exception:  # whatever a damaged file makes the reader raise: the licence is not known
        return None
    return said if isinstance(said, str) else None
