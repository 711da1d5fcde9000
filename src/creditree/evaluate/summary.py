"""What came of a run, as ``summary.json`` has it: before, after, the difference, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from creditree.errors import RunError
from creditree.evaluate.example import Example
from creditree.evaluate.power import LEVEL
from creditree.evaluate.statistics import Difference, Estimate, paired_difference, wilson
from creditree.report.rewards import RewardChange
from creditree.report.singles import Singles, singles_from, singles_json
from creditree.report.wording import p_value, points
from creditree.runs.records import record_of

_CURE = "make the run again, or leave it out"
TOKENS = {"sampled": "sampled", "decoded": "decoded", "forwarded": "forwarded", "in_loss": "in the loss"}
"""The token counts of a summary, and how they are called in tables."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Accuracy before and after on the same problems, under one way of decoding.

    `unjudged`: problems that are left out, because a completion got no reward on one side or both.
    """

    before: Estimate
    after: Estimate
    difference: Difference
    unjudged: int = 0

    @classmethod
    def of(cls, before: Mapping[str, int | None], after: Mapping[str, int | None]) -> "Decoding":
        """Compare 0/1 by problem id, in pairs; None: not judged.

        Raises ValueError where the problems are not the same, or none was judged on both sides.
        """
        if before.keys() != after.keys():
            raise ValueError("before and after were measured on different problems: they make no pairs")
        pairs = [
            (a, b)
            for a, b in ((before[problem], after[problem]) for problem in before)
            if a is not None and b is not None
        ]
        old, new = [a for a, _ in pairs], [b for _, b in pairs]
        n = len(pairs)
        return cls(wilson(sum(old), n), wilson(sum(new), n), paired_difference(old, new), len(before) - n)

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        d = self.difference
        interval = f"95 % interval {points(d.interval.low)} to {points(d.interval.high)}"
        evidence = f"{points(d.value)} points ({interval}), {p_value(d.p_value)}"
        left_out = f" {self.unjudged} more got no reward and are left out." if self.unjudged else ""
        if d.p_value < LEVEL and 0 not in d.interval:
            return f"after is {'better' if d.value > 0 else 'worse'}: {evidence}, n = {d.n}.{left_out}"
        return f"before and after are not distinguishable at n = {d.n}: {evidence}.{left_out}"


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Steps that were made, updates among them, and steps and updates that came to nothing."""

    done: int
    updates: int = 0
    no_signal: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class CompletionCounts:
    """Completions that were sampled in training, and what was wrong with some of them."""

    sampled: int
    without_reward: int = 0
    truncated: int = 0
    unparsable: int = 0
    timeouts: int = 0
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class DataDigests:
    """Which problems were measured and trained on; a set of training problems has one sha256 in any order."""

    split: str
    n: int
    sha256: str
    training_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class WarmStarted:
    """What a warm start did: supervised steps; loss (mean -log p a token, in nats) of the first and the last."""

    steps: int
    problems: int
    updates: int
    loss_first: float
    loss_last: float

    def words(self) -> str:
        """Return it in one line."""
        return (
            f"warm start: {self.steps} supervised steps on the worked solutions of {self.problems} problems each, "
            f"-log p a token from {self.loss_first:.3g} to {self.loss_last:.3g}"
        )


@dataclass(frozen=True, slots=True)
class BestValidation:
    """The best mean reward of a validation, and the step after which it was found."""

    best_reward: float
    best_step: int


