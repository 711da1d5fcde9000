"""`reward:` as a list: weights, options, names, overrides, and what is refused."""

from pathlib import Path

import pytest
import yaml

from creditree.config.keywords import as_overrides
from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.reward import RewardBlock, singles_named
from creditree.errors import ConfigError
from creditree.rewards import Combined
from creditree.rewards.format import Format
from creditree.rewards.overlong import Overlong
from creditree.setup.grading import build_verifier, code_digest, grading
from creditree.verify.last_integer import LastInteger
from creditree.verify.numeric import Numeric

LIST = "[last_integer, {name: numeric, weight: 0.5, tolerance: 0.1}, {name: overlong, weight: 2, cache: 0.5}]"


def reward(text: str, *overrides: str) -> RewardBlock:
    return parse_config(f"task: multiplication\nreward: {text}", "run.yaml", overrides).reward


def test_each_is_built_with_its_weight_and_options() -> None:
    verifier = build_verifier(reward(LIST))
    assert isinstance(verifier, Combined)
    assert [(one.name, one.weight) for one in verifier.of] == [("last_integer", 1), ("numeric", 0.5), ("overlong", 2)]
    assert [one.judge for one in verifier.of] == [LastInteger(), Numeric(0.1), Overlong(cache=0.5)]
    assert verifier.combine == "sum"


def test_what_is_written_is_read_back_with_the_numbers_of_ready_rewards() -> None:
    text = "{combine: normalise_then_sum, rewards: [last_integer, {name: repetition, weight: -1}]}"
    config = parse_config(f"task: multiplication\nreward: {text}", "run.yaml")
    written = yaml.safe_load(dump_config(config))["reward"]
    repetition = {"name": "repetition", "weight": -1.0, "ngram": 40, "penalty": 1.0}
    assert written == {"rewards": ["last_integer", repetition], "combine": "normalise_then_sum"}
    assert RewardBlock.model_validate(config.reward.model_dump(mode="json")).written == config.reward.written
    again = parse_config(dump_config(config), "run.yaml")
    assert dump_config(again) == dump_config(config)
    assert reward("{rewards: [math], combine: sum}").written == ["math"]


def test_two_of_one_name_are_told_apart() -> None:
    assert singles_named(reward("[math, format, {name: format, pattern: x}, a.py:format]")) == (
        "math",
        "format",
        "format_2",
        "format_3",
    )
    assert singles_named(reward("math")) == ()


def test_overrides_of_items_and_of_the_whole() -> None:
    assert reward(LIST, "reward.1.weight=3", "reward.2.cache=0.25").written == [
        "last_integer",
        {"name": "numeric", "weight": 3.0, "tolerance": 0.1},
        {"name": "overlong", "weight": 2.0, "cache": 0.25},
    ]
    normalised = reward("[math, format]", "reward.combine=normalise_then_sum", "reward.rewards.1.weight=2")
    assert (normalised.combine, normalised.rewards and normalised.rewards[1].weight) == ("normalise_then_sum", 2)
    assert reward("math", "reward=[numeric, format]").rewards is not None
    assert (
        reward("math", "reward.rewards=[numeric, format]", "reward.combine=sum").written
        == reward("[numeric, format]").written
    )
    assert reward(LIST, "reward=math") == RewardBlock(name="math")
    keywords = as_overrides({"reward": ["math", {"name": "format", "weight": 0.5}]})
    assert reward("numeric", *keywords) == reward("[math, {name: format, weight: 0.5}]")


def test_where_only_a_text_can_be_given_the_list_is_read_from_it() -> None:
    assert RewardBlock.model_validate("[math, {name: format, weight: 0.5}]") == reward(
        "[math, {name: format, weight: 0.5}]"
    )
    with pytest.raises(ConfigError, match="it is not valid YAML"):
        build_verifier("[math, {")


def test_a_function_is_named_by_its_file() -> None:
    (override,) = as_overrides({"reward": ["math", {"name": parse_config, "weight": 2}]})
    assert override.endswith('load.py:parse_config", "weight": 2}]')
    (override,) = as_overrides({"reward": lambda completions: [0.0]})
    assert override.startswith('reward="here:lambda')  # which runs in a copy of this program


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "reward is []: the list is empty"),
        ("[format, math]", "the first of several rewards says whether a completion is correct, which 'format' cannot"),
        ("format", "reward.name is 'format': it is no judge of the task; write a list, such as [last_integer, format]"),
        ("[math, formt]", "rewards.1 is 'formt', which is no reward (did you mean 'format'?), or a function"),
        ("[math, {name: format, patern: x}]", "patern is no number of format (did you mean 'pattern'?)"),
        ("[math, {name: overlong, cache: 2}]", "reward.overlong.cache is 2.0: set a number above 0 and at most 1"),
        ("[math, {name: repetition, ngram: 1.5}]", "reward.repetition.ngram is 1.5"),
        ("[math, {name: format, weight: true}]", "reward.rewards.1.weight is True"),
        ("[math, {name: format, weight: .nan}]", "reward.rewards.1.weight is nan"),
        ("[math, {name: numeric, tolerance: -1}]", "rewards.1.tolerance is -1"),
        ("[math, {weight: 1}]", "each reward is a name, or a block with the keys name and weight"),
        ("[math, 3]", "reward.rewards.1 is 3"),
        ("{rewards: [math], combine: mean}", "reward.combine is 'mean'"),
        ("{name: math, combine: sum}", "combine is for several rewards"),
        ("{rewards: [math], deadline: 3}", "deadline stands beside a list of rewards"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        reward(text)
    assert words in str(error.value)
    assert str(error.value).startswith("run.yaml: ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("reward.3.weight=1", "'3' is no item of a list of 3; they are counted from 0 to 2."),
        ("reward.1.weight.x=1", "'weight' holds a value, not further keys."),
    ],
)
def test_an_override_of_no_item_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        reward(LIST, override)
    assert words in str(error.value)


def test_functions_lie_beside_the_file_that_names_them_and_are_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("def f(completions): return [0.0]\n")
    file = tmp_path / "run.yaml"
    file.write_text("task: multiplication\nreward: [math, near.py:f, {name: 'near.py:g', weight: 2}]\n")
    config = load_config(file)
    assert config.reward.rewards is not None
    assert [one.name for one in config.reward.rewards] == [
        "math",
        f"{tmp_path / 'near.py'}:f",
        f"{tmp_path / 'near.py'}:g",
    ]
    before = code_digest(config.reward)
    (tmp_path / "near.py").write_text("def f(completions): return [1.0]\n")
    assert None not in (before, code_digest(config.reward))
    assert before != code_digest(config.reward)
    assert code_digest(reward("[math, format]")) is None


def test_what_decides_is_said_without_running_anything() -> None:
    rules = grading(reward("[numeric, {name: format, weight: 0.2}, {name: no.such.module:f, weight: -1}]"))
    assert rules["grader"] == "numeric + 0.2 format + -1 f"
    assert rules["f.deadline_s"] == 60


def test_the_default_numbers_are_those_of_the_class() -> None:
    verifier = build_verifier(reward("[math, format]"))
    assert isinstance(verifier, Combined)
    assert verifier.of[1].judge == Format()
