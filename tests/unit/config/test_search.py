from pathlib import Path

import pytest

from creditree.config.search import is_search, load_search
from creditree.errors import ConfigError

SEARCH = """
base: {task: multiplication, method: {name: grpo}, train: {steps: 7, cpu_seconds: 5}, evaluation: {split: validation}}
space: {train.learning_rate: {low: 0.001, high: 0.01, scale: log}, method.kl: [0.0, 0.01]}
compositions:
  grpo: {method.group: [4, 8]}
  t-spmo: {method.name: t-spmo, method.kl: null}
baseline: grpo
"""
BUDGET = "budget: {tokens: 90000}\nsettings: 4\nrungs: 2\neta: 2\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "search.yaml"
    path.write_text(text)
    return path


def test_every_composition_has_the_same_number_of_settings(tmp_path: Path) -> None:
    found = load_search(write(tmp_path, SEARCH + BUDGET), ["train.problems_per_step=3"])
    assert [trial.name for trial in found.trials] == [f"{name}-{n}" for name in ("grpo", "t-spmo") for n in range(1, 5)]
    grpo, t_spmo = found.trials[:4], found.trials[4:]
    assert [one.keys["train.learning_rate"] for one in grpo] == [one.keys["train.learning_rate"] for one in t_spmo]
    assert {one.config.method.group for one in grpo} == {4, 8}
    assert {one.config.method.kl for one in t_spmo} == {None}
    assert t_spmo[0].setting == f"learning_rate={t_spmo[0].keys['train.learning_rate']}"
    assert str(found.trial("t-spmo-2").folder) == "trials/t-spmo-2"
    assert found.compositions == ["grpo", "t-spmo"]
    for config in (one.config for one in found.trials):
        assert (config.train.steps, config.train.cpu_seconds, config.train.tokens) == (1_000_000, None, 4284)
        assert (config.seed, config.evaluation.split, config.train.problems_per_step) == (0, "test", 3)


def test_rungs_share_the_budget_with_the_confirmation(tmp_path: Path) -> None:
    """8 trials with r tokens, 4 with r more, and 3 runs of 2 r for each of 5 seeds: 8 + 4 + 30 = 42 times r."""
    found = load_search(write(tmp_path, SEARCH + BUDGET))
    assert [(rung.tokens, rung.slots) for rung in found.rungs] == [(2142, 8), (4284, 4)]
    assert found.seeds == (1, 2, 3, 4, 5)
    alone = load_search(write(tmp_path, SEARCH + BUDGET + "confirm: {seeds: 0}\n"))
    assert [rung.tokens for rung in alone.rungs] == [7500, 15000]
    assert alone.seeds == ()
    first = SEARCH + "budget: {first_rung: 100}\nrungs: 4\nsettings: 2\nseed: 9\n"
    steep = load_search(write(tmp_path, first))
    assert [(rung.tokens, rung.slots) for rung in steep.rungs] == [(100, 4), (300, 2), (900, 2), (2700, 2)]
    assert steep.seeds == (10, 11, 12, 13, 14)


def test_what_its_results_depend_on_leaves_out_how_long_one_waits(tmp_path: Path) -> None:
    found = [load_search(write(tmp_path, SEARCH + f"budget: {{tokens: 90000, seconds: {s}}}")) for s in (5, 50)]
    assert [one.seconds for one in found] == [5.0, 50.0]
    assert found[0].values == found[1].values
    assert load_search(write(tmp_path, SEARCH + BUDGET)).values != found[0].values


def test_a_search_is_told_from_a_grid(tmp_path: Path) -> None:
    assert is_search(write(tmp_path, SEARCH))
    assert not is_search(write(tmp_path, "base: {task: multiplication}\ngrid: {method.group: [4]}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SEARCH + BUDGET + "etta: 2", "unknown key 'etta'. Did you mean 'eta'?"),
        (SEARCH, "budget is"),
        (SEARCH + "budget: {}", "set either budget.tokens or first_rung"),
        (SEARCH + "budget: {tokens: 5, first_rung: 5}", "set either budget.tokens or first_rung"),
        (SEARCH + "budget: {tokens: 5}", "budget.tokens is 5, too few for 12 trials; raise it"),
        (SEARCH + BUDGET.replace("eta: 2", "eta: 1"), "eta is 1: "),
        (SEARCH + BUDGET + "confirm: {seeds: 1}", "confirm.seeds is 1, and one seed confirms nothing"),
        (SEARCH.replace("baseline: grpo", "baseline: gppo") + BUDGET, "baseline is 'gppo', which is no composition"),
        (SEARCH.replace("method.kl: null", "seed: 3") + BUDGET, "composition 't-spmo': seed: a search sets it itself"),
        (SEARCH.replace("kl: null", "clip_low: 0.1") + BUDGET, "setting 1 of 't-spmo': method.clip_low has no effect"),
        (SEARCH.replace("train: {", "validation: {every: 2}, train: {") + BUDGET, "validation.every is 2, but rungs"),
        (SEARCH.replace("grpo: {method.group: [4, 8]}\n", "") + BUDGET, "baseline is 'grpo', which is no composition"),
        ("base: {task: multiplication}\ncompositions: {}\n" + BUDGET, "compositions is empty"),
        ("base: {task: multiplication}\ncompositions: {a: }\nbaseline: a\n" + BUDGET, "nothing is compared"),
        (SEARCH + BUDGET.replace("settings: 4", "settings: 4000"), "more than 1,000 trials"),
    ],
)
def test_mistakes_are_sentences(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as found:
        load_search(write(tmp_path, text))
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_limits_cannot_be_overridden(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a search sets train.steps itself"):
        load_search(write(tmp_path, SEARCH + BUDGET), ["train.steps=5"])
