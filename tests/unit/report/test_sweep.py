import io

import pytest
from rich.console import Console

from creditree.evaluate.compare import Measured
from creditree.evaluate.summary import Decoding, Summary
from creditree.report.sweep import SweptRun, pair_cases, sweep_json, sweep_markdown, sweep_view, unpaired_cases

N = 100
BASE = {f"q{number}": int(number < 10) for number in range(N)}


def swept(
    case: str, seed: int, right: int, start: int = 0, task: str = "t", digests: dict[str, str] | None = None
) -> SweptRun:
    correct = {f"q{number}": int(start <= number < start + right) for number in range(N)}
    summary = Summary(
        method="t-spmo",
        decoding={"greedy": Decoding.of(BASE, correct)},
        seconds={"total": 7.0, "train": 6.0},
        tokens={"sampled": 1000, "in_loss": 50},
        task=task,
    )
    return SweptRun(Measured.of_summary(f"{case}, seed {seed}", summary, {"greedy": correct}, case, digests), seed)


RUNS = [swept("a", 0, 40), swept("a", 1, 50), swept("b", 0, 60), swept("b", 1, 66)]


def test_cases_are_compared_problem_by_problem_over_their_seeds() -> None:
    (found,) = pair_cases(RUNS, "greedy")
    # b - a: 20 points with seed 0, 16 with seed 1, so 18 in all; problems 40..65 moved, by 1/2 or 1.
    assert found.by_seed == pytest.approx({0: 0.20, 1: 0.16})
    d = found.pair.difference
    assert d.value == pytest.approx(0.18)
    assert (d.gained, d.lost, d.n) == (26, 0, 100)
    assert d.p_value < 0.001
    assert found.conclusion().startswith("b is better than a: +18.0 (")
    assert found.conclusion().endswith("Seed by seed +20.0, +16.0.")


def test_seeds_that_disagree_are_said() -> None:
    runs = [swept("a", 0, 40), swept("a", 1, 60), swept("b", 0, 60), swept("b", 1, 50)]
    (found,) = pair_cases(runs, "greedy")
    assert found.conclusion().endswith("Seed by seed +20.0, -10.0; the seeds disagree in direction.")


def test_one_seed_is_mcnemars_test_and_says_little() -> None:
    (found,) = pair_cases([swept("a", 0, 40), swept("b", 0, 45, start=2)], "greedy")
    assert (found.pair.difference.gained, found.pair.difference.lost) == (7, 2)
    # 2 (C(9,0) + C(9,1) + C(9,2)) / 512 = 92/512.
    assert found.pair.difference.p_value == pytest.approx(92 / 512)
    assert found.conclusion().endswith("One seed says little of the methods; run more.")


def test_only_shared_seeds_and_tasks_make_pairs_and_holm_counts_them() -> None:
    (found,) = pair_cases([*RUNS[:3], swept("b", 7, 0)], "greedy")
    assert set(found.by_seed) == {0}
    assert pair_cases([*RUNS[:2], swept("c", 0, 40, task="u")], "greedy") == []
    three = pair_cases([*RUNS, swept("c", 0, 41), swept("c", 1, 50)], "greedy")
    smallest = min(three, key=lambda one: one.pair.difference.p_value)
    assert len(three) == 3
    assert smallest.pair.adjusted_p == pytest.approx(3 * smallest.pair.difference.p_value)


def test_cases_that_asked_other_questions_are_no_pair_and_that_is_said() -> None:
    told = {name: name for name in BASE}
    runs = [swept(case, seed, 40, digests=told) for case in "ab" for seed in (0, 1)]
    edited = told | {"q5": "another"}
    assert unpaired_cases(runs, "greedy") == []
    other = [swept("c", seed, 60, digests=edited) for seed in (0, 1)]
    (pair,) = pair_cases([*runs, *other], "greedy")
    assert (pair.pair.first, pair.pair.second) == ("a", "b")
    said = unpaired_cases([*runs, *other], "greedy")
    assert [sentence.split(". ")[0] for sentence in said] == ["a and c are not compared", "b and c are not compared"]
    assert "a, seed 0 and c, seed 0 have different questions under the id 'q5' of t" in said[0]
    assert said[0] in sweep_markdown([*runs, *other], "greedy")
    assert sweep_json([*runs, *other], "greedy")["unpaired"] == said
    # The file was edited between two seeds of a case.
    within = [swept("a", 0, 40, digests=told), swept("a", 1, 50, digests=edited)]
    assert pair_cases(within, "greedy") == []
    (alone,) = unpaired_cases(within, "greedy")
    assert alone.startswith("a: the runs differ in more than their seed. a, seed 0 and a, seed 1 have different")


def test_the_tables_have_runs_means_and_conclusions() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(sweep_view(RUNS, "greedy"))
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    # .40 and .50: mean .45, sd .0707.
    assert "a 2 45.0 ± 7.1" in text
    assert "b is better than a: +18.0" in text
    markdown = sweep_markdown(RUNS, "greedy")
    assert "| a | 2 | 45.0 ± 7.1 |" in markdown
    assert "- b is better than a" in markdown


def test_json_has_cases_and_pairs() -> None:
    data = sweep_json(RUNS, "greedy")
    assert [case["case"] for case in data["cases"]] == ["a", "b"]
    assert data["cases"][0]["after"] == {"mean": pytest.approx(0.45), "sd": pytest.approx(0.0707107), "n": 2}
    assert data["pairs"][0]["by_seed"] == pytest.approx({"0": 0.20, "1": 0.16})
    assert data["cases"][0]["seeds"] == [0, 1]
