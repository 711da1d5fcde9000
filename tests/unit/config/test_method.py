"""The method block: presets, exchanged axes, numbers of the chosen pieces only, and its resolved form."""

from pathlib import Path

import pytest

from creditree.config.load import load_config, parse_config
from creditree.config.method import MethodConfig
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.methods import METHODS
from creditree.objective.base import L2Penalty
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import numbers_of
from creditree.pieces import PIECES
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", list(METHODS))
def test_a_name_alone_is_the_preset(name: str) -> None:
    assert MethodConfig(name=name).build() == METHODS[name]()


def test_the_default_is_t_spmo() -> None:
    assert MethodConfig().build() == METHODS["t-spmo"]()


def test_every_piece_can_be_named_and_its_class_agrees() -> None:
    for known in PIECES.values():
        for name, kind in known.items():
            assert kind.name == name
    assert set(MethodConfig.model_fields) == {"name", "step_texts", *PIECES}


@pytest.mark.parametrize("name", list(METHODS))
def test_the_resolved_block_has_every_number_of_its_pieces_and_no_other(name: str) -> None:
    method = METHODS[name]()
    resolved = MethodConfig(name=name).resolved()
    written = resolved.model_dump(exclude_none=True)
    expected: dict[str, object] = {"name": name}
    for axis in PIECES:
        piece = getattr(method, axis)
        expected[axis] = piece.name
        numbers = {item.name: getattr(piece, item.name) for item in numbers_of(piece) if not item.metadata["quiet"]}
        expected |= {number: value for number, value in numbers.items() if value is not None}
    if method.looks_at_steps:
        expected["step_texts"] = ["\n\n", "\n"]
    assert written == expected
    assert resolved.build() == method
    assert resolved.resolved() == resolved


def test_the_resolved_block_of_t_spmo_in_full() -> None:
    assert MethodConfig(name="t-spmo", group=16, l2=0.0).resolved().model_dump(exclude_none=True) == {
        "name": "t-spmo",
        "explore": "replay",
        "credit": "prefix_gain",
        "select": "branching_pairs",
        "objective": "likelihood",
        "schedule": "fixed",
        "stages": (),
        "off_policy": False,
        "group": 16,
        "successes": 1,
        "failures": 1,
        "threshold": 1.0,
        "match": "exact",
        "u_norm": "branching",
        "kl": 0.0,
        "l2": 0.0,
        "l2_decoupled": False,
        "loss_temperature": 1.0,
    }


def test_a_quiet_number_is_written_out_only_where_it_is_set() -> None:
    """So a run that began before a number was declared goes on as it was."""
    assert "entropy_bonus" not in MethodConfig(name="grpo").resolved().model_dump(exclude_none=True)
    block = MethodConfig(name="grpo", entropy_bonus=0.01, kl_estimator="k2").resolved()
    assert (block.entropy_bonus, block.kl_estimator) == (0.01, "k2")
    assert block.build().objective == PolicyGradient(kl=0.01, entropy_bonus=0.01, kl_estimator="k2")


def test_numbers_reach_their_pieces() -> None:
    method = MethodConfig(
        name="s-grpo", group=6, std=False, alpha=3, probability=0.25, k=7, kl=0.5, l2=0.2, l2_decoupled=True
    ).build()
    assert method.explore == Group(6)
    assert method.credit == GroupRelative(std=False)
    assert method.select == EarlyAndRandom(3, 0.25, 7)
    assert method.objective == PolicyGradient(kl=0.5, l2=0.2, l2_decoupled=True)
    method = MethodConfig(group=6, successes=0, failures=3, threshold=0.5, u_norm="all", loss_temperature=0.3).build()
    assert method.explore == Replay(6, 0, 3, 0.5)
    assert method.select == BranchingPairs("all")
    assert method.objective == Likelihood(loss_temperature=0.3)
    assert MethodConfig(name="grpo", eps=0.5).build().credit == GroupRelative(eps=0.5)


