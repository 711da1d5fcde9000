"""The table of real models: its cells, its runner on a built-in model, and its report on made-up raw files."""

import json
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from creditree.runs.directory import RunDirectory
from recipes.real import report
from recipes.real.cells import HERE, METHODS, SETUPS, TRIED, RealCell, Setup, all_cells, cells_of
from recipes.real.run_cell import Places, run_cell, without_folders
from recipes.tables import load

KEYS: tuple[tuple[str, object], ...] = (
    ("model.name", "builtin:multiplication"),
    ("model.dtype", "float32"),
    ("task.prompt", {}),
    ("task.digits_a", 3),
    ("task.digits_b", 1),
    ("train.problems_per_step", 2),
    ("evaluation.problems", 5),
)
TINY = Setup("tiny", "qwen", "multiplication", 1_000, {"t-spmo": 1e-3}, KEYS)


def test_every_method_is_tuned_by_the_same_rates_and_run_with_the_same_seeds() -> None:
    setup = Setup("tiny", "qwen", "svamp", 1, dict.fromkeys(METHODS, 1e-3))
    cells = list(cells_of(setup))
    by_method = [[(c.kind, c.seed) for c in cells if c.method == method and c.kind != "base"] for method in METHODS]
    assert by_method[0] == by_method[1] == by_method[2]
    finals = [(cell.seed, cell.method) for cell in cells if cell.kind == "final"]
    assert finals[:4] == [(0, "grpo"), (0, "s-grpo"), (0, "t-spmo"), (1, "grpo")]  # seed after seed


def test_cells_have_names_of_their_own_and_read_the_recipes() -> None:
    cells = all_cells()
    assert len({cell.file for cell in cells}) == len(cells)
    for cell in cells:
        values = cell.configuration(Path("weights"), Path("svamp.jsonl"))
        assert values["method"]["name"] == cell.method
        assert values["evaluation"]["split"] == ("validation" if cell.kind == "tuning" else "test")


def test_a_cell_ends_by_its_tokens_and_is_decayed_by_them(tmp_path: Path) -> None:
    places = Places(tmp_path, None, tmp_path / "work", tmp_path / "results")
    for cell in (RealCell(TINY, "base"), RealCell(TINY, "final", "t-spmo", 1e-3)):
        run_cell(cell, places)
    base, final = (json.loads(path.read_text()) for path in sorted((tmp_path / "results").rglob("*.json")))
    assert "curve" not in base
    assert len(base["evaluation"]["greedy"]["share_correct"]) == 5
    sampled = [point["sampled"] for point in final["curve"]]
    assert sampled[-2] < TINY.tokens <= sampled[-1]
    assert final["config"]["train"]["learning_rate"] == 1e-3
    run = RunDirectory.read(places.work / RealCell(TINY, "final", "t-spmo", 1e-3).file)
    rates: list[Any] = [record["learning_rate"] for record in run.metrics()]
    # after k steps of T tokens the end is expected at ceil(1000 k / T): of n steps, the next has 1 - 0.9 k / n
    ends = [ceil(TINY.tokens * done / tokens) for done, tokens in enumerate(sampled[:-1], 1)]
    assert rates == pytest.approx([1e-3, *(1e-3 * (1 - 0.9 * done / end) for done, end in enumerate(ends, 1))])


def test_a_raw_file_holds_no_folder_of_the_machine_that_made_it() -> None:
    raw_files = sorted((HERE / "results").rglob("*.json"))
    for config in (json.loads(path.read_text())["config"] for path in raw_files):
        assert "/" not in config["model"]["name"] + str(config["task"].get("path"))
    config = RealCell(SETUPS[0], "base").configuration(Path("/some/weights"), Path("/some/svamp.jsonl"))
    kept = without_folders(config)
    assert (kept["model"]["name"], kept["task"]["path"]) == (Path(config["model"]["name"]).name, "svamp.jsonl")
    assert kept["model"]["dtype"] == config["model"]["dtype"]


def raw(table: str, name: str, seed: int, right: int, rate: float = 0.0) -> dict[str, Any]:
    """Return a raw record: the first `right` of ten problems are right, greedy; one more at T = 0.3."""

    def shares(count: int) -> dict[str, Any]:
        share = {f"p{index}": float(index < count) for index in range(10)}
        return {"accuracy": count / 10, "completions": 10, "tokens": 120, "truncated": 1, "share_correct": share}

    evaluation = {"greedy": shares(right), "T=0.3": shares(right + 1)}
    found = {"table": table, "name": name, "seed": seed, "learning_rate": rate, "evaluation": evaluation}
    environment = dict.fromkeys(("commit", "python", "torch", "transformers", "peft", "cpu", "cores"), "x")
    if name == "base":
        return found | {"environment": environment}
    curve = [{"step": 1, "sampled": 1000, "in_loss": 100, "cpu_s": 20.0, "reward_mean": right / 10}]
    return found | {"curve": curve, "cpu_s": {"learn": 5.0, "sample": 15.0}, "environment": environment}


def test_the_report_compares_in_pairs_over_problems() -> None:
    cells = {
        "base": [raw("t", "base", 0, 2)],
        "grpo": [raw("t", "grpo", seed, right) for seed, right in enumerate((3, 5))],
    }
    assert report.shares(cells["grpo"], "greedy") == [1, 1, 1, 0.5, 0.5, 0, 0, 0, 0, 0]
    found = report.compared(cells["base"], cells["grpo"], "greedy")
    assert found.value == pytest.approx(0.2)  # (3 + 5) / 2 - 2 = 2 of ten
    assert (found.gained, found.lost) == (3, 0)
    assert "| grpo | .400 ± .141 | .500 ± .141 | 12.0 | 10 | 1.0 | 10.0 | 20 ± 0 | 25 | 2 |" in report.main_table(cells)
    assert "| grpo − base | +20.0 " in report.differences(cells)


def test_the_best_rate_is_that_of_the_mean_of_both_decodings() -> None:
    rates = TRIED
    cells = {f"grpo lr={rate:g}": [raw("t", "x", 0, 3 + place, rate)] for place, rate in enumerate(rates)}
    assert report.best_rate(cells, "grpo") == rates[-1]


def test_the_chosen_rates_are_those_of_the_raw_files() -> None:
    found = load(HERE / "results")
    for setup in SETUPS:
        for method, rate in setup.chosen.items():
            assert rate == report.best_rate(found[f"tuning-{setup.name}"], method)


def test_the_readme_is_what_the_report_writes() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    for name, section in report.sections(load(HERE / "results")).items():
        assert section in text, name
