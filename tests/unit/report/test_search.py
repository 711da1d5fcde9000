from pathlib import Path

import pytest
from rich.console import Console

from creditree.config.load import check_config
from creditree.config.search import Search, Trial
from creditree.errors import RunError
from creditree.evaluate.compare import Measured
from creditree.evaluate.seeds import seed_test
from creditree.evaluate.summary import Decoding, Summary
from creditree.report.search import (
    BudgetMark,
    Climbed,
    Confirmation,
    Result,
    conclusion,
    search_json,
    search_markdown,
    search_view,
)
from creditree.report.sweep import SweptRun

N = 100
CONFIG = check_config({"task": "multiplication"}, "here")
NAMES = ("grpo", "rloo", "opo")
TRIALS = tuple(Trial(f"{name}-{n}", name, {"rate": n / 10}, ("rate",), CONFIG) for name in NAMES for n in (1, 2))
SEARCH = Search(TRIALS, (), "grpo", (1, 2, 3), 0.01, None, {})
FIRST = Climbed(
    100,
    (*(Result(one.name, 100, 2, 0.5, 0.5, 0.4, 0.6, 50) for one in TRIALS[:5]), Result("opo-2", reason="it diverged")),
    ("grpo-1", "rloo-1"),
)
LAST = Climbed(
    300,
    (Result("grpo-1", 300, 6, 0.6, 0.6, 0.5, 0.7, 50), Result("rloo-1", 300, 6, 0.7, 0.7, 0.6, 0.8, 50)),
    ("rloo-1", "grpo-1"),
)


def run(case: str, seed: int, right: int, digests: dict[str, str] | None = None) -> SweptRun:
    correct = {f"q{number}": int(number < right) for number in range(N)}
    before = {name: 0 for name in correct}
    summary = Summary(
        "grpo", {"greedy": Decoding.of(before, correct)}, {"total": 1.0, "train": 1.0}, {"sampled": 9}, "t"
    )
    return SweptRun(Measured.of_summary(f"{case}, {seed}", summary, {"greedy": correct}, case, digests), seed)


def confirmation(tokens: tuple[int, ...], seconds: tuple[int, ...]) -> Confirmation:
    """Return the best against a baseline that solves 40, 42 and 44 problems, with seeds 1, 2 and 3."""
    base = [run("grpo-1", seed, 38 + 2 * seed) for seed in SEARCH.seeds]
    marks = [
        BudgetMark(
            what,
            (*base, *(run(f"best, {what}", seed, right) for seed, right in zip(SEARCH.seeds, found, strict=True))),
            "greedy",
        )
        for what, found in (("tokens", tokens), ("seconds", seconds))
    ]
    return Confirmation(SEARCH.trial("rloo-1"), SEARCH.trial("grpo-1"), tuple(marks))


def test_a_winner_is_ahead_at_equal_tokens_and_at_equal_seconds_over_problems_and_seeds() -> None:
    ahead, level = (61, 62, 63), (40, 42, 44)  # +21, +20, +19 points
    won = confirmation(ahead, ahead)
    assert won.is_won(0.01)
    said = conclusion(SEARCH, [FIRST, LAST], won)
    assert said.startswith(
        "rloo-1 is better than the baseline grpo-1, found among 2 compositions (6 settings in all): +20.0 ("
    )
    for mark in won.marks:
        assert mark.pair.by_seed == pytest.approx({1: 0.21, 2: 0.20, 3: 0.19})
        assert mark.p_seeds == pytest.approx(seed_test([0.21, 0.20, 0.19], 1 / N))
        assert f"points at equal {mark.what} (" in said
    assert not confirmation(ahead, level).is_won(0.01)
    assert not confirmation(level, ahead).is_won(0.01)
    assert not confirmation((10, 11, 12), (10, 11, 12)).is_won(0.01)  # clearly behind


def test_seeds_that_agree_to_the_problem_are_no_certainty() -> None:
    """Seven problems of a hundred more with each of three seeds: the spread over seeds counts as one problem."""
    found = confirmation((47, 49, 51), (47, 49, 51))
    # t = 7 sqrt 3 = 12.12 with two degrees of freedom, p = 1 - t / sqrt(t^2 + 2) = 0.0067; five: t = 5 sqrt 3, 0.0131.
    assert found.marks[0].pair.by_seed == pytest.approx({1: 0.07, 2: 0.07, 3: 0.07})
    assert found.marks[0].p_seeds == pytest.approx(0.00674, abs=1e-5)
    assert found.is_won(0.01)
    assert not confirmation((45, 47, 49), (45, 47, 49)).is_won(0.01)


