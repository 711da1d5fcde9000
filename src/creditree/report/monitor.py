"""What a monitor says of an adapter: as JSON for programs, as a table and a sentence for readers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.evaluate.scores import mean_over_problems
from creditree.evaluate.sequential import DropTest, Evidence
from creditree.evaluate.statistics import Difference, Estimate, Interval, wilson
from creditree.report.wording import p_value, percent, percent_interval, points_interval, terminal_table
from creditree.rng import Key
from creditree.runs.observations import Observation

DROPS = (0.1, 0.2, 0.3)
"""Falls below the tolerated accuracy of which is said how many problems they take to be seen."""


@dataclass(frozen=True, slots=True)
class BasePart:
    """The base model on the fresh problems of one call, and what the adapter adds to it, paired by problem."""

    estimate: Estimate
    truncated: int
    difference: Difference


@dataclass(frozen=True, eq=False, slots=True)
class Monitored:
    """All that one call found. `fresh` was measured in it, `all` is everything so far; `key` draws the bootstrap.

    `truncated` and `statuses` are the baseline's, None where the run did not record them.
    """

    test: DropTest
    evidence: Evidence
    fresh: Sequence[Observation]
    all: Sequence[Observation]
    truncated: int | None
    statuses: Mapping[str, int] | None
    base: BasePart | None
    notes: Sequence[str]
    key: Key

    @property
    def degraded(self) -> bool:
        """Whether the alarm was ever raised: it stays, whatever comes later."""
        return self.evidence.alarm_at is not None

    @property
    def baseline(self) -> Estimate:
        """The baseline's accuracy."""
        return wilson(self.test.successes, self.test.n)

    def detectable(self) -> list[tuple[float, int]]:
        """Return accuracies and how many more problems it takes on average, at most, to see a drop to each.

        The accuracies are the tolerated one less 10, 20 and 30 points where that is above 0, and 0.
        """
        lower = [self.test.tolerated - drop for drop in DROPS]
        wanted = [*(accuracy for accuracy in lower if accuracy > 0), 0.0]
        counts = [(accuracy, self.evidence.problems_to_detect(accuracy)) for accuracy in wanted]
        return [(accuracy, problems) for accuracy, problems in counts if problems is not None]

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        n = len(self.all)
        if self.degraded:
            return (
                f"Degraded: accuracy on fresh problems is below the {percent(self.test.tolerated)} % that the baseline "
                f"vouches for: {_accuracy(self.all, self.key)}, n = {n}; shown at problem {self.evidence.alarm_at}, "
                f"{p_value(self.evidence.p_value)}."
            )
        accuracy = f" ({_accuracy(self.all, self.key)})" if n else ""
        seen = next(iter(self.detectable()), None)
        outlook = (
            ""
            if seen is None
            else f"; a drop to {percent(seen[0])} % would be seen after about {seen[1]} more problems"
        )
        return f"No degradation shown after n = {n} fresh problems{accuracy}{outlook}."


def monitor_record(monitored: Monitored) -> dict[str, Any]:
    """Return the record. Counts of completions have an entry each for baseline, this call, and all so far."""
    test, evidence, baseline = monitored.test, monitored.evidence, monitored.baseline
    record: dict[str, Any] = {
        "degraded": monitored.degraded,
        "baseline": baseline.to_json() | {"lower_bound": test.lower_bound},
        "fresh": _estimate(monitored.fresh, monitored.key),
        "all": _estimate(monitored.all, monitored.key),
        "e_value": evidence.e_value,
        "p_value": evidence.p_value,
        "alpha": test.alpha,
        "margin": test.margin,
        "tolerated": test.tolerated,
        "threshold": test.threshold,
        "alarm_at": evidence.alarm_at,
        "problems_to_detect": [
            {"accuracy": accuracy, "problems": problems} for accuracy, problems in monitored.detectable()
        ],
        "truncated": {"baseline": monitored.truncated, "fresh": _cut(monitored.fresh), "all": _cut(monitored.all)},
        "statuses": {
            "baseline": None if monitored.statuses is None else dict(monitored.statuses),
            "fresh": statuses(monitored.fresh),
            "all": statuses(monitored.all),
        },
        "notes": list(monitored.notes),
        "conclusion": monitored.conclusion(),
    }
    if monitored.base is not None:
        record["base"] = monitored.base.estimate.to_json() | {
            "truncated": monitored.base.truncated,
            "difference": monitored.base.difference.to_json(),
        }
    return record


def monitor_view(record: Mapping[str, Any]) -> RenderableType:
    """Return the record for the terminal."""
    cut = record["truncated"]
    rows = [
        ["baseline", *_cells(record["baseline"], cut["baseline"])],
        ["fresh, this call", *_cells(record["fresh"], cut["fresh"])],
        ["fresh, all so far", *_cells(record["all"], cut["all"])],
    ]
    if "base" in record:
        rows.append(["base model, this call", *_cells(record["base"], record["base"]["truncated"])])
    header = ("measured", "problems", "accuracy", "completions truncated")
    lines = [_evidence(record)]
    if "base" in record:
        change = record["base"]["difference"]
        interval = points_interval(change["value"], Interval(*change["interval"]))
        lines.append(f"The adapter against its base model on these problems: {interval}, {p_value(change['p_value'])}.")
    lines += [*record["notes"], record["conclusion"]]
    return Group(terminal_table("accuracy in % (95 % interval)", header, rows), *(Text(line) for line in lines))


def statuses(observations: Sequence[Observation]) -> dict[str, int]:
    """Return how many completions were judged how."""
    total: Counter[str] = Counter()
    for observation in observations:
        total.update(observation.statuses)
    return dict(total)


def _evidence(record: Mapping[str, Any]) -> str:
    margin = f", less {100 * record['margin']:g} points" if record["margin"] else ""
    return (
        f"Tolerated: {percent(record['tolerated'])} % or more (the baseline's lower bound{margin}). Evidence of less: "
        f"E = {record['e_value']:.3g}, alarm at {record['threshold']:.3g}; anytime {p_value(record['p_value'])}."
    )


def _cells(entry: Mapping[str, Any], truncated: int | None) -> list[str]:
    if not entry["n"]:
        return ["0", "", ""]
    shown = percent_interval(entry["value"], Interval(*entry["interval"]))
    return [str(entry["n"]), shown, "" if truncated is None else str(truncated)]


def _estimate(observations: Sequence[Observation], key: Key) -> dict[str, Any]:
    if not observations:
        return {"value": None, "interval": None, "n": 0}
    return _mean(observations, key).to_json()


def _accuracy(observations: Sequence[Observation], key: Key) -> str:
    mean = _mean(observations, key)
    low, high = percent(mean.interval.low), percent(mean.interval.high)
    return f"{percent(mean.value)} % correct, 95 % interval {low} to {high}"


def _mean(observations: Sequence[Observation], key: Key) -> Estimate:
    return mean_over_problems([observation.share for observation in observations], key)


def _cut(observations: Sequence[Observation]) -> int:
    return sum(observation.truncated for observation in observations)
