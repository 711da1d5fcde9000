"""A diagnosis: what is wrong, by what evidence, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import yaml

from creditree.text import one_line

Severity = Literal["note", "problem"]
"""A note is good to know and asks for nothing; a problem keeps a run from learning, or its figures from being true."""
Figure = str | int | float | bool | None
EXAMPLE = 300
"""Characters of a text that is shown as an example."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that is wrong.

    `id`: names its section of docs/doctor.md;  `text`: what is wrong, and why that matters;  `evidence`: the figures;
    `example`: a text that shows it;  `remedy`: what to do, in a sentence;  `settings`: keys of the configuration with
    the values to try, where the remedy is such.
    """

    id: str
    severity: Severity
    text: str
    evidence: Mapping[str, Figure]
    remedy: str
    example: str = ""
    settings: Mapping[str, Any] = field(default_factory=_nothing)

    @property
    def yaml(self) -> tuple[str, ...]:
        """The settings as lines of a configuration: ``sampling: {max_new_tokens: 256}``."""
        return tuple(yaml_line(key, value) for key, value in self.settings.items())

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "id": self.id,
            "severity": self.severity,
            "text": self.text,
            "evidence": dict(self.evidence),
            "example": self.example,
            "remedy": self.remedy,
            "settings": dict(self.settings),
            "yaml": list(self.yaml),
        }


def yaml_line(key: str, value: object) -> str:
    """Return a dotted key and its value as one line of YAML."""
    block, _, name = key.rpartition(".")
    nested: object = {name: value}
    for part in reversed(block.split(".") if block else []):
        nested = {part: nested}
    text = yaml.safe_dump(nested, default_flow_style=True, allow_unicode=True, width=float("inf")).strip()
    return text[1:-1]


def quoted(text: str) -> str:
    """Return the beginning of a text, on one line, between quotes."""
    return f"'{one_line(text, EXAMPLE)}'"
