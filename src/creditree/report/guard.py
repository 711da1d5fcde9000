"""The guard set before and after: whether it got worse, in accuracy or in loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditree.errors import RunError
from creditree.evaluate.power import LEVEL
from creditree.evaluate.statistics import Difference, Estimate, bootstrap_mean, paired_mean_difference
from creditree.evaluate.summary import Decoding, decoding_json
from creditree.report.wording import nats, p_value, points
from creditree.rng import Key


@dataclass(frozen=True, slots=True)
class GuardSide:
    """What was measured once: 0/1 (greedy; None: not judged) and the target's loss in nats a token, by problem id."""

    correct: Mapping[str, int | None]
    loss: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Return the content of one side of ``guard.json``."""
        return {"correct": dict(self.correct), "loss": dict(self.loss)}

    @classmethod
    def from_json(cls, data: Any, source: str) -> "GuardSide":
        """Return what `to_json` made. Raises RunError that names `source` where it is none."""
        try:
            correct, loss = (dict(data[name]) for name in ("correct", "loss"))
            judged = {str(k): None if v is None else int(v) for k, v in correct.items()}
            return cls(judged, {str(k): float(v) for k, v in loss.items()})
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise RunError(
                f"{source} holds no measurement of the guard set ({error!r}); make the run again."
            ) from error


@dataclass(frozen=True, slots=True)
class GuardResult:
    """Both sides compared, in pairs by problem. Losses are means over problems, in nats a token.

    Accuracy: McNemar's exact test and Newcombe's interval; loss: sign-flip test and a bootstrap interval over problems.
    Without `tolerance` a higher loss does not count as worse: a model that learned to work before it answers finds the
    bare answer less likely, and is none the worse for it.
    """

    accuracy: Decoding
    loss_before: Estimate
    loss_after: Estimate
    loss: Difference
    tolerance: float | None

    @classmethod
    def of(cls, before: GuardSide, after: GuardSide, tolerance: float | None, key: Key) -> "GuardResult":
        """Compare; `key` draws the bootstrap. Raises ValueError where the problems are not the same."""
        accuracy = Decoding.of(before.correct, after.correct)
        old, new = list(before.loss.values()), [after.loss[problem] for problem in before.loss]
        return cls(
            accuracy,
            bootstrap_mean(old, key.at("before")),
            bootstrap_mean(new, key.at("after")),
            paired_mean_difference(old, new, key.at("difference")),
            tolerance,
        )

    @property
    def less_accurate(self) -> bool:
        """Whether accuracy fell, at p below 0.05."""
        change = self.accuracy.difference
        return change.value < 0 and change.p_value < LEVEL

    @property
    def higher_loss(self) -> bool:
        """Whether the whole 95 % interval of the loss's rise lies above the tolerance."""
        return self.tolerance is not None and self.loss.interval.low > self.tolerance

    @property
    def worse(self) -> bool:
        """Whether the guard set got worse, by accuracy or by loss."""
        return self.less_accurate or self.higher_loss

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded, with the evidence."""
        causes = [name for name, is_so in (("accuracy", self.less_accurate), ("loss", self.higher_loss)) if is_so]
        verdict = f"worse in {' and '.join(causes)}" if causes else "not shown to be worse"
        change, loss = self.accuracy.difference, self.loss
        return (
            f"guard: {verdict}: accuracy {points(change.value)} points (95 % interval {points(change.interval.low)} to "
            f"{points(change.interval.high)}), {p_value(change.p_value)}; loss {nats(loss.value)} nats a token (95 % "
            f"interval {nats(loss.interval.low)} to {nats(loss.interval.high)}), {p_value(loss.p_value)}; n = {loss.n}."
        )

    def to_json(self) -> dict[str, object]:
        """Return what ``summary.json`` has of it."""
        loss = self.loss
        return {
            "n": loss.n,
            "accuracy": decoding_json(self.accuracy),
            "loss": {
                "before": self.loss_before.to_json() | {"nats": self.loss_before.value},
                "after": self.loss_after.to_json() | {"nats": self.loss_after.value},
                "difference": {
                    "value": loss.value,
                    "interval": loss.interval.to_json(),
                    "p_value": loss.p_value,
                    "higher": loss.gained,
                    "lower": loss.lost,
                },
            },
            "tolerance": self.tolerance,
            "worse": self.worse,
            "conclusion": self.conclusion(),
        }
