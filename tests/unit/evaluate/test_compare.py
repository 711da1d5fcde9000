import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from creditree.errors import RunError
from creditree.evaluate.compare import Asked, Measured, pair_measured
from creditree.evaluate.summary import DataDigests, Decoding, Summary, SummaryDetails
from creditree.report.comparison import compared_json, compared_view
from creditree.runs.directory import RunDirectory
from creditree.runs.evaluation import EvaluationDirectory

N = 100


def measured(name: str, right: int, *, start: int = 0, tasks: tuple[str, ...] = ("t",), seed: int = 0) -> Measured:
    """One that solves the problems from `start` on, `right` of them, once each."""
    results = {f"q{n}": Asked(float(start <= n < start + right), str(n)) for n in range(N)}
    return Measured(name, {"greedy": dict.fromkeys(tasks, results)}, seed)


def test_one_completion_a_problem_is_mcnemars_exact_test() -> None:
    # a is right on 0..39, b on 5..60: 5 lost, 21 gained.
    (found,) = pair_measured([measured("a", 40), measured("b", 56, start=5)], "greedy")
    d = found.pair.difference
    assert (d.lost, d.gained, d.n, d.value) == (5, 21, 100, 0.16)
    assert d.p_value == found.pair.adjusted_p == pytest.approx(binomtest(5, 26, 0.5).pvalue)
    assert found.same_random_numbers
    assert found.pair.conclusion().startswith("b is better than a: +16.0 (")
    (same,) = pair_measured([measured("a", 40), measured("a2", 40, seed=1)], "greedy")
    assert not same.same_random_numbers
    assert same.pair.conclusion().startswith("a and a2 are not distinguishable at n = 100")


def test_several_completions_are_a_permutation_test_of_shares() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 5, N) / 4, rng.integers(0, 5, N) / 4
    sides = [
        Measured(name, {"T=0.6": {"t": {f"q{n}": Asked(float(v)) for n, v in enumerate(values)}}}, 0)
        for name, values in (("a", old), ("b", new))
    ]
    (found,) = pair_measured(sides, "T=0.6")
    assert found.pair.difference.value == pytest.approx((new - old).mean())
    flips = rng.integers(0, 2, (20_000, N)) * 2 - 1
    expected = np.mean(np.abs(flips @ (new - old)) >= abs((new - old).sum()) - 1e-9)
    assert found.pair.difference.p_value == pytest.approx(expected, abs=0.02)


def test_holm_counts_pairs_and_tasks_in_one_family_and_averages_in_another() -> None:
    tasks = ("s", "t")
    found = pair_measured([measured("a", 40, tasks=tasks), measured("b", 56, start=5, tasks=tasks)], "greedy")
    assert [one.task for one in found] == ["s", "t", "average"]
    single = binomtest(5, 26, 0.5).pvalue
    # Two equal p-values in the family of tasks: both doubled. One average: as it is.
    assert [one.pair.adjusted_p for one in found[:2]] == pytest.approx([2 * single] * 2)
    assert found[2].pair.adjusted_p == found[2].pair.difference.p_value < single
    assert found[2].pair.difference.value == pytest.approx(0.16)
    assert found[2].pair.difference.n == 200
    three = pair_measured([measured(name, 40 + n, start=n) for n, name in enumerate("abc")], "greedy")
    raw = [one.pair.difference.p_value for one in three]
    assert max(one.pair.adjusted_p for one in three) == min(1.0, 3 * min(raw))


def test_only_common_problems_with_one_question_make_pairs() -> None:
    other = Measured("o", {"greedy": {"t": {"q5": Asked(1.0, "5"), "new": Asked(1.0, "x")}}})
    assert pair_measured([measured("a", 40), other], "greedy")[0].pair.difference.n == 1
    assert pair_measured([measured("a", 40), measured("b", 40, tasks=("u",))], "greedy") == []
    changed = Measured("c", {"greedy": {"t": {"q5": Asked(1.0, "another question")}}})
    with pytest.raises(RunError, match="different questions under the id 'q5' of t"):
        pair_measured([measured("a", 40), changed], "greedy")


def test_the_terminal_and_json_say_what_may_be_concluded() -> None:
    sides = [measured("a", 40, tasks=("s", "t")), measured("b", 56, start=5, tasks=("s", "t"))]
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(compared_view(sides, "greedy"))
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert "t: b is better than a: +16.0 (" in text
    assert "average: b is better than a" in text
    assert "with the same random numbers on both sides" in text
    data = compared_json(sides, "greedy")
    assert data["runs"][0]["tasks"]["s"]["value"] == 0.4
    assert data["pairs"][0]["conclusion"].startswith("b is better than a")
    console.print(compared_view([sides[0], measured("c", 1, tasks=("u",))], "greedy"))
    assert "No two of them have problems in common" in " ".join(console.file.getvalue().split())


def trained(
    path: Path, config: str = "seed: 0", right: int = 40, digests: dict[str, str] | None = None, sha256: str = ""
) -> Path:
    """Write a training run that solves the first `right` problems; without `digests` it is an old one."""
    correct = {f"q{n}": int(n < right) for n in range(N)}
    details = SummaryDetails(data=DataDigests("test", N, sha256) if sha256 else None)
    summary = Summary("t-spmo", {"greedy": Decoding.of(correct, correct)}, {}, {}, task="t", details=details)
    with RunDirectory.create(path, config) as run:
        run.write_json("summary.json", summary.to_json())
        told = {} if digests is None else {"digests": digests}
        run.write_json("evaluation.json", {"after": {"greedy": correct}} | told)
    return path


