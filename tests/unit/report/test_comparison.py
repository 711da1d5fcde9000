import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from creditree.errors import RunError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.compare import Asked, Measured, Pair, pair_measured
from creditree.evaluate.statistics import paired_difference
from creditree.evaluate.summary import Decoding, Summary
from creditree.report.comparison import compared_json, compared_view, group_rows, repeated_seeds
from creditree.report.rewards import NOTE, RewardChange
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.runs.directory import RunDirectory

N = 200


def pair_runs(runs: list[Measured], decoding: str = "greedy") -> list[Pair]:
    return [one.pair for one in pair_measured(runs, decoding)]


def text_of(runs: list[Measured], decoding: str = "greedy", width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(compared_view(runs, decoding))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def right(run: Measured) -> list[float]:
    return [asked.share for asked in run.results["greedy"]["t"].values()]


BASE = {f"q{number}": int(number < 10) for number in range(N)}


def compared(name: str, right: int, group: str = "", task: str = "t", start: int = 0) -> Measured:
    correct = {f"q{number}": int(start <= number < start + right) for number in range(N)}
    summary = Summary(
        method="t-spmo",
        decoding={"greedy": Decoding.of(BASE, correct)},
        seconds={"total": 70.0, "train": 60.0},
        tokens={"sampled": right * 1000, "decoded": 1, "forwarded": 1, "in_loss": 50},
        task=task,
    )
    return Measured.of_summary(name, summary, {"greedy": correct}, group)


A, B, C = compared("a", 160), compared("b", 172, start=4), compared("c", 100)
assert A.summary is not None
SUMMARY = A.summary


def test_pairs_are_mcnemar_tests_with_holms_adjustment() -> None:
    pairs = {(pair.first, pair.second): pair for pair in pair_runs([A, B, C])}
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}
    # b is right on 4..175, a on 0..159: 4 lost, 16 gained, (16 - 4) / 200 = .06; p is the largest of three, so
    # unadjusted.
    ab = pairs["a", "b"]
    assert (ab.difference.gained, ab.difference.lost) == (16, 4)
    assert ab.difference.value == pytest.approx(0.06)
    exact = paired_difference(right(A), right(B)).p_value
    assert ab.adjusted_p == ab.difference.p_value == exact
    # The smallest of three is multiplied by 3.
    smallest = min(pairs.values(), key=lambda pair: pair.difference.p_value)
    assert smallest.adjusted_p == pytest.approx(3 * smallest.difference.p_value, rel=1e-12)
    assert ab.conclusion().startswith("b is better than a: +6.0 (")
    assert pairs["a", "c"].conclusion().startswith("c is worse than a: -30.0 (")
    assert (
        pair_runs([A, A])[0]
        .conclusion()
        .startswith("a and a are not distinguishable at n = 200: 0.0 (-1.5, +1.5) points, p = 1.000.")
    )


def test_runs_whose_rewards_are_not_0_and_1_show_their_means() -> None:
    def rewards(value: float) -> Evaluation:
        return Evaluation.of(Attempt(f"q{n}", 0, value, "ok", None, 5, False) for n in range(4))

    change = RewardChange.of(rewards(0.25), rewards(0.5), Key.of(0))
    assert change is not None
    graded = replace(A, summary=replace(SUMMARY, rewards={"greedy": change}))
    text = text_of([graded, B])
    assert "a: mean reward 0.250 (0.250, 0.250) before, 0.500 (0.500, 0.500) after, +0.250" in text
    assert NOTE in text
    assert NOTE not in text_of([A, B])


def test_holm_can_take_a_claim_back() -> None:
    # a and d: 2 lost, 10 gained of 12, p = 2 * (1 + 12 + 66) / 4096 = .0386. Of the six pairs of four runs, d and the
    # three others make the three smallest p, all .0386: times 6.
    d = compared("d", 168, start=2)
    alone = pair_runs([A, d])
    assert alone[0].difference.p_value == pytest.approx(158 / 4096)
    assert "d is better than a" in alone[0].conclusion()
    among = pair_runs([A, d, compared("e", 160), compared("f", 160)])
    assert all("not distinguishable" in pair.conclusion() for pair in among)
    assert min(pair.adjusted_p for pair in among) == pytest.approx(6 * 158 / 4096)


