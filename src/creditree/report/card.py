"""The model card of what is exported: a README.md as the Hugging Face hub reads one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from creditree import __version__
from creditree.disk import is_there
from creditree.evaluate.summary import Summary
from creditree.report.document import Block, Bullets, Code, Heading, Paragraph, to_markdown
from creditree.report.summary import summary_markdown
from creditree.text import printable

BUILTIN = "builtin:"
LIBRARIES = ("creditree", "commit", "python", "torch", "transformers", "peft", "numpy", "safetensors")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a card says. `kind`: adapter, merged or gguf;  `base`: the base model's name;  `licence`: None: not known.

    `holds`: what was written, in words;  `verified`: how it was compared;  `summary`: None: the run's cannot be read;
    `made_with`: versions, as the run has them.
    """

    title: str
    kind: str
    base: str
    licence: str | None
    holds: str
    verified: str | None
    summary: Summary | None
    config_yaml: str
    made_with: Mapping[str, Any]


def card(facts: ModelCard) -> str:
    """Return the card: nothing in names, tasks or problems makes a link, a tag or a heading in it."""
    figures = "The run's summary cannot be read: there are no figures.\n"
    if facts.summary is not None:
        figures = summary_markdown(facts.summary)
    return "\n".join([_front(facts), to_markdown(_about(facts)), figures, to_markdown(_how(facts))])


def _front(facts: ModelCard) -> str:
    """Return what machines read: base, licence, library. A base that lies on a disk has no name that others know."""
    values: dict[str, Any] = {
        "library_name": "peft" if facts.kind == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["creditree", "reinforcement-learning", *(["lora"] if facts.kind == "adapter" else [])],
    }
    if _is_public(facts.base):
        values["base_model"] = facts.base
    if facts.licence is not None:
        values["license"] = facts.licence
    return f"---\n{printable(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))}---\n"


def _about(facts: ModelCard) -> list[Block]:
    trained = facts.summary
    task = f" on {trained.task}" if trained is not None and trained.task else ""
    method = f"Trained with {trained.method}{task}, by reinforcement learning with Creditree." if trained else ""
    licence = facts.licence or "not known here: look it up before you pass this on"
    checked = [] if facts.verified is None else [f"verified: {facts.verified}"]
    return [
        Heading(facts.title, 1),
        *([Paragraph(method)] if method else []),
        Bullets((f"base model: {_shown(facts.base)}", f"licence of the base: {licence}", facts.holds, *checked)),
        *_loading(facts),
    ]


def _how(facts: ModelCard) -> list[Block]:
    versions = [f"{name} {facts.made_with[name]}" for name in LIBRARIES if facts.made_with.get(name)]
    return [
        Heading("How it was made"),
        Code("creditree train config.yaml --run run", "bash"),
        Paragraph("with this config.yaml, in which every value is as it ran:"),
        Code(facts.config_yaml.strip(), "yaml"),
        Bullets((f"versions: {', '.join(versions) or 'not known'}", f"exported by creditree {__version__}")),
    ]


def _loading(facts: ModelCard) -> list[Block]:
    """Return how it is loaded, as a program."""
    if facts.kind == "gguf":
        return []
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer"]
    if facts.kind == "adapter":
        base = repr(_shown(facts.base))
        if facts.base.startswith(BUILTIN):
            lines += ["from creditree.models.directory import locate"]
            base = f"locate({facts.base!r})"
        lines += ["from peft import PeftModel", ""]
        lines += [f"base = {base}  # where the base model lies", "tokenizer = AutoTokenizer.from_pretrained(base)"]
        lines += ['model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), ".")']
    else:
        lines += ["", 'tokenizer = AutoTokenizer.from_pretrained(".")']
        lines += ['model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")']
    return [Heading("How to load it"), Code("\n".join(lines), "python")]


def _is_public(base: str) -> bool:
    """Return whether a name is one of the hub's: where a base lies on a disk of somebody's says nothing to others."""
    return base.count("/") <= 1 and ":" not in base and not base.startswith((".", "~", "/")) and not is_there(base)


def _shown(base: str) -> str:
    """Return a base's name as others may see it: of a path its last part."""
    return base if _is_public(base) or ":" in base else Path(base).name