QUESTIONS = {f"q{n}": str(n) for n in range(N)}


def test_training_runs_that_asked_other_questions_under_one_id_are_refused(tmp_path: Path) -> None:
    a, b = trained(tmp_path / "a", digests=QUESTIONS), trained(tmp_path / "b", right=50, digests=QUESTIONS)
    assert pair_measured([Measured.of(a), Measured.of(b)], "greedy")[0].pair.difference.n == N
    edited = trained(tmp_path / "c", digests=QUESTIONS | {"q7": "another"})
    for other in (Measured.of(a), measured("evaluation", 50)):  # a saved evaluation has digests of its own
        with pytest.raises(RunError, match="different questions under the id 'q7' of t: they were measured on"):
            pair_measured([other, Measured.of(edited)], "greedy")


def test_old_runs_without_digests_are_paired_where_their_problems_are_the_same(tmp_path: Path) -> None:
    sides = {
        name: Measured.of(trained(tmp_path / name, sha256=sha256, digests=digests))
        for name, sha256, digests in (
            ("old", "aa", None), ("same", "aa", None), ("other", "bb", None), ("untold", "", None),
            ("new", "aa", QUESTIONS), ("newer", "bb", QUESTIONS),
        )
    }  # fmt: skip
    for name in ("same", "new", "untold"):
        assert pair_measured([sides["old"], sides[name]], "greedy")[0].pair.difference.n == N
    for name in ("other", "newer"):
        with pytest.raises(
            RunError, match=f"old and .*{name} were measured on different sets of problems of t .*`eval`"
        ):
            pair_measured([sides["old"], sides[name]], "greedy")
    # Where both say which question an id stands for, the whole sets may differ: in their number, say.
    assert pair_measured([sides["new"], sides["newer"]], "greedy")[0].pair.difference.n == N


def test_an_old_run_beside_a_saved_evaluation_of_other_problems_is_refused(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "task": "t", "decoding": "greedy", "side": "measured", "problem_id": "q1", "digest": "1", "completions": 1,
        "correct": 1, "unjudged": 0, "truncated": 0, "tokens": 32, "majority": "5",
    }  # fmt: skip
    with EvaluationDirectory.open(tmp_path / "e", "seed: 0\ntasks: {t: {sha256: aa}}") as directory:
        directory.finish([row], {"seed": 0})
    for sha256 in ("aa", "bb"):
        sides = [Measured.of(tmp_path / "e"), Measured.of(trained(tmp_path / sha256, sha256=sha256))]
        if sha256 == "aa":
            assert pair_measured(sides, "greedy")[0].pair.difference.n == 1
        else:
            with pytest.raises(RunError, match="different sets of problems of t"):
                pair_measured(sides, "greedy")


def test_a_run_stands_beside_a_saved_evaluation(tmp_path: Path) -> None:
    (found,) = pair_measured([Measured.of(trained(tmp_path)), measured("b", 56, start=5)], "greedy")
    assert (found.pair.difference.lost, found.pair.difference.gained) == (5, 21)
    assert found.same_random_numbers


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ("seed: 0\nmethod: {name: grpo}", True),
        ("seed: 0\nengine: {name: in_process}", True),
        ("seed: 0\nengine: in_process", True),
        ("seed: 1", False),
        ("seed: 0\nengine: {name: vllm}", False),  # a server draws other numbers from a seed
        ("{}", False),
    ],
)
def test_runs_of_one_seed_and_engine_had_the_same_random_numbers(config: str, same: bool, tmp_path: Path) -> None:
    sides = [Measured.of(trained(tmp_path / "a")), Measured.of(trained(tmp_path / "b", config, 50))]
    data = compared_json(sides, "greedy")
    assert data["runs"][0]["seed"] == 0
    assert data["pairs"][0]["same_random_numbers"] is same
    (backwards,) = pair_measured(sides[::-1], "greedy")
    assert backwards.same_random_numbers is same


def test_two_servers_of_one_seed_had_the_same_and_two_unknown_seeds_had_not(tmp_path: Path) -> None:
    server = "seed: 3\nengine: {name: vllm}"
    sides = [Measured.of(trained(tmp_path / name, server)) for name in "ab"]
    assert pair_measured(sides, "greedy")[0].same_random_numbers
    unknown = [Measured.of(trained(tmp_path / name, "{}")) for name in "cd"]
    assert not pair_measured(unknown, "greedy")[0].same_random_numbers


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    run = trained(tmp_path)
    (run / "config.yaml").write_text("- a list")
    with pytest.raises(RunError, match=r"config\.yaml: it is not a mapping of keys to values; put back what it was"):
        Measured.of(run)


def test_a_saved_evaluation_is_read_without_its_base(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "task": "t", "decoding": "T=0.6", "side": "measured", "problem_id": "p", "digest": "d", "completions": 4,
        "correct": 1, "unjudged": 0, "truncated": 0, "tokens": 32, "majority": "5",
    }  # fmt: skip
    with EvaluationDirectory.open(tmp_path, "seed: 7\nengine: {name: vllm}") as directory:
        directory.finish([row, row | {"side": "base", "correct": 4}], {"seed": 7})
    found = Measured.of(tmp_path)
    assert found.results == {"T=0.6": {"t": {"p": Asked(0.25, "d")}}}
    assert (found.name, found.seed, found.engine) == (str(tmp_path), 7, "vllm")
