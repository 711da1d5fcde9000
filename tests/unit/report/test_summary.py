import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from creditree.errors import RunError
from creditree.evaluate.statistics import Interval, paired_difference, wilson
from creditree.evaluate.summary import Decoding, StepCounts, Summary, SummaryDetails
from creditree.report.summary import summary_markdown, summary_view

PROBLEMS = [f"q{number}" for number in range(500)]


def results(first_right: int, last_right: int) -> dict[str, int]:
    """The problems first_right .. last_right - 1 are right."""
    return {problem: int(first_right <= number < last_right) for number, problem in enumerate(PROBLEMS)}


BASE = results(0, 29)
BETTER = Decoding.of(BASE, results(0, 435))
SAME = Decoding.of(BASE, results(2, 32))
WORSE = Decoding.of(results(0, 400), results(0, 300))
SUMMARY = Summary(
    method="t-spmo",
    decoding={"greedy": BETTER, "T=0.3": SAME},
    seconds={"total": 81.25, "train": 63.0, "sample": 58.0, "learn": 1.9},
    tokens={"sampled": 880_000, "decoded": 220_000, "forwarded": 44_000, "in_loss": 8_800},
    task="multiplication 3x1",
    details=SummaryDetails(StepCounts(60, updates=50), notes=["a note"]),
)


def shown(summary: Summary, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(summary_view(summary))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_decoding_pairs_by_problem() -> None:
    # 29 of 500 before, 435 after, all 29 among them: 406 gained, none lost, 406 / 500 = .812.
    assert BETTER.before == wilson(29, 500)
    assert BETTER.after == wilson(435, 500)
    assert (BETTER.difference.gained, BETTER.difference.lost, BETTER.difference.value) == (406, 0, 0.812)
    backwards = dict(reversed(results(0, 435).items()))
    assert Decoding.of(BASE, backwards) == BETTER
    with pytest.raises(ValueError, match="different problems"):
        Decoding.of(BASE, {"q0": 1})


def test_conclusions() -> None:
    # Newcombe's interval of .812 with 406 gained and none lost; phi = (29*65 - 0 - 250) / sqrt(435*65*29*471) = .0832.
    assert BETTER.conclusion() == ("after is better: +81.2 points (95 % interval +77.3 to +84.3), p < 1e-10, n = 500.")
    # 2 lost, 3 gained: 2 P(X <= 2 of 5) = 2 * 16/32 = 1.
    assert SAME.conclusion().startswith("before and after are not distinguishable at n = 500: +0.2 points (95 %")
    assert SAME.conclusion().endswith("p = 1.000.")
    assert WORSE.conclusion().startswith("after is worse: -20.0 points")


def test_nothing_is_claimed_where_interval_and_test_disagree() -> None:
    # Of 21 problems 1 lost and 7 gained: Newcombe's interval excludes 0 (+2.6 to +50.7), the exact test has p = .070.
    before, after = [1] * 2 + [0] * 19, [1, 0] + [1] * 7 + [0] * 12
    difference = paired_difference(before, after)
    assert difference.interval.low > 0
    undecided = Decoding(wilson(2, 21), wilson(8, 21), difference)
    assert undecided.conclusion().startswith("before and after are not distinguishable at n = 21: +28.6 points")
    other_way = replace(difference, p_value=0.01, interval=Interval(-0.01, 0.5))
    assert "not distinguishable" in replace(undecided, difference=other_way).conclusion()


def test_json_has_the_promised_entries_and_comes_back() -> None:
    data = json.loads(json.dumps(SUMMARY.to_json()))
    assert data["method"] == "t-spmo"
    assert set(data["before"]) == {"value", "accuracy", "n", "interval"}  # the second name is the older one
    assert data["before"]["accuracy"] == 29 / 500
    assert data["after"] == data["decoding"]["greedy"]["after"]
    assert set(data["difference"]) >= {"value", "interval", "p_value"}
    assert data["difference"]["interval"][0] < data["difference"]["value"] < data["difference"]["interval"][1]
    assert list(data["decoding"]) == ["greedy", "T=0.3"]
    assert data["decoding"]["T=0.3"]["difference"]["p_value"] == 1.0
    assert data["seconds"]["train"] == 63.0
    assert data["tokens"]["in_loss"] == 8_800
    assert data["steps"] == {"done": 60, "updates": 50, "no_signal": 0, "skipped": 0}
    assert "warm_start" not in data
    assert Summary.from_json(data) == SUMMARY


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ({"method": None}, "method is missing"),
        ({"steps": {"updates": 3}}, "steps.done is missing"),
        ({"decoding": {}}, "needs at least one decoding"),
        ({"decoding": []}, r"decoding is \[\]"),
        ({"tokens": {"sampled": "many"}}, "tokens.sampled is 'many'"),
        (
            {"decoding": {"greedy": {"before": {"accuracy": 0.1, "n": 3, "interval": [0.1]}}}},
            "an interval is two numbers",
        ),
        ({"decoding": {"greedy": {"before": {"accuracy": 0.1, "n": 3, "interval": [0, 1]}}}}, "has no entry 'after'"),
    ],
)
def test_what_is_no_summary_is_named(damage: dict[str, object], cause: str) -> None:
    data = {name: value for name, value in (SUMMARY.to_json() | damage).items() if value is not None}
    with pytest.raises(RunError, match=rf"^runs/a/summary\.json .*{cause}.*leave it out\.$"):
        Summary.from_json(data, "runs/a/summary.json")


