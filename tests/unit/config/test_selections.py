"""The selections that need no tuning by hand, read from a configuration: numbers, signals, refusals, metrics."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from creditree.config.load import load_config, parse_config
from creditree.config.method import MethodConfig
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.select.adapter_residual import AdapterResidual
from creditree.select.auto import Auto
from creditree.select.base import Selection
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.low_probability import LowProbability
from creditree.select.prefix_cut import PrefixCut
from creditree.select.top_entropy import TopEntropy
from creditree.setup.build import build_settings
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.train.trainer import Trainer

ROOT = Path(__file__).parents[3]


class Silent(Watcher):
    """A watcher that shows nothing."""

    def update(self, record: Mapping[str, object]) -> None:
        """Show nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"select": "top_entropy"}, TopEntropy(q=0.2)),
        ({"select": "top_entropy", "q": 0.5, "loss_mean": "tokens"}, TopEntropy(q=0.5, loss_mean="tokens")),
        ({"select": "low_probability", "probability_below": 0.3}, LowProbability(0.3)),
        ({"select": "prefix_cut", "min_cut": 4}, PrefixCut(4)),
        ({"select": "adapter_residual"}, AdapterResidual(q=0.5)),
        ({"select": "auto", "budget": 0.25, "allocation": "tokens"}, Auto(0.25, "tokens")),
        (
            {"name": "s-grpo", "reweight": "horvitz_thompson", "k": 300},
            EarlyAndRandom(50, 0.5, 300, "horvitz_thompson"),
        ),
    ],
)
def test_numbers_reach_their_pieces_and_survive_the_resolved_block(
    block: dict[str, object], expected: Selection
) -> None:
    config = MethodConfig.model_validate({"name": "grpo", **block})
    assert config.build().select == expected
    assert config.resolved().build() == config.build()


def test_a_token_mean_is_kept_when_the_selection_is_exchanged() -> None:
    assert MethodConfig(name="treerl", select="auto").build().select == Auto(loss_mean="tokens")


def test_matching_reaches_the_credit() -> None:
    assert MethodConfig(name="t-spmo").build().credit == PrefixGain()
    found = MethodConfig(name="t-spmo", match="hidden", similarity=0.9).build().credit
    assert found == PrefixGain("hidden", 0.9)
    with pytest.raises(ConfigError, match=r"similarity has no effect while method.match is 'exact'"):
        MethodConfig(name="t-spmo", similarity=0.9).build()


@pytest.mark.parametrize(("select", "asks"), [("top_entropy", True), ("auto", False), ("everything", False)])
def test_only_a_selection_that_wants_entropies_has_every_token_sampled_with_them(select: str, asks: bool) -> None:
    config = parse_config(f"task: multiplication\nmethod: {{name: grpo, select: {select}}}", "run.yaml")
    assert build_settings(config).sampling.entropies == asks


def test_without_an_adapter_its_residual_is_refused() -> None:
    text = "task: multiplication\nmethod: {name: grpo, select: adapter_residual}\ntrain: {weights: all}"
    with pytest.raises(ConfigError, match=r"'adapter_residual' .* there is no adapter; set train.weights: adapter"):
        parse_config(text, "run.yaml")


def test_a_number_of_another_selection_is_refused_with_the_cure() -> None:
    with pytest.raises(ConfigError, match=r"method.budget has no effect.*set method.select: auto"):
        MethodConfig(name="grpo", budget=0.5).build()


@pytest.mark.parametrize(
    ("select", "shown"),
    [
        ("top_entropy", {"select_least"}),
        ("auto", {"select_alpha", "select_probability"}),
        ("prefix_cut", set()),
        ("adapter_residual", {"select_least"}),
    ],
)
def test_metrics_show_what_was_chosen(select: str, shown: set[str], tmp_path: Path) -> None:
    overrides = ["train.steps=2", f"method={{name: grpo, group: 6, select: {select}}}", "evaluation.problems=4"]
    config = load_config(ROOT / "recipes" / "quickstart.yaml", overrides)
    with RunDirectory.create(tmp_path / "run", "seed: 0\n") as run:
        Trainer(build(resolve(config)), build_settings(config), run, Silent()).train()
        records = run.metrics()
    for record in records:
        assert {name for name in record if name.startswith("select_")} == shown
        share = record["selected_share"]
        assert isinstance(share, float)
        assert 0.0 < share <= 1.0
    assert (records[-1]["measured_tokens"] != 0) == (select == "adapter_residual")
