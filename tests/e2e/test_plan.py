"""`creditree plan` and `--memory`, as a user types them."""

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.command import creditree, creditree_json, write_config

QWEN = {"name": "random:qwen2-1.5b", "dtype": "bfloat16"}


def test_plan_says_what_fits(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", model=QWEN, method={"name": "t-spmo", "group": 50})
    shown = creditree("plan", config, "--memory", "4.6GB", "--set", "sampling.max_new_tokens=300").stdout
    for words in ("weights", "store", "activations", "Peak:", "Fits 4.60 GB", "FLOPs of the update", "80 GB", "nf4"):
        assert words in shown


def test_plan_in_json(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", model=QWEN, method={"name": "t-spmo", "group": 50})
    found = creditree_json("plan", config, "--memory", "4GB", "--prompt-tokens", "100")
    assert found["fits"] is True
    assert found["at_most"]["peak_bytes"] <= 4_000_000_000
    phases = found["at_most"]["phases"]
    assert set(phases) == {"evaluation", "sampling", "update"}
    assert all(sum(phase["parts"].values()) == phase["bytes"] for phase in phases.values())
    assert found["prompt_tokens"] == 100
    assert found["expected"]["step"]["update_flops"] > 0
    assert len(found["cards"]) == 8 * 4


def test_plan_of_what_does_not_fit(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", model=QWEN)
    found = creditree_json("plan", config, "--memory", "2GB")
    assert found["fits"] is False
    assert "set model.dtype: int8, or raise train.memory" in found["problem"]
    refused = creditree("train", config, "--memory", "2GB", "--run", tmp_path / "run", code=2).stderr
    assert "more than the limit of 2.00 GB" in refused
    assert len(refused.strip().splitlines()) == 1


RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    ("recipe", "phases", "cards", "fits"),
    [
        ("attnrl/qwen-1.5b", {"evaluation", "sampling", "influence", "update", "checkpoint"}, 8, True),
        ("attnrl/qwen-7b", {"evaluation", "sampling", "influence", "update", "checkpoint"}, 8, None),
        pytest.param(
            "attnrl/qwen-1.5b-single-gpu", {"evaluation", "sampling", "influence", "update"}, 32, True,
            marks=pytest.mark.thorough,
        ),
        ("attnrl/tiny", {"evaluation", "sampling", "influence", "update"}, 32, None),
        ("treerl/tiny", {"evaluation", "sampling", "update"}, 32, None),
    ],
)  # fmt: skip
def test_plan_of_process_supervision_works_offline(recipe: str, phases: set[str], cards: int, fits: bool) -> None:
    found = creditree_json("plan", RECIPES / f"{recipe}.yaml", "--prompt-tokens", "300")
    assert set(found["at_most"]["phases"]) == phases
    assert len(found["cards"]) == cards
    assert found["fits"] is fits
    assert (found["at_most"]["step"]["influence_flops"] > 0) == recipe.startswith("attnrl")
    assert found["expected"]["peak_bytes"] <= found["at_most"]["peak_bytes"]
    assert any(sentence.startswith("Forks: ") for sentence in found["assumed"])


def test_plan_of_all_weights_says_what_is_held() -> None:
    path = RECIPES / "attnrl" / "qwen-1.5b.yaml"
    parts = creditree_json("plan", path, "--prompt-tokens", "300")["at_most"]["phases"]["sampling"]["parts"]
    # DeepSeek-R1-Distill-Qwen-1.5B has 1,777,088,000 parameters: base, policy, gradient and two moments
    assert parts["weights"] == 4 * 1_777_088_000 + 512
    assert (parts["policy"], parts["optimiser"]) == (4 * 1_777_088_000, 12 * 1_777_088_000)
    shown = creditree("plan", path, "--prompt-tokens", "300").stdout
    for words in (
        "policy: the weights that learn",
        "Problems a step: 256 are assumed at most, since",
        "FLOPs of influence",
    ):
        assert words in shown


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml")
    assert "did you mean 'GB'" in creditree("plan", config, "--memory", "8GG", code=2).stderr
    unknown = creditree("plan", config, "--set", "model.name=nobody/nothing", code=2).stderr
    assert "is not known without asking the network" in unknown


def test_a_limit_is_shown_and_recorded(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", train={"steps": 1, "threads": 1})
    shown = creditree("train", config, "--memory", "12MB", "--run", tmp_path / "run").stdout
    assert "of 12 MB" in shown.replace("\n", " ")
    train = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]
    assert train["memory"] == "12MB"
    assert isinstance(train["max_rows"], int)
    assert isinstance(train["micro_batch_tokens"], int)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["method"] == "t-spmo"


def test_plan_says_what_it_chose_and_why(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("model: {name: 'random:qwen2-1.5b', device: cpu}\ntask: multiplication\n", encoding="utf-8")
    record = creditree_json("plan", path)
    found = {one["key"]: one for one in record["chosen"]}
    assert found["model.dtype"]["value"] == record["dtype"]
    assert "decod" in found["model.dtype"]["why"]
    lines = creditree("plan", path).stdout.splitlines()
    assert f"  model.dtype {found['model.dtype']['value']}: {found['model.dtype']['why']}" in lines