def test_a_number_of_zero_is_given_not_left_out() -> None:
    assert MethodConfig(name="grpo", kl=0).build().objective == PolicyGradient(kl=0.0)
    assert MethodConfig(successes=0, failures=0).build().explore == Replay(50, 0, 0)
    assert MethodConfig(name="grpo", std=False).build().credit == GroupRelative(std=False)


def test_an_exchanged_axis_keeps_the_numbers_that_both_pieces_have() -> None:
    """Group of the explorers; kl, l2 and loss_temperature of the objectives."""
    method = MethodConfig(name="t-spmo", explore="group").build()
    assert method.explore == Group(50)
    method = MethodConfig(name="grpo", explore="replay").build()
    assert method.explore == Replay(8, 1, 1, 1.0)
    method = MethodConfig(name="t-spmo-paper", objective="policy_gradient").build()
    assert method.objective == PolicyGradient(kl=0.0, l2=0.01, loss_temperature=1.0)
    method = MethodConfig(
        name="grpo", credit="prefix_gain", select="branching_pairs", objective="likelihood", loss_temperature=0.5
    ).build()
    assert method.explore == Group(8)
    assert method.credit == PrefixGain()
    assert method.select == BranchingPairs()
    assert method.objective == Likelihood(kl=0.01, loss_temperature=0.5)


def test_l2_and_its_mode_are_set_apart() -> None:
    name = "t-spmo-paper"
    assert MethodConfig(name=name, l2_decoupled=True).build().objective.penalty == L2Penalty(0.01, decoupled=True)
    assert MethodConfig(l2=0.5).build().objective.l2 == 0.5
    moved = MethodConfig(name=name, objective="policy_gradient", l2_decoupled=True).build()
    assert moved.objective.penalty == L2Penalty(0.01, decoupled=True)


def test_an_exchanged_axis_keeps_the_name_and_the_paper() -> None:
    method = MethodConfig(name="s-grpo", select="everything").build()
    assert (method.name, method.paper) == ("s-grpo", "arXiv 2504.20834")
    assert method.select == Everything()


@pytest.mark.parametrize(
    ("block", "number", "axis", "needed", "chosen"),
    [
        ({"name": "grpo", "successes": 1}, "successes", "explore", "replay", "group"),
        ({"name": "grpo", "threshold": 0.5}, "threshold", "explore", "replay", "group"),
        ({"explore": "group", "failures": 0}, "failures", "explore", "replay", "group"),
        ({"name": "t-spmo", "std": True}, "std", "credit", "group_relative", "prefix_gain"),
        ({"name": "t-spmo", "eps": 1e-3}, "eps", "credit", "group_relative", "prefix_gain"),
        ({"name": "t-spmo", "alpha": 5}, "alpha", "select", "early_and_random", "branching_pairs"),
        ({"name": "grpo", "k": 5}, "k", "select", "early_and_random", "everything"),
        ({"name": "s-grpo", "select": "everything", "probability": 1}, "probability", "select", "early_and_random",
         "everything"),
        ({"name": "s-grpo", "u_norm": "all"}, "u_norm", "select", "branching_pairs", "early_and_random"),
    ],
)  # fmt: skip
def test_a_number_that_no_chosen_piece_uses_is_refused(
    block: dict[str, object], number: str, axis: str, needed: str, chosen: str
) -> None:
    with pytest.raises(ConfigError) as error:
        MethodConfig.model_validate(block).build()
    assert str(error.value) == (
        f"method.{number} has no effect: it belongs to {axis} '{needed}', and {axis} is '{chosen}'; "
        f"remove it, or set method.{axis}: {needed}."
    )


def test_the_cure_of_an_unused_number_works() -> None:
    assert MethodConfig(name="grpo", explore="replay", successes=2).build().explore == Replay(8, 2, 1)
    method = MethodConfig(name="grpo", select="early_and_random", k=5).build()
    assert method.select == EarlyAndRandom(k=5)


