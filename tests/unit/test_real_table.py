"""The table of real models: its cells, its runner on a built-in model, and its report on made-up raw files."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from creditree.ledger import Seconds
from creditree.models.load import load_model
from creditree.runs.directory import RunDirectory
from creditree.train.interrupt import Interrupted
from recipes.real import report
from recipes.real import run_cell as running
from recipes.real.cells import HERE, METHODS, SETUPS, TRIED, RealCell, Setup, all_cells, cells_of, smoke, wanted_cells
from recipes.real.run_cell import Places, RawFile, run_cell, without_folders
from recipes.tables import load
from tests.unit.engines.test_static import static_engine

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
        values = cell.configuration(Path("weights"), Path("problems.jsonl"))
        assert values["task"].get("path") == ("problems.jsonl" if values["task"]["name"] == "svamp" else None)
        assert values["model"]["device"] == cell.setup.device
        assert values["method"]["name"] == cell.method
        assert values["evaluation"]["split"] == ("validation" if cell.kind == "tuning" else "test")


def test_cells_for_a_gpu_are_run_where_their_setup_is_named() -> None:
    assert {cell.setup.device for only in ("", "svamp", "svamp-qwen", "seed0") for cell in wanted_cells(only)} == {
        "cpu"
    }
    cells = wanted_cells("svamp-qwen-256")
    methods = ("grpo", "s-grpo", "t-spmo")
    assert [(cell.name, cell.seed) for cell in cells] == [
        ("base", 0),
        *((f"{method} lr={rate}", 100) for rate in ("0.003", "0.001", "0.0003") for method in methods),
        *((method, seed) for seed in (0, 1, 2) for method in methods),
    ]
    assert {cell.tokens for cell in cells if cell.kind == "tuning"} == {187_000}
    assert {cell.setup.device for cell in cells} == {"cuda"}
    assert [cell.name for cell in wanted_cells("svamp-qwen-256--base")] == ["base"]


def test_where_the_base_is_too_good_nothing_is_trained() -> None:
    assert [cell.kind for cell in wanted_cells("multiplication-3x1")] == ["base"]


def test_a_gpus_cells_take_the_papers_share_of_long_completions() -> None:
    (cell,) = wanted_cells("svamp-qwen-256--s-grpo--seed1")
    values = cell.configuration(Path("weights"), None)
    assert (values["method"]["alpha"], values["method"]["probability"], values["method"]["k"]) == (25, 0.5, 50)
    assert values["sampling"]["max_new_tokens"] == 256
    assert (values["train"]["learning_rate"], values["seed"], "threads" in values["train"]) == (1e-3, 1, False)
    tiny = smoke(cell).configuration(Path("weights"), None)
    assert (tiny["model"]["device"], tiny["train"]["threads"], tiny["evaluation"]["problems"]) == ("cpu", 1, 3)


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
    # of 1,000 tokens, the next step has 1 - 0.9 s / 1000 after s of them
    assert TINY.tokens == 1000
    assert rates == pytest.approx([1e-3 * (1 - 0.9 * done / 1000) for done in (0, *sampled[:-1])])


def test_a_cell_that_is_cut_off_keeps_what_it_knows_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, places = RealCell(TINY, "final", "t-spmo", 1e-3), Places(tmp_path, None, tmp_path, tmp_path / "results")
    found: dict[str, Any] = {}

    def stop(_trainer: object, raw: RawFile) -> None:
        raw.measured = {"greedy": found}
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(running, "measure", stop)
        with pytest.raises(Interrupted):
            run_cell(cell, places)
    known = json.loads(places.unfinished(cell).read_text())
    assert known["curve"][-1]["sampled"] >= TINY.tokens
    assert not places.result(cell).exists()
    run_cell(cell, places)
    assert json.loads(places.result(cell).read_text())["curve"] == known["curve"]
    assert not places.unfinished(cell).exists()


def test_a_raw_file_from_a_gpu_says_how_it_was_decoded(tmp_path: Path) -> None:
    (cell,) = wanted_cells("svamp-qwen-256--base")
    engine = static_engine(load_model("builtin:multiplication"))
    assert engine.recorder is not None
    engine.recorder.eager, engine.recorder.kernels = 2, "plain"
    parts, seconds = SimpleNamespace(engine=engine), Seconds(wall={"evaluate": 3.0})
    trainer: Any = SimpleNamespace(parts=parts, state=SimpleNamespace(seconds=seconds))
    places = Places(tmp_path, None, tmp_path, tmp_path, side_by_side=5)
    RawFile(cell, places, start_s=11.5).keep(trainer)
    known = json.loads(places.unfinished(cell).read_text())
    assert (known["eager"], known["kernels"], known["side_by_side"], known["start_s"]) == (2, "plain", 5, 11.5)
    assert known["wall_s"] == {"evaluate": 3.0}
    assert known["peak_bytes"] == 0  # there is no GPU


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


def on_gpu(name: str, seed: int, right: int) -> dict[str, Any]:
    """Return a raw record from a GPU: 1,000 tokens in 4 wall seconds, of which the update took one."""
    found = raw("t", name, seed, right) | {"peak_bytes": 2 * 10**9, "eager": 0, "side_by_side": 3, "start_s": 9.0}
    if name == "base":
        return found
    return found | {"curve": [found["curve"][0] | {"seconds": 4.0}], "wall_s": {"learn": 1.0, "sample": 3.0}}


def test_on_a_gpu_seconds_are_of_the_wall_and_eager_steps_are_told() -> None:
    setup = next(one for one in SETUPS if one.device == "cuda")
    cells = {"base": [on_gpu("base", 0, 2)], "grpo": [on_gpu("grpo", seed, 3) for seed in (0, 1)]}
    cells["grpo"][1] |= {"eager": 7, "peak_bytes": 3 * 10**9, "start_s": 12.0}
    text = report.sections({setup.name: cells})[setup.name]
    assert "| % in loss | GPU s | % in update | seeds |" in text
    assert "| 1.0 | 10.0 | 4 ± 0 | 25 | 2 |" in text
    assert "| training reward | at 2 GPU s | at 4 GPU s |" in text
    # starts of 9, 9 and 12 s; 1,000 / 4 tokens a second
    assert "1 to 1 steps a run; 250 sampled tokens a second in each of up to 3 cells side by side" in text
    assert "10 s from the start of a process to its first step; peak 3.0 GB; 7 decoding steps" in text


def test_the_best_rate_is_that_of_the_mean_of_both_decodings() -> None:
    rates = TRIED
    cells = {f"grpo lr={rate:g}": [raw("t", "x", 0, 3 + place, rate)] for place, rate in enumerate(rates)}
    assert report.best_rate(cells, "grpo") == rates[-1]


def test_the_chosen_rates_are_those_of_the_raw_files() -> None:
    found = load(HERE / "results")
    for setup in SETUPS:
        for method, rate in setup.chosen.items():
            assert rate == report.best_rate(found[setup.tuning], method)


def test_the_readme_is_what_the_report_writes() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    for name, section in report.sections(load(HERE / "results")).items():
        assert section in text, name
