"""Sizes of memory in words, and the settings that they lead to."""

from dataclasses import replace
from pathlib import Path

import pytest

from creditree.config.load import dump_config, parse_config
from creditree.config.schema import RunConfig
from creditree.demand import Branches
from creditree.errors import ConfigError
from creditree.plan.prediction import predict
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.setup.workload import longest_prompt, settled, workload_of
from creditree.signals import InfluenceSpec
from creditree.units import parse_bytes, show_bytes

BASE = "{task: multiplication, method: {name: grpo, group: 8}, evaluation: {problems: 20}"


def parse(*overrides: str) -> RunConfig:
    return parse_config(BASE + "}", "run.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("500MB", 5 * 10**8), ("1.5 gb", 15 * 10**8), ("2GiB", 2**31), ("64 kb", 64_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["8", "8GG", "eight GB", "-8GB", "0GB", "8G", ""])
def test_a_size_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(f"train.memory='{text}'")
    sentence = str(error.value)
    assert "train.memory" in sentence
    assert "\n" not in sentence


def test_a_wrong_unit_says_what_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'GB'"):
        parse("train.memory=8GG")


@pytest.mark.parametrize(("size", "text"), [(4_621_000_000, "4.62 GB"), (380_400_000, "380 MB"), (999, "999 B")])
def test_sizes_are_shown(size: int, text: str) -> None:
    assert show_bytes(size) == text


def test_without_a_limit_auto_is_the_default() -> None:
    train = settled(parse()).train
    assert (train.micro_batch_tokens, train.max_rows, train.stored_tokens) == (1024, 512, None)
    assert settled(settled(parse())) == settled(parse())


def test_a_limit_is_kept_by_what_is_chosen() -> None:
    config = settled(parse("train.memory=5MB"))
    work, _ = workload_of(config)
    assert predict(work).total <= 5_000_000
    assert (work.max_rows, work.micro_batch_tokens) < (512, 1024)
    parts = build(resolve(config))
    assert parts.engine.max_rows == config.train.max_rows
    assert parts.learner.micro_batch_tokens == config.train.micro_batch_tokens
    assert f"max_rows: {config.train.max_rows}" in dump_config(config)


def test_what_is_set_stays() -> None:
    train = settled(parse("train.memory=1GB", "train.max_rows=33", "train.micro_batch_tokens=77")).train
    assert (train.micro_batch_tokens, train.max_rows) == (77, 33)


def test_too_little_says_what_limits_by_how_much_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as error:
        settled(parse("train.memory=3MB"))
    sentence = str(error.value)
    for words in ("weights of the base model", "more than the limit of 3.0 MB", "model.dtype", "train.memory"):
        assert words in sentence


def test_an_unknown_shape_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"shape of model 'nobody/nothing' is not known"):
        workload_of(parse("model.name=nobody/nothing"))


@pytest.mark.parametrize("key", ["micro_batch_tokens", "max_rows", "stored_tokens"])
@pytest.mark.parametrize("value", ["0", "many", "1.5", "true"])
def test_a_count_is_auto_or_whole(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"train.{key} is .*: set auto, or a whole number"):
        parse(f"train.{key}={value}")


def test_the_prompt_is_looked_up_where_it_can_be(tmp_path: Path) -> None:
    assert not longest_prompt(parse(), offline=True).assumed
    bytes_ = longest_prompt(parse("model.name=random:qwen2-0.5b"), offline=True)
    assert bytes_.tokens >= len("123*4=")
    hub = longest_prompt(parse("task={name: svamp}"), offline=True)
    assert (hub.tokens, hub.assumed) == (100, True)


@pytest.mark.parametrize(
    ("method", "learns", "replays"), [("grpo", "everything", 0), ("s-grpo", "early", 0), ("t-spmo", "branching", 2)]
)
def test_the_method_becomes_what_it_holds(method: str, learns: str, replays: int) -> None:
    work, _ = workload_of(parse(f"method={method}"))
    assert (work.learns, work.replays) == (learns, replays)
    assert (work.early is None) == (method != "s-grpo")
    assert work.reference == (method != "t-spmo")


def test_branching_methods_become_rounds_of_forks() -> None:
    attnrl, _ = workload_of(parse("method={name: attnrl, influence_source: decoding}", "train.problems_per_step=4"))
    assert attnrl.branches == Branches(2, 1, 2)
    assert attnrl.influence == InfluenceSpec(delta=4, source="decoding")
    # 6 + 6 x 2 x 1 x 2 completions; four times as many problems at most
    assert (attnrl.leaves, attnrl.replays, attnrl.at_most.problems) == (30, 0, 16)
    assert attnrl.off_policy
    assert attnrl.reference
    treerl, _ = workload_of(parse("method={name: treerl, kl: 0, rounds: 3}", "train.problems_per_step=4"))
    assert treerl.branches == Branches(2, 3, 2)
    assert (treerl.entropies, treerl.reference, treerl.off_policy, treerl.at_most.problems) == (True, False, False, 4)


def test_a_schedule_that_draws_more_is_counted_at_most() -> None:
    dynamic, _ = workload_of(
        parse("method={name: grpo, schedule: dynamic, draw_limit: 2.5}", "train.problems_per_step=4")
    )
    assert (dynamic.problems, dynamic.at_most.problems) == (4, 10)
    fixed, _ = workload_of(parse("method={name: attnrl, batch_decay: 1.0}", "train.problems_per_step=4"))
    assert fixed.at_most.problems == 4


def test_mini_batches_hold_whole_problems() -> None:
    work, _ = workload_of(parse("method={name: treerl}", "train.problems_per_step=10", "train.mini_batch=100"))
    # 300 completions make 3 optimiser steps, so 4 problems at most in each
    assert work.learned_together == 4


def test_all_weights_are_planned_in_float32() -> None:
    config = parse("train.weights=all", "validation.every=5")
    work, _ = workload_of(config)
    assert (work.all_weights, work.validates, work.static) == (True, True, False)
    assert work.layers == tuple(range(work.shape.num_layers))
    with pytest.raises(ConfigError, match="would lose most updates to rounding"):
        parse("train.weights=all", "model.dtype=bfloat16")
    found, _ = workload_of(settled(parse("train.weights=all", "train.memory=37.5MB")))
    assert predict(found).total <= 37_500_000 < predict(replace(found, micro_batch_tokens=1024)).total
    with pytest.raises(ConfigError, match=r"train.weights: adapter, or raise train.memory"):
        settled(parse("train.weights=all", "train.memory=10MB"))
