"""When a guard set is worse, in figures that can be checked by hand."""

import pytest

from creditree.errors import RunError
from creditree.report.guard import GuardResult, GuardSide
from creditree.rng import Key

NAMES = [f"q{number}" for number in range(40)]


def side(correct: int, *losses: float) -> GuardSide:
    """Return a side with the first `correct` problems right, and losses that take turns."""
    return GuardSide(
        {name: int(place < correct) for place, name in enumerate(NAMES)},
        {name: losses[place % len(losses)] for place, name in enumerate(NAMES)},
    )


def result(before: GuardSide, after: GuardSide, tolerance: float = 0.02) -> GuardResult:
    return GuardResult.of(before, after, tolerance, Key.of(0))


def test_nothing_changed_is_not_shown_to_be_worse() -> None:
    """Wilson's half width for 20 of 40 is 0.148, phi = (400 - 20) / 400 = 0.95: 0.148 sqrt(2 (1 - 0.95)) = 0.047."""
    found = result(side(20, 1.0, 3.0), side(20, 1.0, 3.0))
    assert not found.worse
    assert found.loss_before.value == found.loss_after.value == 2.0
    assert found.loss.value == 0.0
    assert found.conclusion() == (
        "guard: not shown to be worse: accuracy 0.0 points (95 % interval -4.7 to +4.7), p = 1.000; "
        "loss 0.0000 nats a token (95 % interval 0.0000 to 0.0000), p = 1.000; n = 40."
    )


def test_worse_by_accuracy_where_p_is_below_5_percent() -> None:
    """Six lost and none gained: McNemar's exact p = 2 / 2^6 = 0.03125; five: 2 / 2^5 = 0.0625."""
    six, five = result(side(20, 1.0), side(14, 1.0)), result(side(20, 1.0), side(15, 1.0))
    assert six.accuracy.difference.p_value == pytest.approx(0.03125)
    assert six.worse
    assert six.conclusion().startswith("guard: worse in accuracy: accuracy -15.0 points")
    assert five.accuracy.difference.p_value == pytest.approx(0.0625)
    assert not five.worse
    assert not result(side(14, 1.0), side(20, 1.0)).worse


def test_worse_by_loss_where_the_whole_interval_lies_above_the_tolerance() -> None:
    """Every loss rises by 0.05, so the interval is 0.05 to 0.05."""
    before, after = side(20, 1.0, 2.0), side(20, 1.05, 2.05)
    assert result(before, after, 0.02).worse
    assert not result(before, after, 0.06).worse
    assert not result(after, before, 0.02).worse
    assert "guard: worse in loss: " in result(before, after).conclusion()
    # Rises of 0.3 and -0.2 have the mean 0.05 too, but an interval that reaches below 0.02.
    wide = result(side(20, 1.0, 2.0), side(20, 1.3, 1.8))
    assert wide.loss.value == pytest.approx(0.05)
    assert not wide.worse


def test_the_record_has_both_sides() -> None:
    record = result(side(20, 1.0), side(10, 1.5)).to_json()
    assert set(record) == {"n", "accuracy", "loss", "tolerance", "worse", "conclusion"}
    assert record["worse"] is True
    loss = record["loss"]
    assert isinstance(loss, dict)
    assert loss["difference"]["value"] == pytest.approx(0.5)
    assert (loss["difference"]["higher"], loss["difference"]["lower"]) == (40, 0)
    assert "worse in accuracy and loss" in str(record["conclusion"])


def test_a_side_comes_back_and_other_json_is_refused() -> None:
    one = side(3, 0.1, 0.7)
    assert GuardSide.from_json(one.to_json(), "guard.json") == one
    damages: list[object] = [None, {"correct": {}}, {"correct": {"a": "x"}, "loss": {}}]
    for damage in damages:
        with pytest.raises(RunError, match=r"guard\.json holds no measurement of the guard"):
            GuardSide.from_json(damage, "guard.json")


def test_without_a_tolerance_a_higher_loss_is_reported_and_not_judged() -> None:
    before = GuardSide({f"p{i}": 1 for i in range(20)}, {f"p{i}": 1.0 for i in range(20)})
    after = GuardSide(before.correct, {name: 2.0 for name in before.loss})
    judged, reported = (GuardResult.of(before, after, tolerance, Key.of(0)) for tolerance in (0.02, None))
    assert judged.worse
    assert not reported.worse
    assert reported.loss.value == judged.loss.value == 1.0
    assert "not shown to be worse" in reported.conclusion()
