"""Slow proofs that the shipped recipes learn, over seeds; `make proof` runs them."""

import json
from pathlib import Path

import pytest

from tests.e2e.command import creditree

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_quickstart_does_not_depend_on_a_lucky_seed(seed: int, tmp_path: Path) -> None:
    creditree("quickstart", "--run", tmp_path / "run", "--set", f"seed={seed}")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["after"]["accuracy"] >= 0.85
    assert summary["decoding"]["T=0.3"]["difference"]["value"] > 0.4


def test_the_word_problems_are_lifted_clearly(tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / "token_efficient_rl" / "tiny_t_spmo_stories.yaml"
    creditree("train", recipe, "--run", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0.2 <= summary["before"]["accuracy"] <= 0.5
    assert summary["difference"]["interval"][0] > 0.2


@pytest.mark.parametrize("method", ["grpo", "s_grpo", "t_spmo"])
def test_every_method_lifts_the_tiny_twin(method: str, tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / "token_efficient_rl" / f"tiny_{method}.yaml"
    creditree("train", recipe, "--run", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["before"]["accuracy"] < 0.05
    assert summary["after"]["accuracy"] > 0.6


def test_the_long_multiplication_is_lifted_clearly(tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / "tiny_base" / "long_multiplication_grpo.yaml"
    creditree("train", recipe, "--run", tmp_path / "run", "--set", "train.steps=200")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0.15 <= summary["before"]["accuracy"] <= 0.5
    assert summary["difference"]["interval"][0] > 0.05
