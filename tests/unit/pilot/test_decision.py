"""Each recommendation and each risk, from outcomes made by hand."""

from dataclasses import replace
from typing import Any

import pytest

from creditree.evaluate.statistics import Difference, Interval, paired_difference, wilson
from creditree.pilot.concentration import Concentration, TokenShare
from creditree.pilot.decision import Outcome, Recommendation, recommend, risks

CALM = Concentration(9, 0.1, 50.0, 50.0, 0.1, (TokenShare("t", 0.1, 0.1),))
WORSE = {"worse": True, "conclusion": "guard: worse in loss"}
FINE = {"worse": False, "conclusion": "guard: not shown to be worse"}


def outcome(gained: int, lost: int, **values: Any) -> Outcome:
    """Return the outcome of 100 problems of which 40 are right on both sides."""
    before = [1] * 40 + [0] * gained + [1] * lost + [0] * (60 - gained - lost)
    after = [1] * 40 + [1] * gained + [0] * lost + [0] * (60 - gained - lost)
    given = {"truncated_before": 0.0, "truncated_after": 0.0, "constant": 0.1, "detectable": 0.12} | values
    return Outcome(
        wilson(sum(before), 100), wilson(sum(after), 100), paired_difference(before, after), **given
    )  # fmt: skip


def test_a_gain_without_a_risk_is_used() -> None:
    found = recommend(outcome(20, 5), [], None)
    assert (found.decision, found.mood) == ("use", "good")
    assert recommend(outcome(20, 5, guard=FINE), [], (3.0, 4.0)) == found


def test_a_gain_with_a_risk_or_a_worse_guard_is_used_with_care() -> None:
    found = recommend(outcome(20, 5), ["a risk"], None)
    assert (found.decision, found.mood) == ("use_with_care", "neutral")
    assert "Look at the risks" in found.text
    guarded = recommend(outcome(20, 5, guard=WORSE), [], None)
    assert guarded.decision == "use_with_care"
    assert "guard set got worse" in guarded.text


def test_a_loss_stops() -> None:
    found = recommend(outcome(5, 20), [], (2.0, 3.0))
    assert (found.decision, found.mood) == ("stop", "bad")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((3.0, 7.5), "By the best trial, training 3.0 times as long (at most 7.5) could show one."),
        ((0.4, 0.9), "The trials predicted a gain by now: try other settings, more problems or a stronger base."),
        ((21.0, 99.0), "Try more problems, a longer budget or a stronger base."),
        (None, "Try more problems, a longer budget or a stronger base."),
    ],
)
def test_what_is_not_shown_is_extended(times: tuple[float, float] | None, words: str) -> None:
    # Nine gained and four lost: p = 2 P(X <= 4 of 13) = 2 * (1 + 13 + 78 + 286 + 715) / 8192 = 0.267.
    found = recommend(outcome(9, 4), [], times)
    assert (found.decision, found.mood) == ("extend", "neutral")
    unseen = "On 100 problems a gain under 12 points mostly stays unseen."
    assert found.text == f"No gain was shown. {unseen} {words}"
    assert recommend(outcome(9, 4, detectable=None), [], times).text == f"No gain was shown. {words}"


def test_no_gain_and_a_worse_guard_stops() -> None:
    found = recommend(outcome(9, 4, guard=WORSE), ["a risk"], (2.0, 3.0))
    assert (found.decision, found.mood) == ("stop", "bad")
    assert "the guard set got worse" in found.text


@pytest.mark.parametrize("value", [0.1, -0.1])
def test_a_p_value_that_the_interval_does_not_bear_out_shows_nothing(value: float) -> None:
    one = outcome(0, 0)
    border = Difference(value, Interval(-0.2, 0.2), 0.049, 100, 10, 0)
    assert recommend(Outcome(one.before, one.after, border, 0, 0, 0, None), [], None).decision == "extend"


def test_moods_of_an_early_end() -> None:
    assert Recommendation("no_signal", "").mood == "bad"
    assert Recommendation("nothing_to_gain", "").mood == "neutral"


def listed(answer: tuple[str, float] = ("7", 0.2), right: float = 0.2, **values: Any) -> list[str]:
    return risks(outcome(20, 5, **values), CALM, answer, right)


def test_no_risk() -> None:
    assert listed() == []
    assert risks(outcome(20, 5, guard=FINE), None, ("", 0.0), 0.0) == []


def test_completions_that_are_cut_off() -> None:
    assert listed(truncated_before=0.1, truncated_after=0.16) == [
        "completions are cut off more often: 16% after training, 10% before"
    ]
    assert listed(truncated_before=0.1, truncated_after=0.14) == []
    assert listed(truncated_before=0.2, truncated_after=0.21) == [
        "21% of the completions are cut off: raise `max_new_tokens`"
    ]
    assert listed(truncated_before=0.5, truncated_after=0.2) == []


def test_answers_that_collapse() -> None:
    assert listed(("7", 0.51), 0.25) == ["51% of the answers are '7', which is right for 25% of the problems"]
    assert listed(("7", 0.51), 0.26) == []
    assert listed(("7", 0.5), 0.1) == []


def test_a_constant_answer_that_does_as_well() -> None:
    # 60 of 100 are right after training.
    assert listed(constant=0.6) == ["always giving the commonest answer would do as well: 60%"]
    assert listed(constant=0.59) == []
    nothing = wilson(0, 100)
    # Where neither is ever right there is no such comparison.
    assert risks(replace(outcome(0, 0, constant=0.0), after=nothing), None, ("", 0.0), 0.0) == []


def test_signal_and_guard() -> None:
    narrow = Concentration(9, 0.1, 5.0, 5.0, 0.6, ())
    found = risks(outcome(20, 5, guard=WORSE), narrow, ("7", 0.2), 0.2)
    assert found == ["one problem had 60% of the learning signal", "guard set: guard: worse in loss"]
