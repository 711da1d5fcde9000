"""What is chosen where a configuration does not say: for real models only, never over what it says, once for a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.schema import RunConfig
from creditree.models.shapes import shape_of
from creditree.objective.policy_gradient import PolicyGradient
from creditree.setup import defaults
from creditree.setup.defaults import RULES, chosen, explicit, resolved, usual_rate
from creditree.setup.machine import Precision
from creditree.setup.workload import settled

ROOT = Path(__file__).parents[3]
REAL = "model: random:qwen2-1.5b\ntask: multiplication\n"
"""Its shape is known, with 1.5 G parameters; nothing of it is loaded here."""
REPLAYS = {"method.successes", "method.failures"}
"""Numbers of T-SPMO."""


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "default_device", lambda: "cpu")
    monkeypatch.setattr(defaults, "fastest_precision", lambda device, shape: Precision("bfloat16", "it is"))
    monkeypatch.setattr(defaults, "usable_memory", lambda device: 64 * 10**9)


def parse(text: str) -> RunConfig:
    return parse_config(text, "run.yaml")


def values(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(dump_config(config))
    return found


def test_a_real_model_gets_settings_with_reasons() -> None:
    config, choices = chosen(parse(REAL))
    assert (config.lora.rank, config.lora.layers, config.model.dtype) == (16, "1/3", "bfloat16")
    assert (config.sampling.temperature, config.sampling.max_new_tokens) == (0.7, 300)
    assert (config.method.name, config.method.group, config.method.loss_temperature) == ("s-grpo", 8, 0.7)
    assert (config.method.alpha, config.method.k, config.method.kl) == (25, 50, 0)  # of 300 tokens, as on SVAMP
    assert (config.train.problems_per_step, config.train.learning_rate) == (4, 1e-4)  # 1.54 G parameters
    assert (config.evaluation.problems, config.evaluation.temperatures) == (100, [0.0])
    assert {choice.key for choice in choices} == set(RULES) - {"task.path", "model.device", *REPLAYS}
    assert all(len(str(choice)) <= 120 and not choice.why.endswith(".") for choice in choices)
    assert next(str(one) for one in choices if one.key == "lora.layers").startswith("lora.layers 1/3: the last 9 of 28")


def test_t_spmo_gets_a_group_of_this_machine_and_no_replays() -> None:
    config, choices = chosen(parse(REAL + "method: t-spmo\n"))
    assert (config.method.name, config.method.group, config.method.loss_temperature) == ("t-spmo", 8, 0.7)
    assert (config.method.successes, config.method.failures) == (0, 0)
    assert config.method.build().objective.l2 == 0
    assert {"method.name", "method.alpha", "method.kl"}.isdisjoint(choice.key for choice in choices)


def test_tokens_that_learn_grow_with_the_length_unless_they_are_said() -> None:
    config, _ = chosen(parse(REAL + "sampling: {max_new_tokens: 24}\n"))
    assert (config.method.alpha, config.method.k) == (2, 4)  # 24 x 25 / 300, 24 x 50 / 300
    config, _ = chosen(parse(REAL + "method: {name: s-grpo, alpha: 7}\n"))
    assert (config.method.alpha, config.method.k) == (7, 50)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("{group: 4}", "s-grpo"),  # a number that it has
        ("{successes: 1}", "t-spmo"),  # one that it has not
        ("{credit: prefix_gain}", "t-spmo"),  # a composition, beside what it is without a word
        ("{name: t-spmo}", "t-spmo"),
        ("grpo", "grpo"),
    ],
)
def test_a_method_is_chosen_only_where_nothing_says_what_it_is_made_of(method: str, name: str) -> None:
    before = parse(REAL + f"method: {method}\n")
    after, choices = chosen(before)
    assert after.method.name == name
    assert ("method.name" in {choice.key for choice in choices}) is (name == "s-grpo")
    assert after.method.build().select.name == (
        "early_and_random" if name == "s-grpo" else before.method.build().select.name
    )


@pytest.mark.parametrize(
    ("method", "kl"), [("grpo", 0.0), ("{name: grpo, kl: 0.04}", 0.04), ("{name: grpo, kl_estimator: k2}", 0.01)]
)
def test_a_penalty_is_left_out_unless_it_is_asked_for(method: str, kl: float) -> None:
    config, _ = chosen(parse(REAL + f"method: {method}\n"))
    objective = config.method.build().objective
    assert isinstance(objective, PolicyGradient)
    assert objective.kl == kl


def test_a_gpu_gets_larger_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "default_device", lambda: "cuda")
    config, _ = chosen(parse(REAL))
    assert (config.model.device, config.method.group, config.train.problems_per_step) == ("cuda", 16, 8)
    assert config.evaluation.problems == 500


RECIPES = [path for path in sorted((ROOT / "recipes").glob("*/*.yaml")) if path.parent.name not in ("sweeps", "search")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipes_say_all_that_would_be_chosen(path: Path) -> None:
    """What they mean does not depend on the machine, nor on what is chosen for newcomers."""
    config = load_config(path)
    assert chosen(config, offline=True) == (config, ())


def test_small_models_keep_the_defaults_of_the_schema() -> None:
    for model in ("builtin:multiplication", "builtin:word_problems"):
        config = parse(f"model: {model}\ntask: multiplication\n")
        assert resolved(config) == (config, ())


def test_what_is_said_is_not_chosen_even_where_it_is_the_default() -> None:
    whole = explicit(parse(REAL))
    assert chosen(whole) == (whole, ())
    config, choices = chosen(parse(REAL + "sampling: {temperature: 0.5}\nmethod: {name: grpo, group: 4}\n"))
    assert (config.sampling.temperature, config.method.group) == (0.5, 4)
    assert config.method.loss_temperature == 0.5
    assert {"sampling.temperature", "method.group", "method.successes"}.isdisjoint(choice.key for choice in choices)


def test_a_paper_s_own_composition_keeps_its_numbers() -> None:
    for name in ("t-spmo-paper", "attnrl", "treerl"):
        before = parse(REAL + f"method: {name}\nlora: {{rank: 4}}\n")
        after, _ = chosen(before)
        assert after.method == before.method
    assert parse(REAL + "method: t-spmo-paper\n").method.build().objective.l2 == 0.01


def test_all_weights_are_left_alone() -> None:
    config, choices = chosen(parse(REAL + "train: {weights: all}\n"))
    assert config.model.dtype == "float32"
    assert {"lora.rank", "lora.layers", "model.dtype", "train.learning_rate"}.isdisjoint(one.key for one in choices)


def test_a_length_stays_within_the_context_and_a_benchmark_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config, choices = chosen(parse("model: random:qwen2-1.5b\ntask: {name: math500, path: math.jsonl}\n"))
    assert config.sampling.max_new_tokens == 1024
    assert "math500 is measured with 32,768" in next(o.why for o in choices if o.key == "sampling.max_new_tokens")
    shape = shape_of("random:qwen2-1.5b")
    assert shape is not None
    monkeypatch.setattr(defaults, "shape_of", lambda name, offline: replace(shape, max_positions=256))
    assert chosen(parse(REAL))[0].sampling.max_new_tokens == 128


def test_rows_fit_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    config, choices = resolved(parse(REAL))
    assert (config.train.max_rows, config.train.micro_batch_tokens) == (512, "auto")
    assert "of 64.00 GB that may be used now" in choices[-1].why
    monkeypatch.setattr(defaults, "usable_memory", lambda device: 4 * 10**9)
    config, choices = resolved(parse(REAL))
    rows = config.train.max_rows
    assert isinstance(rows, int)
    assert rows < 512
    monkeypatch.setattr(defaults, "usable_memory", lambda device: 10**6)  # building it says that nothing fits
    assert resolved(parse(REAL))[0].train.max_rows == "auto"
    limited = parse(REAL + "train: {memory: 8GB}\n")
    assert resolved(limited)[0].train.max_rows == "auto"  # chosen by the limit, later


def test_a_continued_run_takes_what_it_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parse(REAL + "sampling: {max_new_tokens: 50}\n")
    recorded = settled(resolved(asked)[0])
    monkeypatch.setattr(defaults, "usable_memory", lambda device: 4 * 10**9)
    monkeypatch.setattr(defaults, "fastest_precision", lambda device, shape: Precision("float32", "it is"))
    again, choices = resolved(asked, recorded=parse(dump_config(recorded)))
    assert choices == ()
    assert dump_config(settled(again)) == dump_config(recorded)
    assert values(again)["sampling"]["max_new_tokens"] == 50


def test_what_a_small_model_was_started_with_is_not_taken_silently() -> None:
    """Nothing is chosen for it, so another value was asked for: going on refuses the difference."""
    config = parse("task: multiplication\n")
    recorded = parse("task: multiplication\ntrain: {learning_rate: 0.5}\n")
    assert resolved(config, recorded=recorded) == (config, ())


def test_the_file_of_svamp_is_found_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse("model: random:qwen2-1.5b\ntask: svamp\n")
    assert chosen(config)[0].task.path is None  # type: ignore[union-attr]
    (tmp_path / "svamp.csv").write_text("")
    found, choices = chosen(config)
    assert found.task.path == str(tmp_path / "svamp.csv")  # type: ignore[union-attr]
    assert choices[0].key == "task.path"


def test_the_rate_is_that_of_known_sizes_between_them_and_level_beyond() -> None:
    assert (usual_rate(600_000), usual_rate(500_000_000), usual_rate(1_500_000_000)) == (5e-3, 5e-4, 1e-4)
    # A factor of 10 between 6e5 and 5e8, 2.921 decades: 5e-3 / 10^((8.130 - 5.778) / 2.921) = 5e-3 / 10^0.805
    assert usual_rate(135_000_000) == 7.8e-4
    assert usual_rate(135_000_000, share=1 / 3) == 2.6e-4
    assert (usual_rate(1), usual_rate(10**13)) == (5e-3, 1e-4)


def test_a_model_that_is_not_at_hand_is_left_to_loading() -> None:
    config = parse("model: nobody/nothing\ntask: multiplication\n")
    assert chosen(config, offline=True) == (config, ())


def test_with_a_server_everything_is_at_temperature_one() -> None:
    config, choices = chosen(parse(f"{REAL}engine: {{name: vllm, url: 'http://here'}}\n"))
    assert (config.sampling.temperature, config.method.loss_temperature) == (1.0, None)
    assert all(len(str(choice)) <= 120 for choice in choices)
