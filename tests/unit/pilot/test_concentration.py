"""Where the learning signal went: golden shares, and laws of the effective numbers."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.pilot.concentration import Concentration, TokenShare, concentration
from creditree.pilot.decision import concentration_risks

WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def text_of(ids: Sequence[int]) -> str:
    return " ".join(WORDS.get(one, str(one)) for one in ids)


def row(
    problem: str, ids: list[int], advantages: list[float | None] | None, weights: list[float | None] | None
) -> dict[str, Any]:
    return {"problem_id": problem, "token_ids": ids, "advantages": advantages, "weights": weights}


def found_in(*rows: dict[str, Any]) -> Concentration:
    found = concentration(rows, text_of)
    assert found is not None
    return found


def test_shares_by_hand() -> None:
    # |a w|: one 2 * 1 = 2, two |-1| * 3 = 3; then one 1 * 1 = 1, three nothing; the third row has none at all.
    # Tokens: one 3, two 3 of 6. Problems: p 5, q 1. Sampled: one 3, two 2, three 2, four 1 of 8; with signal: 3.
    found = found_in(
        row("p", [1, 2, 3], [2.0, -1.0, None], [1.0, 3.0, 1.0]),
        row("q", [1, 3], [1.0, 5.0], [1.0, 0.0]),
        row("q", [1, 2, 4], None, None),
    )
    assert found.completions == 3
    assert found.learning == pytest.approx(3 / 8)
    # 6^2 / (3^2 + 3^2) = 2 tokens; 6^2 / (5^2 + 1^2) = 36 / 26 problems.
    assert found.effective_tokens == pytest.approx(2)
    assert found.effective_problems == pytest.approx(36 / 26)
    assert found.top_problem == pytest.approx(5 / 6)
    assert found.tokens == (TokenShare("one", 0.5, 3 / 8), TokenShare("two", 0.5, 2 / 8))
    assert found.tokens[1].lift == pytest.approx(2)
    assert found.is_risk  # by the problem: no token is above one half
    assert found.to_json()["is_risk"] is True
    assert found.to_json()["over_selected"] == []
    assert found.to_json()["tokens"][1] == {"text": "two", "signal": 0.5, "sampled": 0.25}


def test_without_signal_there_is_nothing_to_say() -> None:
    assert concentration([], text_of) is None
    nothing = [row("p", [1, 2], None, None), row("p", [1], [0.0], [1.0]), row("p", [1], [1.0], [None])]
    assert concentration(nothing, text_of) is None


def test_the_strongest_eight_are_shown_in_their_order() -> None:
    found = found_in(row("p", list(range(10)), [float(n) for n in range(10)], [1.0] * 10))
    # 0 + 1 + ... + 9 = 45.
    assert [one.signal for one in found.tokens] == pytest.approx([n / 45 for n in range(9, 1, -1)])


def test_a_token_is_over_selected_by_share_and_lift() -> None:
    def share(signal: float, sampled: float) -> Concentration:
        return Concentration(9, 0.1, 5.0, 5.0, 0.5, (TokenShare("t", signal, sampled),))

    # 5 % of the signal at 1 % of the text is exactly five times; a little less of either is not enough.
    assert [one.text for one in share(0.05, 0.01).over_selected] == ["t"]
    assert share(0.049, 0.001).over_selected == ()
    assert share(0.05, 0.011).over_selected == ()
    assert not share(0.5, 0.01).is_risk
    assert share(0.51, 0.4).is_risk


def test_every_risk_of_the_signal_has_its_sentence() -> None:
    def risks(signal: float, sampled: float, problem: float = 0.1) -> list[str]:
        return concentration_risks(Concentration(9, 0.1, 5.0, 5.0, problem, (TokenShare("t", signal, sampled),)))

    assert risks(0.2, 0.1) == []
    assert risks(0.2, 0.01) == ["over-selected tokens: 't' (20% of the signal, 1.0% of the text)"]
    assert risks(0.6, 0.01) == ["over-selected tokens: 't' (60% of the signal, 1.0% of the text)"]
    assert risks(0.6, 0.3) == ["one token, 't', had 60% of the learning signal"]
    assert risks(0.2, 0.1, 0.51) == ["one problem had 51% of the learning signal"]


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("pqr"), st.lists(st.tuples(st.integers(1, 5), st.floats(-3, 3)), min_size=1)),
        min_size=1,
        max_size=8,
    ),
    scale=st.sampled_from([0.01, 2.0, 50.0]),
)
def test_laws(rows: list[tuple[str, list[tuple[int, float]]]], scale: float) -> None:
    """Apart: shares are summed token by token. A scale of all weights changes nothing."""
    made = [row(name, [t for t, _ in own], [a for _, a in own], [1.0] * len(own)) for name, own in rows]
    found = concentration(made, text_of)
    flat = [(name, token, abs(a)) for name, own in rows for token, a in own]
    total = sum(strength for _, _, strength in flat)
    if total < 1e-290:
        return
    assert found is not None
    by_token = {t: sum(s for _, u, s in flat if u == t) / total for t in {t for _, t, _ in flat}}
    assert {one.text: one.signal for one in found.tokens} == pytest.approx(
        {text_of([t]): share for t, share in by_token.items() if any(s > 0 for _, u, s in flat if u == t)}
    )
    assert found.effective_tokens == pytest.approx(1 / sum(share**2 for share in by_token.values()))
    assert 1 - 1e-9 <= found.effective_tokens <= 5 + 1e-9
    assert 1 - 1e-9 <= found.effective_problems <= len({name for name, _ in rows}) + 1e-9
    scaled = concentration([one | {"weights": [scale] * len(one["token_ids"])} for one in made], text_of)
    assert scaled is not None
    assert scaled.effective_problems == pytest.approx(found.effective_problems)
    assert scaled.top_problem == pytest.approx(found.top_problem)
