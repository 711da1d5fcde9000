"""A run as a report shows it: its curves, its health, and which of its trees are shown."""

from pathlib import Path

import numpy as np
import pytest

from creditree.errors import RunError
from creditree.overview.curves import MOST_POINTS, groups_of, recorded, series_of, share, smoothed, thinned, total
from creditree.overview.health import health_of
from creditree.overview.run import overview_of
from creditree.report.curves import average
from creditree.runs.directory import RunDirectory
from tests.stored_run import HOSTILE, metrics, stored_run

RECORDS = [metrics(step) for step in range(1, 21)]


def test_a_run_is_read_whole(tmp_path: Path) -> None:
    run = overview_of(stored_run(tmp_path, kept=(5, 10, 15, 20)))
    assert (run.label, run.task, run.model) == ("t-spmo", "sums", "tiny")
    assert len(run.metrics) == 20
    assert run.summary is not None
    assert run.examples["better"][0].before == HOSTILE
    assert run.kept_steps == (5, 10, 15, 20)
    # Both problems of each of four steps; those whose rewards differ come first, and both are of that kind.
    assert sorted({forest.step for forest in run.forests}) == [5, 10, 15, 20]
    assert len(run.forests) == 8
    assert run.notes == ()


def test_trees_stay_within_their_tokens(tmp_path: Path) -> None:
    # A step has 10 and 6 tokens: of 40 the last step may take a quarter, which is the first problem's ten.
    run = overview_of(stored_run(tmp_path, kept=(5, 10, 15, 20)), tokens=40)
    assert sum(forest.num_tokens for forest in run.forests) <= 40
    assert overview_of(tmp_path, tokens=3).forests == ()


def test_a_run_that_still_trains_is_read_too(tmp_path: Path) -> None:
    run = overview_of(stored_run(tmp_path, ended=False, steps=4, kept=()))
    assert (run.summary, run.label, run.forests) == (None, "t-spmo", ())
    with pytest.raises(RunError, match="There is no run"):
        overview_of(tmp_path / "other")


def test_a_damaged_step_is_a_note_and_the_others_are_shown(tmp_path: Path) -> None:
    stored_run(tmp_path)
    (tmp_path / "rollouts" / "step-000010.parquet").write_bytes(b"PAR1")
    run = overview_of(tmp_path)
    assert {forest.step for forest in run.forests} == {20}
    assert len(run.notes) == 1
    assert "step-000010.parquet" in run.notes[0]


def test_shares_are_of_each_step_not_of_all_so_far() -> None:
    # Five of ten completions are cut off in each of the first ten steps, none later.
    x, y = share("truncated")(RECORDS)
    assert x.tolist() == list(range(1, 21))
    assert y.tolist() == [0.5] * 10 + [0.0] * 10
    assert len(share("truncated")([])[0]) == 0
    assert len(share("absent")([{"step": 1}])[0]) == 0


def test_a_running_mean_is_over_at_most_ten_steps_and_a_fifth_of_the_run() -> None:
    # Twenty steps: means of four, the first at step 4: (1 + 2 + 3 + 4) / 4 / 40.
    x, y = smoothed(recorded("reward_mean"))(RECORDS)
    assert (x[0], x[-1]) == (4, 20)
    assert y[0] == pytest.approx(2.5 / 40)
    assert len(smoothed(recorded("absent"))(RECORDS)[0]) == 0


def test_what_is_no_number_is_left_out() -> None:
    assert recorded("validation_accuracy")(RECORDS)[0].tolist() == [5, 10, 15, 20]
    assert recorded("loss")([{"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}])[0].tolist() == []


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    x, y = thinned((np.arange(5000.0), np.arange(5000.0) ** 2))
    assert len(x) == MOST_POINTS
    assert (x[0], x[-1], y[-1]) == (0, 4999, 4999.0**2)
    assert total("sampled")(RECORDS)[1][-1] == 20_000


def test_runs_that_differ_in_their_seed_make_one_line_with_a_spread(tmp_path: Path) -> None:
    runs = [overview_of(stored_run(tmp_path / str(seed), seed=seed, kept=())) for seed in (0, 1, 2)]
    runs.append(overview_of(stored_run(tmp_path / "grpo", method="grpo", kept=())))
    groups = groups_of(runs)
    assert {label: len(members) for label, members in groups.items()} == {"t-spmo": 3, "grpo": 1}
    one, _ = series_of(groups, recorded("reward_mean"))
    curve = average(one)
    # Rewards are step / 40 + seed / 10: at step 20 they are .5, .6 and .7.
    assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((0.6, 0.5, 0.7))


def test_groups_of_one_method_under_other_settings_are_told_apart(tmp_path: Path) -> None:
    first, second = stored_run(tmp_path / "a", kept=()), stored_run(tmp_path / "b", kept=())
    text = (second / "config.yaml").read_text().replace("0.001", "0.002")
    (second / "config.yaml").write_text(text)
    groups = groups_of([overview_of(first), overview_of(second)])
    assert list(groups) == ["t-spmo, learning_rate 0.001", "t-spmo, learning_rate 0.002"]


def test_a_seed_is_drawn_once_however_often_it_is_named(tmp_path: Path) -> None:
    runs = [overview_of(stored_run(tmp_path / name, seed=seed, kept=())) for name, seed in (("a", 0), ("b", 1))]
    again = overview_of(stored_run(tmp_path / "c", seed=1, kept=()))
    assert groups_of([*runs, again, runs[0]]) == {"t-spmo": runs}


def test_health_by_hand(tmp_path: Path) -> None:
    health = health_of(overview_of(stored_run(tmp_path)))
    # 50 of 200 completions were cut off, 20 had no reward, 2 of 20 steps taught nothing.
    assert (health.steps, health.completions) == (20, 200)
    assert (health.truncated, health.without_signal, health.mixed) == (0.25, 0.1, 0.75)
    assert health.statuses == {"unparsable": 0.0, "timeouts": 0.0, "crashes": 0.0, "failed_verdicts": 0.1}
    # The first tenth of 20 steps are two, with 1 and 1/2; the last are 1/19 and 1/20.
    assert health.surprisal == pytest.approx((0.75, (1 / 19 + 1 / 20) / 2))
    assert health.mismatch == pytest.approx(2e-5)
    assert health.memory == {"host": 600_000_000}


def test_a_run_before_its_first_step_has_no_health_to_tell(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "method: {name: grpo}\n").close()
    health = health_of(overview_of(tmp_path))
    assert (health.steps, health.mixed, health.truncated, health.surprisal, health.mismatch) == (
        0,
        None,
        None,
        None,
        None,
    )