@dataclass(frozen=True, slots=True)
class SummaryDetails:
    """What a summary holds besides its figures; None: there was none, or the run is older than the entry.

    By decoding, after training: `truncated`, `statuses` (of verdicts), `unjudged`, `mean_reward`. `grading`: rules of
    who judged;  `first`: prompt and completion before training;  `texts`: which tokens end a completion, and what the
    model's own settings would have;  `base_model`: digests;  `start`: what was gone on from;  `guard`: as
    `creditree.report.guard` writes it;  `nothing_learned`, `eager`, `unrewarded`: sentences on why.
    """

    steps: StepCounts | None = None
    completions: CompletionCounts | None = None
    truncated: Mapping[str, int] | None = None
    statuses: Mapping[str, Mapping[str, int]] | None = None
    unjudged: Mapping[str, int] | None = None
    mean_reward: Mapping[str, float | None] | None = None
    grading: Mapping[str, Any] | None = None
    first: Example | None = None
    notes: Sequence[str] | None = None
    data: DataDigests | None = None
    texts: Mapping[str, Any] | None = None
    base_model: Mapping[str, str] | None = None
    warm_start: WarmStarted | None = None
    nothing_learned: str | None = None
    eager: str | None = None
    unrewarded: str | None = None
    start: Mapping[str, Any] | None = None
    validation: BestValidation | None = None
    guard: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entries that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Figures:
    """The other entries of ``summary.json``, as they are written."""

    method: str
    decoding: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    tokens: dict[str, int]
    task: str = ""
    rewards: dict[str, dict[str, Any]] = field(default_factory=dict)
    single_rewards: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_task: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """What ``summary.json`` holds. `decoding` is by name (greedy, T=0.3, ...), the one that counts first.

    `seconds` has "total", "train" and phases, in wall seconds, and "train_cpu", the processor's; `tokens` has the
    counts of `TOKENS` over all training. `rewards`: mean rewards by decoding, where rewards are not all 0 or 1;
    `singles`: the rewards that they are sums of, where there are several;  `tasks`: accuracies of the tasks of a
    mixture, by decoding. `details`: what else there is to know.
    """

    method: str
    decoding: Mapping[str, Decoding]
    seconds: Mapping[str, float]
    tokens: Mapping[str, int]
    task: str = ""
    rewards: Mapping[str, RewardChange] = field(default_factory=dict)
    singles: Singles = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Decoding]] = field(default_factory=dict)
    details: SummaryDetails = field(default_factory=SummaryDetails)

    def __post_init__(self) -> None:
        if not self.decoding:
            raise ValueError("a summary needs at least one decoding")

    @property
    def main(self) -> Decoding:
        """The decoding that counts."""
        return next(iter(self.decoding.values()))

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded under the decoding that counts."""
        return self.main.conclusion()

    def to_json(self) -> dict[str, object]:
        """Return the content of ``summary.json``; its "before", "after", "difference" are of the first decoding."""
        tasks = {
            task: {name: decoding_json(figure) for name, figure in figures.items()}
            for task, figures in self.tasks.items()
        }
        return {
            "method": self.method,
            "task": self.task,
            **decoding_json(self.main),
            "decoding": {name: decoding_json(decoding) for name, decoding in self.decoding.items()},
            "seconds": dict(self.seconds),
            "tokens": dict(self.tokens),
            **({"rewards": {name: reward.to_json() for name, reward in self.rewards.items()}} if self.rewards else {}),
            **({"single_rewards": singles_json(self.singles)} if self.singles else {}),
            **({"by_task": tasks} if tasks else {}),
            **self.details.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: str = "summary.json") -> "Summary":
        """Return the summary that `to_json` made. Raises RunError that names `source` where it is none."""
        figures, details = record_of(_Figures, data, source, _CURE), record_of(SummaryDetails, data, source, _CURE)
        try:
            return cls(
                method=figures.method,
                decoding={name: _decoding(entry) for name, entry in figures.decoding.items()},
                seconds=figures.seconds,
                tokens=figures.tokens,
                task=figures.task,
                rewards={name: RewardChange.from_json(entry) for name, entry in figures.rewards.items()},
                singles=singles_from(figures.single_rewards),
                tasks={
                    task: {name: _decoding(entry) for name, entry in entries.items()}
                    for task, entries in figures.by_task.items()
                },
                details=details,
            )
        except KeyError as error:
            raise RunError(f"{source} has no entry {error}; {_CURE}.") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise RunError(f"{source} is not a summary ({error}); {_CURE}.") from error


def decoding_json(decoding: Decoding) -> dict[str, object]:
    """Return "before", "after" and "difference" as ``summary.json`` has them."""
    return {
        "before": decoding.before.to_json() | {"accuracy": decoding.before.value},
        "after": decoding.after.to_json() | {"accuracy": decoding.after.value},
        "difference": decoding.difference.to_json() | {"unjudged": decoding.unjudged},
    }


def _decoding(entry: Mapping[str, Any]) -> Decoding:
    before, after = (Estimate.from_json(entry[name]) for name in ("before", "after"))
    change = entry["difference"]
    return Decoding(before, after, Difference.from_json(change, before.n), int(change.get("unjudged", 0)))