def test_a_summary_is_consistent() -> None:
    with pytest.raises(ValueError, match="at least one decoding"):
        replace(SUMMARY, decoding={})


def test_the_terminal_shows_all_of_it_in_80_columns() -> None:
    text = shown(SUMMARY)
    rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert rows["greedy"] == "greedy 5.8 (4.1, 8.2) 87.0 (83.8, 89.7) +81.2 (+77.3, +84.3) < 1e-10"
    assert rows["T=0.3"].startswith("T=0.3 5.8 (4.1, 8.2) 6.0 (")
    # 880 / 220 = 4, 880 / 44 = 20, 880 / 8.8 = 100.
    assert rows["decoded"] == "decoded 220 k 25 %, 4.0x fewer"
    assert rows["forwarded"] == "forwarded 44.0 k 5 %, 20.0x fewer"
    assert "in the loss 8.80 k 1 %, 100.0x fewer" in " ".join(text.split())
    assert "in all 1 min 21 s; training 1 min 03 s; sample 58.0 s, learn 1.9 s" in text
    assert "greedy: after is better: +81.2 points" in text
    assert "T=0.3: before and after are not distinguishable at n = 500" in text
    assert max(map(len, text.splitlines())) <= 80


def test_markup_in_names_is_shown_as_it_is() -> None:
    named = replace(SUMMARY, method="[bold]x[/]", task="a|b")
    assert "[bold]x[/] on a|b" in shown(named)


def test_markdown_shows_the_same() -> None:
    text = summary_markdown(SUMMARY)
    assert text.startswith("## t-spmo on multiplication 3x1\n\n| decoding | before | after | difference | p |\n| --- ")
    assert "| greedy | 5.8 (4.1, 8.2) | 87.0 (83.8, 89.7) | +81.2 (+77.3, +84.3) | < 1e-10 |\n" in text
    assert "| decoded | 220 k | 25 %, 4.0x fewer |\n" in text
    assert f"\n- greedy: {BETTER.conclusion()}\n- T=0.3: {SAME.conclusion()}\n" in text


def test_parts_that_were_not_measured_are_left_out() -> None:
    bare = Summary("grpo", {"greedy": SAME}, {}, {})
    assert "sampled" not in shown(bare).replace("of sampled", "")
    assert Summary.from_json(bare.to_json()) == bare
