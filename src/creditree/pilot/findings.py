"""What a check of the data found: one sentence each, how serious it is, and where to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["note", "caution", "blocker"]
MOST_PLACES = 5
"""Places that a finding names; the number says how many there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `kind` names the check for programs; `places` are rows, the first few; a blocker ends the pilot."""

    kind: str
    severity: Severity
    text: str
    places: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the finding as JSON."""
        return {"kind": self.kind, "severity": self.severity, "text": self.text, "places": list(self.places)}

    @property
    def sentence(self) -> str:
        """The text, with the places behind it."""
        return f"{self.text} ({', '.join(self.places)})" if self.places else self.text


def first_places(places: Sequence[str]) -> tuple[str, ...]:
    """Return the first few places, and how many more there are."""
    more = len(places) - MOST_PLACES
    return (*places[:MOST_PLACES], *([f"and {more} more"] if more > 0 else []))
