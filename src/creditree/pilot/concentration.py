"""Where the learning signal went: how much of it on few tokens, on few problems, and on which."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MOST_SHOWN = 8
OVER_SELECTED = 5.0
"""A token is over-selected if its share of the signal is so many times its share of what was sampled ..."""
LEAST_SHARE = 0.05
"""... and at least this large."""
CONCENTRATED = 0.5
"""More than this share of the signal on one token, or one problem, is a risk."""


@dataclass(frozen=True, slots=True)
class TokenShare:
    """A token's share of the signal and of the sampled tokens."""

    text: str
    signal: float
    sampled: float

    @property
    def lift(self) -> float:
        """How many times more signal it got than tokens on the average."""
        return self.signal / self.sampled


@dataclass(frozen=True, eq=False, slots=True)
class Concentration:
    """The signal of a token is |advantage x weight|, as the loss has it; shares are of its sum over kept rollouts.

    `effective_tokens` is 1 / sum of squared shares over different tokens (inverse Simpson): so many equally strong
    tokens would be as concentrated; `effective_problems` the same over problems. `learning` is the share of sampled
    tokens that had any signal.
    """

    completions: int
    learning: float
    effective_tokens: float
    effective_problems: float
    top_problem: float
    tokens: tuple[TokenShare, ...]

    @property
    def over_selected(self) -> tuple[TokenShare, ...]:
        """Tokens with far more of the signal than of the text."""
        return tuple(token for token in self.tokens if token.signal >= LEAST_SHARE and token.lift >= OVER_SELECTED)

    @property
    def is_risk(self) -> bool:
        """Whether one token or one problem has most of the signal."""
        return self.top_problem > CONCENTRATED or any(token.signal > CONCENTRATED for token in self.tokens)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return asdict(self) | {"over_selected": [token.text for token in self.over_selected], "is_risk": self.is_risk}


def concentration(rows: Iterable[Mapping[str, Any]], text_of: Callable[[Sequence[int]], str]) -> Concentration | None:
    """Return where the signal of kept rollouts went, or None where there was none.

    `rows` are those of `creditree.runs.rollouts.read_rollouts`: token ids with advantages and weights, None where a
    token was not assigned any. `text_of` decodes token ids.
    """
    signal: dict[int, float] = {}
    sampled: Counter[int] = Counter()
    problems: dict[str, float] = {}
    completions = learned = 0
    for row in rows:
        completions += 1
        sampled.update(row["token_ids"])
        strengths = _strengths(row)
        problems[row["problem_id"]] = problems.get(row["problem_id"], 0.0) + sum(strengths)
        for token, strength in zip(row["token_ids"], strengths, strict=False):
            if strength > 0:
                signal[token] = signal.get(token, 0.0) + strength
                learned += 1
    total = sum(signal.values())
    if total <= 0:
        return None
    top = sorted(signal.items(), key=lambda item: -item[1])[:MOST_SHOWN]
    shares = tuple(TokenShare(text_of([token]), own / total, sampled[token] / sampled.total()) for token, own in top)
    return Concentration(
        completions,
        learned / sampled.total(),
        _effective(signal.values()),
        _effective(problems.values()),
        max(problems.values()) / total,
        shares,
    )


def _strengths(row: Mapping[str, Any]) -> list[float]:
    advantages, weights = row["advantages"], row["weights"]
    if advantages is None or weights is None:
        return []
    return [abs((a or 0.0) * (w or 0.0)) for a, w in zip(advantages, weights, strict=True)]


def _effective(strengths: Iterable[float]) -> float:
    values = list(strengths)
    total = sum(values)
    return 1 / sum((value / total) ** 2 for value in values)