def test_other_questions_under_one_id_are_no_confirmation() -> None:
    told = {f"q{number}": str(number) for number in range(N)}
    base = [run("grpo-1", seed, 40, told) for seed in SEARCH.seeds]
    best = [run("best", seed, 60, told | {"q3": "another"}) for seed in SEARCH.seeds]
    with pytest.raises(RunError, match=r"grpo-1 and best are not compared\. .* different questions under the id 'q3'"):
        BudgetMark("tokens", (*base, *best), "greedy").to_json()


def test_seeds_that_disagree_win_nothing_however_many_problems_there_are() -> None:
    """+48, -2 and +14: 20 points over 100 problems, p < .01; over three seeds p = .31."""
    found = confirmation((88, 40, 58), (88, 40, 58))
    assert found.marks[0].pair.pair.difference.p_value < 0.01
    assert found.marks[0].p_seeds > 0.2
    assert not found.is_won(0.01)
    said = conclusion(SEARCH, [FIRST, LAST], found)
    assert said.startswith("None found among 2 compositions (6 settings in all) at p < 0.01: the best, rloo-1, against")


def test_without_a_confirmation_the_best_of_the_others_is_named() -> None:
    assert conclusion(SEARCH, [FIRST], None) == (
        "The best among 2 compositions (6 settings in all) is rloo-1 (rate=0.1); nothing was confirmed."
    )
    failed = Confirmation(SEARCH.trial("rloo-1"), SEARCH.trial("grpo-1"), reason="the disk is gone.")
    assert "failed: the disk is gone." in conclusion(SEARCH, [FIRST, LAST], failed)


def test_the_record_has_every_trial_at_every_rung() -> None:
    found = search_json(SEARCH, Path("out"), [FIRST, LAST], confirmation((61, 62, 63), (61, 62, 63)))
    assert [one["name"] for one in found["trials"]] == [trial.name for trial in TRIALS]
    assert found["trials"][2]["path"] == "out/trials/rloo-1"
    assert [len(one["trials"]) for one in found["rungs"]] == [6, 2]
    assert found["rungs"][0]["trials"][0]["validation"] == {"value": 0.5, "n": 50, "interval": [0.4, 0.6]}
    assert found["rungs"][0]["trials"][5] == {"trial": "opo-2", "reason": "it diverged"}
    assert found["rungs"][1]["kept"] == ["rloo-1", "grpo-1"]
    assert found["winner"] == "rloo-1"
    assert found["confirmation"]["equal_tokens"]["by_seed"] == pytest.approx({"1": 0.21, "2": 0.20, "3": 0.19})
    assert found["confirmation"]["equal_seconds"]["p_value_seeds"] < 0.01
    runs = found["confirmation"]["equal_tokens"]["runs"]
    assert [(one["case"], one["seed"]) for one in runs[:3]] == [("grpo-1", 1), ("grpo-1", 2), ("grpo-1", 3)]
    assert (runs[5]["after"]["value"], runs[5]["sampled"], runs[5]["train_s"]) == (0.63, 9, 1.0)
    none = search_json(SEARCH, Path("out"), [FIRST, LAST], confirmation((40, 42, 44), (61, 62, 63)))
    assert none["winner"] is None
    assert none["conclusion"].startswith("None found")


def test_tables_show_what_was_tried_the_best_first() -> None:
    found = confirmation((61, 62, 63), (61, 62, 63))
    text = search_markdown(SEARCH, [FIRST, LAST], found)
    second = text[text.index("rung 2: 2 trials at 300 sampled tokens") :]
    assert second.index("| rloo-1 | rate=0.1 | 70.0 (60.0, 80.0) | 0.700 |") < second.index(
        "| grpo-1 | rate=0.1 | 60.0"
    )
    assert "| opo-2 | rate=0.2 | failed | - | - | - | it diverged |" in text
    assert "| grpo-1 | 3 | 42.0 ± 2.0 |" in text
    console = Console(width=120, record=True, color_system=None)
    with console.capture() as shown:
        console.print(search_view(SEARCH, [FIRST, LAST], found))
    assert "fresh seeds, test split, equal seconds, greedy" in shown.get()