def test_a_recipes_numbers_survive_a_change_of_method_only_where_they_are_used() -> None:
    """The quickstart sets group and l2, which every method has: its method can be exchanged by name alone."""
    quickstart = ROOT / "recipes" / "quickstart.yaml"
    for name in METHODS:
        limit = ["sampling.max_new_tokens=64", f"method.name={name}"]
        method = load_config(quickstart, limit).method.build()
        assert method.explore.group == 16
        assert method.objective.l2 == 0
    with pytest.raises(ConfigError, match="remove it, or set"):
        parse_config("task: svamp\nmethod: {name: grpo, alpha: 3}", "x")


@pytest.mark.parametrize(
    ("recipe", "group", "penalty"),
    [
        ("grpo_multiplication", 8, {"kl": 0.01, "l2": 0.0}),
        ("grpo_svamp", 8, {"kl": 0.01, "l2": 0.0}),
        ("s_grpo_multiplication", 8, {"kl": 0.01, "l2": 0.0}),
        ("s_grpo_svamp", 8, {"kl": 0.01, "l2": 0.0}),
        ("t_spmo_multiplication", 50, {"kl": 0.0, "l2": 0.01}),
        ("t_spmo_svamp", 50, {"kl": 0.0, "l2": 0.01}),
    ],
)
def test_the_papers_recipes_have_the_papers_constants(recipe: str, group: int, penalty: dict[str, float]) -> None:
    """arXiv 2504.20834: Qwen2-1.5B in float32, q and v of the last third (SVAMP, rank 16) or quarter (rank 8)."""
    config = load_config(ROOT / "recipes" / "token_efficient_rl" / f"{recipe}.yaml")
    on_svamp = recipe.endswith("svamp")
    method = config.method.build()
    assert method.name.removesuffix("-paper") == recipe.rpartition("_")[0].replace("_", "-")
    assert method.explore.group == group
    assert {"kl": method.objective.kl, "l2": method.objective.l2} == penalty
    assert not method.objective.l2_decoupled
    assert method.objective.loss_temperature == 1.0
    assert (config.model.name, config.model.dtype) == ("Qwen/Qwen2-1.5B", "float32")
    assert (config.lora.rank, config.lora.layers) == ((16, "1/3") if on_svamp else (8, "1/4"))
    assert sorted(config.lora.targets) == ["q_proj", "v_proj"]
    assert (config.train.learning_rate, config.train.final_learning_rate) == (1e-4, 1.0)
    assert config.train.problems_per_step == 1
    assert (config.sampling.temperature, config.sampling.max_new_tokens) == (0.3, 300)
    assert config.evaluation.problems == (300 if on_svamp else 3000)
    assert config.evaluation.temperatures[0] == 0.3
    assert config.validation.every > 0
    assert config.validation.temperature == 0.3
    if not on_svamp:
        assert config.task.model_dump(include={"name", "range_a", "range_b"}) == {
            "name": "multiplication",
            "range_a": (101, 999),
            "range_b": (101, 999),
        }


def test_the_compositions_of_the_papers_methods() -> None:
    axes = [axis for axis in PIECES if axis != "schedule"]
    pieces = {name: [getattr(make(), axis).name for axis in axes] for name, make in METHODS.items()}
    assert pieces == {
        "grpo": ["group", "group_relative", "everything", "policy_gradient"],
        "s-grpo": ["group", "group_relative", "early_and_random", "policy_gradient"],
        "t-spmo": ["replay", "prefix_gain", "branching_pairs", "likelihood"],
        "t-spmo-paper": ["replay", "prefix_gain", "branching_pairs", "likelihood"],
        "treerl": ["entropy", "process_value", "everything", "clipped"],
        "attnrl": ["attention", "process_value", "everything", "clipped"],
        "attnrl-paper": ["attention", "process_value", "everything", "clipped"],
        "deepscaler": ["group", "group_relative", "everything", "clipped"],
        "dr-grpo": ["group", "group_relative", "constant_length", "clipped"],
        "raft": ["group", "accepted", "everything", "log_likelihood"],
    }
