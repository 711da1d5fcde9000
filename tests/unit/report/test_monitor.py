import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from creditree.evaluate.scores import paired_change
from creditree.evaluate.sequential import DropTest
from creditree.evaluate.statistics import wilson
from creditree.report.monitor import BasePart, Monitored, monitor_record, monitor_view
from creditree.rng import Key
from creditree.runs.observations import Observation

KEY = Key.of(0)


def observations(shares: Sequence[float]) -> list[Observation]:
    return [
        Observation("2026-01-31T12:00:00+00:00", 1, f"d{n}", f"p{n}", share, {"ok": 1}, n % 2, 12, "fresh.csv")
        for n, share in enumerate(shares)
    ]


def monitored(shares: Sequence[float], fresh: int, base: BasePart | None = None, margin: float = 0.0) -> Monitored:
    test = DropTest(90, 100, margin)
    found = observations(shares)
    return Monitored(
        test, test.begin().after(shares), found[len(found) - fresh :], found, 3, {"ok": 99, "unparsable": 1}, base,
        ["A note."], KEY,
    )  # fmt: skip


def shown(record: object) -> str:
    console = Console(width=200, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(monitor_view(record))  # type: ignore[arg-type]
    return capture.get()


def test_no_degradation() -> None:
    record = monitor_record(monitored([1.0] * 9 + [0.0], 4))
    assert (record["degraded"], record["alarm_at"]) == (False, None)
    assert (record["baseline"]["value"], record["baseline"]["n"]) == (0.9, 100)
    assert record["tolerated"] == record["baseline"]["lower_bound"] == pytest.approx(0.8238, abs=5e-5)
    assert (record["fresh"]["n"], record["fresh"]["value"]) == (4, 0.75)
    assert (record["all"]["n"], record["all"]["value"]) == (10, 0.9)
    # Every second of ten is truncated; of the last four, two.
    assert record["truncated"] == {"baseline": 3, "fresh": 2, "all": 5}
    assert record["statuses"] == {"baseline": {"ok": 99, "unparsable": 1}, "fresh": {"ok": 4}, "all": {"ok": 10}}
    accuracies = [one["accuracy"] for one in record["problems_to_detect"]]
    assert accuracies == pytest.approx([0.7238, 0.6238, 0.5238, 0], abs=5e-5)
    counts = [one["problems"] for one in record["problems_to_detect"]]
    assert counts == sorted(counts, reverse=True)
    assert record["conclusion"] == (
        "No degradation shown after n = 10 fresh problems (90.0 % correct, 95 % interval 59.6 to 98.2); a drop to "
        f"72.4 % would be seen after about {counts[0]} more problems."
    )
    text = shown(json.loads(json.dumps(record, allow_nan=False)))
    for words in ("baseline", "90.0 (82.6, 94.5)", "75.0 (", "alarm at 40", "A note.", record["conclusion"]):
        assert words in text


def test_degradation_stays_whatever_comes_later() -> None:
    found = monitored([0.0] * 5 + [1.0] * 40, 40)
    record = monitor_record(found)
    assert record["degraded"]
    assert record["alarm_at"] <= 5
    assert record["e_value"] < 1 < 1 / record["p_value"]
    assert record["p_value"] <= 0.05
    assert record["conclusion"].startswith("Degraded: accuracy on fresh problems is below the 82.4 %")
    assert f"shown at problem {record['alarm_at']}" in record["conclusion"]


def test_nothing_new_and_a_margin() -> None:
    record = monitor_record(monitored([1.0, 0.5], 0, margin=0.05))
    assert record["fresh"] == {"value": None, "interval": None, "n": 0}
    assert record["all"]["value"] == 0.75
    assert record["tolerated"] == pytest.approx(record["baseline"]["lower_bound"] - 0.05)
    assert "the baseline's lower bound, less 5 points" in shown(record)
    assert monitor_record(monitored([], 0))["conclusion"].startswith("No degradation shown after n = 0 fresh problems;")


def test_the_base_model_beside_it() -> None:
    after, before = [1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    base = BasePart(wilson(1, 4), 2, paired_change(before, after, KEY))
    record = monitor_record(monitored(after, 4, base))
    assert (record["base"]["value"], record["base"]["n"], record["base"]["truncated"]) == (0.25, 4, 2)
    # Two of four problems are gained and none lost: McNemar's p = 2 * 0.5^2.
    assert (record["base"]["difference"]["value"], record["base"]["difference"]["p_value"]) == (0.5, 0.5)
    assert "The adapter against its base model on these problems: +50.0 (" in shown(record)