def test_only_common_problems_of_one_task_make_pairs() -> None:
    half = Measured.of_summary("h", SUMMARY, {"greedy": {f"q{number}": 1 for number in range(100, 300)}})
    assert pair_runs([A, half])[0].difference.n == 100
    assert pair_runs([A, compared("other", 100, task="u")]) == []
    assert pair_runs([A, B], decoding="T=1") == []
    assert pair_runs([A, Measured.of_summary("none", SUMMARY, {})]) == []


def test_the_terminal_shows_runs_seeds_and_conclusions_in_80_columns() -> None:
    text = text_of([compared("a", 160, "spmo"), compared("b", 170, "spmo"), C], width=80)
    assert max(map(len, text.splitlines())) <= 80
    rows = [" ".join(line.split()) for line in text.splitlines()]
    # .80 and .85: mean .825, sd .05 / sqrt 2 = .0354; 160 k and 170 k: 165 k, sd 7.07 k.
    assert "a t-spmo 5.0 80.0 (73.9, 85.0) +75.0 160 k 50 60 s" in rows
    assert "spmo 2 82.5 ± 3.5 +77.5 ± 3.5 165 k ± 7.07 k 50 ± 0 60 s ± 0 s" in rows
    assert any(row.startswith("c is worse than a: -30.0") for row in rows)


def test_a_seed_that_is_named_twice_counts_once_and_that_is_said() -> None:
    runs = [
        replace(compared(name, 160 + 10 * seed, "spmo"), seed=seed) for name, seed in (("a", 0), ("b", 1), ("c", 1))
    ]
    # .80 and .85, as without the third run.
    assert [row[:3] for row in group_rows(runs, "greedy")] == [("spmo", "2", "82.5 ± 3.5")]
    assert repeated_seeds(runs) == ["spmo: seed 1 is named more than once (c), and counts once in the mean."]
    assert repeated_seeds(runs)[0] in text_of(runs)
    other = [replace(run, group="") for run in runs]
    assert (group_rows(other, "greedy"), repeated_seeds(other)) == ([], [])


def test_what_was_not_measured_or_kept_is_said() -> None:
    none = Measured.of_summary("n", SUMMARY, {})
    assert "cannot be compared in pairs" in text_of([none, none])
    assert "pairs" not in text_of([none])
    assert "n t-spmo - - - 160 k 50 60 s" in " ".join(text_of([none], decoding="T=1").split())


def test_json_has_runs_and_pairs() -> None:
    data = compared_json([A, B], "greedy")
    assert data["decoding"] == "greedy"
    assert [run["name"] for run in data["runs"]] == ["a", "b"]
    assert data["runs"][0].items() >= SUMMARY.to_json().items()  # a run has its summary's entries
    assert set(data["pairs"][0]) == {
        "task", "first", "second", "n", "value", "interval", "p_value", "adjusted_p_value", "conclusion",
        "same_random_numbers",
    }  # fmt: skip


def test_a_run_directory_is_read(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, "seed: 0") as run:
        with pytest.raises(RunError, match=r"has no summary\.json: it has not ended; continue it with `resume` first"):
            Measured.of_run(run)
        run.write_json("summary.json", SUMMARY.to_json())
        assert Measured.of_run(run).results == {}
        run.write_json("evaluation.json", {"after": {"greedy": {"q1": 1, "q2": None}}})
        found = Measured.of_run(RunDirectory.read(tmp_path), group="g")
        assert (found.name, found.group, found.summary) == (str(tmp_path), "g", SUMMARY)
        assert found.results == {"greedy": {"t": {"q1": Asked(1.0)}}}  # what was not judged is left out
        run.write_json("evaluation.json", {"after": {"greedy": {"q1": 1}}, "digests": {"q1": "d"}})
        assert Measured.of_run(run).results == {"greedy": {"t": {"q1": Asked(1.0, "d")}}}
        run.write_json("evaluation.json", {"after": {"greedy": {"q1": 1}}, "digests": {"q1": 1}})
        with pytest.raises(RunError, match=r"evaluation\.json"):
            Measured.of_run(run)
        for damage in (
            {},
            {"after": {"greedy": {"q": 0.5}}},
            {"after": {"greedy": [1]}},
            {"after": {"greedy": {"q": 2}}},
        ):
            run.write_json("evaluation.json", damage)
            with pytest.raises(RunError, match=r"evaluation\.json holds no results by problem"):
                Measured.of_run(run)
