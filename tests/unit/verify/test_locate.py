"""Finding a reward function by name, and each way in which it cannot be found."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.verify.locate import find_function, load_reward, reward_digest
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer, closing


@pytest.fixture
def rewards_file(tmp_path: Path) -> Path:
    file = tmp_path / "rewards.py"
    file.write_text(
        "NUMBER = 3\ndef length(completions, **columns):\n    return [float(len(text)) for text in completions]\n"
    )
    return file


def test_a_function_in_a_file(rewards_file: Path) -> None:
    with closing(load_reward(f"{rewards_file}:length")) as reward:
        assert reward.name == "length"
        assert reward.judge([Answer(Problem("a", "?", ()), "?", "four")])[0].reward == 4.0


def test_two_files_of_one_name_stay_apart(rewards_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "rewards.py"
    other.parent.mkdir()
    other.write_text("def length(completions, **columns):\n    return [0.0 for _ in completions]\n")
    answers = [Answer(Problem("a", "?", ()), "?", "four")]
    found = [RewardFunction(find_function(f"{file}:length")) for file in (rewards_file, other)]
    assert [reward.judge(answers)[0].reward for reward in found] == [4.0, 0.0]


def test_a_function_in_an_importable_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "graders_at_hand.py").write_text("def half(completions):\n    return [0.5 for _ in completions]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with closing(load_reward("graders_at_hand:half")) as reward:
        assert reward.judge([Answer(Problem("a", "?", ()), "?", "four")])[0].reward == 0.5


@pytest.mark.parametrize("location", ["os:system", "os:remove", "statistics:mean", "builtins:eval", "builtins:dict"])
def test_what_takes_no_completions_is_no_reward_function(location: str) -> None:
    with pytest.raises(ConfigError, match="is no reward function, since it does not take 'completions'"):
        find_function(location)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("length", "names no function"),
        (":length", "names no function"),
        ("rewards.py:", "names no function"),
        ("missing.py:length", "there is no file missing.py"),
        ("no_such_package.rewards:length", "there is no module 'no_such_package'"),
        ("statistics.no_such:mean", "there is no module 'statistics.no_such'"),
        ("statistics:maen", "Did you mean 'mean'?"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_sentence(location: str, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find_function(location)
    assert reason in str(raised.value)
    assert location in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("source", ["raise ValueError('broken')", "def f(:", "import no_such_thing_at_all"])
def test_a_file_that_cannot_be_imported_says_why(tmp_path: Path, source: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(source)
    with pytest.raises(
        ConfigError, match=r"cannot be imported: it raises (ValueError|SyntaxError|ModuleNotFoundError)"
    ):
        find_function(f"{file}:f")


def test_the_digest_is_that_of_the_file_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "graders_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    file = package / "words.py"
    file.write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = reward_digest(f"{file}:score")
    assert first == sha256(file.read_bytes()).hexdigest()
    assert reward_digest("graders_of_mine.words:score") == first
    assert "graders_of_mine" not in sys.modules
    file.write_text("raise RuntimeError('another')\n")
    assert reward_digest("graders_of_mine.words:score") == reward_digest(f"{file}:score") != first


@pytest.mark.parametrize("location", ["no_such_package.rewards:f", "missing.py:f", "statistics.none:f"])
def test_what_has_no_file_has_no_digest(location: str) -> None:
    assert reward_digest(location) is None
