"""What to do now: a recommendation from the gain, the guard set and the risks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from creditree.evaluate.statistics import Difference, Estimate
from creditree.pilot.concentration import CONCENTRATED, Concentration

Decision = Literal["use", "use_with_care", "extend", "stop", "nothing_to_gain", "no_signal"]
LEVEL = 0.05
TRUNCATED_MORE = 0.05
TRUNCATED = 0.2


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is recommended, in a sentence."""

    decision: Decision
    text: str

    @property
    def mood(self) -> str:
        """How a reader should take it: good, bad or neutral."""
        return {"use": "good", "stop": "bad", "no_signal": "bad"}.get(self.decision, "neutral")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the decision depends on. Truncations are shares of the test's completions; `detectable` as a share."""

    before: Estimate
    after: Estimate
    difference: Difference
    truncated_before: float
    truncated_after: float
    constant: float
    detectable: float | None
    guard: Mapping[str, Any] | None = None


def risks(found: Outcome, concentration: Concentration | None, answer: tuple[str, float], right: float) -> list[str]:
    """Return the risks as sentences.

    `answer`: the commonest answer after training, with its share; `right`: the share of problems that accept it.
    """
    listed = []
    more = found.truncated_after - found.truncated_before
    if more > TRUNCATED_MORE:
        listed.append(
            f"completions are cut off more often: {found.truncated_after:.0%} after training, "
            f"{found.truncated_before:.0%} before"
        )
    elif found.truncated_after > TRUNCATED:
        listed.append(f"{found.truncated_after:.0%} of the completions are cut off: raise --max-new-tokens")
    if concentration is not None:
        listed += concentration_risks(concentration)
    if answer[1] > 0.5 and answer[1] > 2 * right:
        listed.append(
            f"{answer[1]:.0%} of the answers are '{answer[0]}', which is right for {right:.0%} of the problems"
        )
    if found.after.value <= found.constant > 0:
        listed.append(f"always giving the commonest answer would do as well: {found.constant:.0%}")
    if found.guard is not None and found.guard["worse"]:
        listed.append(f"guard set: {found.guard['conclusion']}")
    return listed


def concentration_risks(found: Concentration) -> list[str]:
    """Return the sentences of a learning signal that went to few places."""
    listed = []
    if found.top_problem > CONCENTRATED:
        listed.append(f"one problem had {found.top_problem:.0%} of the learning signal")
    listed += [
        f"one token, {one.text!r}, had {one.signal:.0%} of the learning signal"
        for one in found.tokens
        if one.signal > CONCENTRATED and one not in found.over_selected
    ]
    shown = ", ".join(
        f"{one.text!r} ({one.signal:.0%} of the signal, {one.sampled:.1%} of the text)"
        for one in found.over_selected[:3]
    )
    if shown:
        listed.append(f"over-selected tokens: {shown}")
    return listed


def recommend(found: Outcome, listed: Sequence[str], longer: float | None) -> Recommendation:
    """Return the recommendation after training.

    `longer`: how many times this training it takes until a gain could be seen, by the trials; None: not known.
    """
    d = found.difference
    if d.p_value < LEVEL and d.value > 0 and 0 not in d.interval:
        if found.guard is not None and found.guard["worse"]:
            return Recommendation(
                "use_with_care", "The gain is real, but the guard set got worse: do not use it where that matters."
            )
        if listed:
            return Recommendation(
                "use_with_care", "The gain is real. Look at the risks below before using the adapter."
            )
        return Recommendation("use", "The gain is real and no risk was seen: use the adapter, and monitor it.")
    if d.p_value < LEVEL and d.value < 0 and 0 not in d.interval:
        return Recommendation(
            "stop", "The model got worse: do not use the adapter; look at the examples and the risks."
        )
    seen = (
        ""
        if found.detectable is None
        else f" A gain under {100 * found.detectable:.0f} points cannot be seen on {d.n} problems."
    )
    if longer is not None and longer < 20:
        text = f"No gain was shown.{seen} By the trials, about {max(1.1, longer):.1f} times this budget could show one."
        return Recommendation("extend", text)
    return Recommendation("extend", f"No gain was shown.{seen} Try more problems, a longer budget or a stronger base.")
