"""`reward:` in configurations: every grader, its options, and what is refused."""

from pathlib import Path

import pytest
import yaml

from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.reward import OPTIONS, RewardBlock, reward_of
from creditree.errors import ConfigError
from creditree.limits import Limits
from creditree.setup.grading import build_verifier
from creditree.verify.choice import Choice
from creditree.verify.exact import ExactText
from creditree.verify.last_integer import LastInteger
from creditree.verify.mathematics import Mathematics
from creditree.verify.numeric import Numeric
from creditree.verify.program import Program

ROOT = Path(__file__).resolve().parents[3]


def reward(text: str, *overrides: str) -> RewardBlock:
    return parse_config(f"task: multiplication\nreward: {text}", "run.yaml", overrides).reward


def test_each_name_is_its_grader() -> None:
    kinds = {"last_integer": LastInteger, "exact": ExactText, "numeric": Numeric, "choice": Choice, "math": Mathematics}
    assert {name: type(build_verifier(name)) for name in kinds} == kinds
    assert set(OPTIONS) == {*kinds, "program"}


def test_options_reach_the_grader() -> None:
    assert build_verifier(reward("{name: numeric, tolerance: 1.0e-6}")) == Numeric(1e-6)
    assert build_verifier(reward("{name: exact, ignore_case: true}")) == ExactText(ignore_case=True)
    verifier = build_verifier(
        reward("{name: math, math_verify: false, deadline: 2, workers: 3, memory: 2GiB}"),
    )
    assert isinstance(verifier, Mathematics)
    assert not verifier.math_verify
    assert verifier.pool.limits == Limits(2.0, 2 << 30, 3)
    program = build_verifier(reward("{name: program, allow_execution: true, contain: false, deadline: 3}"))
    assert program == Program(True, 3.0, 1 << 29, 2, contain=False)
    assert Program(True).contain


def test_overrides_of_options() -> None:
    assert reward("numeric", "reward.tolerance=0.5") == reward("{name: numeric, tolerance: 0.5}")
    assert reward("last_integer", "reward=math").name == "math"


@pytest.mark.parametrize("text", ["numeric", "{name: numeric, tolerance: 0.001}", "/home/me/rewards.py:score"])
def test_what_is_written_is_read_back(text: str) -> None:
    config = parse_config(f"task: multiplication\nreward: {text}", "run.yaml")
    written = yaml.safe_load(dump_config(config))["reward"]
    assert written == yaml.safe_load(text)
    assert reward(yaml.safe_dump(written, default_flow_style=True)) == config.reward


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mth", ["reward.name is 'mth'", "did you mean 'math'"]),
        ("{name: numeric, tolerace: 1}", ["unknown key 'reward.tolerace'", "'tolerance'"]),
        ("{name: exact, tolerance: 1}", ["tolerance is no option of exact", "ignore_case"]),
        ("{name: choice, deadline: 1}", ["deadline is no option of choice", "no options"]),
        ("{name: 'a.py:f', workers: 1}", ["workers is no option of a function", "deadline, memory"]),
        ("{name: numeric, tolerance: -1}", ["reward.tolerance is -1"]),
        ("{name: math, memory: 1MB}", ["256 MiB"]),
        ("{name: math, memory: lots}", ["reward.memory is 'lots'"]),
        ("{name: math, workers: 0}", ["reward.workers is 0"]),
        ("program", ["allow_execution: true"]),
        ("3", ["reward is 3", "string"]),
    ],
)
def test_what_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        reward(text)
    for word in ["run.yaml: ", *words]:
        assert word in str(error.value)


def test_a_block_from_the_command_line_is_refused_alike() -> None:
    for values, words in (
        ({"name": "mth"}, "reward is 'mth': set the name of a grader (did you mean 'math'?)"),
        ({"name": "numeric", "tolerace": 1}, "unknown key 'reward.tolerace'. Did you mean 'tolerance'?"),
        ({"name": "numeric", "tolerance": -1}, "reward.tolerance is -1"),
    ):
        with pytest.raises(ConfigError) as error:
            reward_of(values)
        assert words in str(error.value)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "attnrl").glob("qwen-*.yaml")), ids=lambda path: path.name)
def test_the_recipes_of_mathematics_use_its_grader(path: Path) -> None:
    assert parse_config(path.read_text(encoding="utf-8"), path.name).reward.name == "math"


def test_a_function_is_looked_for_beside_the_file_that_names_it_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, working = tmp_path / "beside", tmp_path / "working"
    for folder in (beside, working):
        folder.mkdir()
        (folder / "both.py").touch()
    (beside / "near.py").touch()
    (working / "far.py").touch()
    file = beside / "run.yaml"
    monkeypatch.chdir(working)
    for name, found in (("both", beside), ("near", beside), ("far", working), ("none", working)):
        file.write_text(
            f"task: multiplication\nreward: {name}.py:f\n"
            f"guard: {{path: g.csv, reward: {{name: '{name}.py:f', deadline: 3}}}}\n"
        )
        config = load_config(file)
        assert config.reward.name == f"{found / name}.py:f"
        assert config.guard.reward == RewardBlock(name=f"{found / name}.py:f", deadline=3)
        assert load_config(file, ["reward=both.py:f"]).reward.name == f"{working / 'both.py'}:f"
        # What a run keeps can be read from anywhere.
        assert f"reward: {found / name}.py:f" in dump_config(config)


def test_a_module_is_no_path() -> None:
    assert RewardBlock(name="graders.words:score").name == "graders.words:score"
