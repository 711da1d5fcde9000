from pathlib import Path

import pytest

from creditree.config.sweep import load_sweep
from creditree.errors import ConfigError

BASE = "base: {task: multiplication, train: {steps: 7}}\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_with_every_seed(tmp_path: Path) -> None:
    runs = load_sweep(write(tmp_path, BASE + "grid: {method.group: [4, 8], train.steps: [1, 2]}\nseeds: [0, 3]"))
    assert len(runs) == 8
    # All cases with one seed before any with the next.
    assert [run.seed for run in runs] == [0] * 4 + [3] * 4
    cases = ["group=4, steps=1", "group=4, steps=2", "group=8, steps=1", "group=8, steps=2"]
    assert [run.case for run in runs] == cases * 2
    assert [(run.config.method.group, run.config.train.steps) for run in runs[:4]] == [(4, 1), (4, 2), (8, 1), (8, 2)]
    assert [run.config.seed for run in runs] == [0] * 4 + [3] * 4
    assert str(runs[0].folder) == "group=4_steps=1/seed-0"
    assert len({run.folder for run in runs}) == 8


def test_cases_have_names_and_combine_with_a_grid(tmp_path: Path) -> None:
    text = "cases: {plain: , 'long / one': {train.steps: 50, method: grpo}}\n"
    runs = load_sweep(write(tmp_path, BASE + text))
    assert [run.case for run in runs] == ["plain", "long / one"]
    assert [run.config.train.steps for run in runs] == [7, 50]
    assert runs[1].config.method.name == "grpo"
    assert runs[1].folder.parts[0].startswith("long_one-")
    both = load_sweep(write(tmp_path, BASE + text + "grid: {method.group: [4, 8]}"))
    assert [run.case for run in both] == [
        "plain, group=4", "plain, group=8", "long / one, group=4", "long / one, group=8",
    ]  # fmt: skip


def test_keys_of_a_grid_that_end_alike_are_told_apart(tmp_path: Path) -> None:
    runs = load_sweep(write(tmp_path, BASE + "grid: {validation.problems: [4], evaluation.problems: [8]}"))
    assert runs[0].case == "validation.problems=4, evaluation.problems=8"
    (run,) = load_sweep(write(tmp_path, BASE + "grid: {method.name: [grpo]}"))
    assert run.case == "method.name=grpo"


def test_the_base_can_be_a_file_and_overrides_change_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("task: multiplication")
    path = write(tmp_path, "base: base.yaml\ncases: {a: {train.steps: 3}, b: }")
    runs = load_sweep(path, ["train.steps=9", "seed=5"])
    # The case's own key wins, and so do the seeds of the sweep.
    assert [(run.config.train.steps, run.config.seed) for run in runs] == [(3, 0), (9, 0)]


def test_reward_functions_of_cases_are_looked_for_beside_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "judge.py").touch()
    runs = load_sweep(write(tmp_path, BASE + "cases: {a: {reward: 'judge.py:f'}, b: {reward.name: 'judge.py:g'}}"))
    assert [run.config.reward.name for run in runs] == [f"{tmp_path}/judge.py:f", f"{tmp_path}/judge.py:g"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bases: x", ["unknown key 'bases'", "Did you mean 'base'?"]),
        ("grid: {train.steps: [1]}", ["base is None", "or the path of one"]),
        ("base: nowhere.yaml\ncases: {a: }", ["the sweep's base 'nowhere.yaml' does not exist"]),
        (BASE, ["neither grid nor cases"]),
        (BASE + "grid: {train.steps: 5}", ["grid's train.steps is 5", "write a list"]),
        (BASE + "grid: [1]", ["grid maps dotted keys to lists"]),
        (BASE + "cases: [a]", ["cases maps names"]),
        (BASE + "cases: {a: 5}", ["case 'a' is 5"]),
        (BASE + "cases: {a: {train.step: 5}}", ["case 'a'", "unknown key 'train.step'", "Did you mean 'steps'"]),
        (BASE + "cases: {a: {train..steps: 5}}", ["case 'a'", "empty part"]),
        (BASE + "cases: {a: {train.steps: 5}}\ngrid: {train.steps: [1]}", ["case 'a' and grid both set train.steps"]),
        (BASE + "cases: {a: }\nseeds: 3", ["seeds is 3", "[0, 1, 2]"]),
        (BASE + "cases: {a: }\nseeds: [1, 1]", ["seeds has a number twice"]),
        (BASE + "cases: {a: }\nseeds: [-1]", ["seeds is [-1]"]),
        (BASE + "grid: {train.steps: [1, 1]}", ["'steps=1' is there twice"]),
        (BASE + "grid: {train.steps: [0]}", ["case 'steps=0'", "train.steps is 0"]),
    ],
)
def test_mistakes_are_one_sentence_before_anything_runs(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_sweep(write(tmp_path, text))
    for word in words:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)
