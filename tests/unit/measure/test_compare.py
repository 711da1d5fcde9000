"""Runs of a method, averaged over their seeds: those of one setting only."""

from pathlib import Path

from creditree.measure.compare import compare
from creditree.measure.report import overview_of_runs
from creditree.overview.curves import groups_of
from creditree.report.comparison import group_rows, repeated_seeds
from tests.stored_run import stored_run


def runs_of_two_rates(folder: Path) -> list[Path]:
    """Write two seeds with one learning rate and two with another, all of one method."""
    paths = [stored_run(folder / f"{rate}-{seed}", seed=seed, kept=()) for rate in ("low", "high") for seed in (0, 1)]
    for path in paths[2:]:
        config = path / "config.yaml"
        config.write_text(config.read_text().replace("0.001", "0.004"))
    return paths


LABELS = ["t-spmo, learning_rate 0.001", "t-spmo, learning_rate 0.004"]


def test_other_learning_rates_are_no_seeds_of_one_setting(tmp_path: Path) -> None:
    paths = runs_of_two_rates(tmp_path)
    found = compare(paths, by_method=True)
    # 15 and 16 of 30 are right: mean .5167, sd .0333 / sqrt 2 = .0236.
    assert [row[:3] for row in group_rows(found.measured, "greedy")] == [(name, "2", "51.7 ± 2.4") for name in LABELS]
    assert "t-spmo, learning_rate 0.004" in str(found)
    assert all(run.group == "" for run in compare(paths).measured)


def test_a_report_has_one_name_for_a_setting_in_its_table_and_its_curves(tmp_path: Path) -> None:
    paths = runs_of_two_rates(tmp_path)
    overview = overview_of_runs(paths)
    assert (
        [row[0] for row in group_rows(overview.measured, overview.decoding)] == LABELS == list(groups_of(overview.runs))
    )
    # A run that is alone with its setting has nothing to be averaged with.
    assert [run.group for run in overview_of_runs(paths[:3]).measured] == [LABELS[0], LABELS[0], ""]


def test_a_run_that_is_named_twice_is_one_seed(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "a", kept=())
    found = compare([run, run], by_method=True)
    assert [row[:3] for row in group_rows(found.measured, "greedy")] == [("t-spmo", "1", "50.0")]
    assert len(repeated_seeds(found.measured)) == 1
    assert "seed 0 is named more than once" in str(found)


def test_an_edited_test_file_is_another_setting(tmp_path: Path) -> None:
    paths = [stored_run(tmp_path / name, seed=seed, kept=()) for name, seed in (("a", 0), ("b", 1))]
    for path, sha256 in zip(paths, ("aa", "bb"), strict=True):
        (path / "inputs.json").write_text(f'{{"measured": "{sha256}"}}')
    rows = group_rows(compare(paths, by_method=True).measured, "greedy")
    assert [row[:2] for row in rows] == [("t-spmo, inputs.measured aa", "1"), ("t-spmo, inputs.measured bb", "1")]
