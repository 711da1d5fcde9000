"""Code that a saved configuration names runs only where the command line asks for it."""

from pathlib import Path
from typing import Any

import pytest

from creditree.config.overrides import apply_overrides
from creditree.config.trust import check_trust, reward_override, without_pieces
from creditree.errors import ConfigError

PROGRAM = {"name": "program", "allow_execution": True}


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("judge.py:score", "the function score in judge.py"),
        ({"name": "judge.py:score", "deadline": 5}, "the function score in judge.py"),
        ("os:system", "the function system in "),
        ("shutil:rmtree", "shutil.py"),
        ("no.such.module:f", "the function f in no.such.module"),
        (PROGRAM, "'program', which runs what the model writes"),
        ({"name": "program", "allow_execution": True, "contain": False}, "'program'"),
        (["math", "format", {"name": "judge.py:score", "weight": 0.5}], "the function score in judge.py"),
        ({"rewards": ["math", PROGRAM], "combine": "normalise_then_sum"}, "'program'"),
    ],
)
@pytest.mark.parametrize("key", ["reward", "guard.reward"])
def test_code_is_refused_and_named(reward: object, words: str, key: str) -> None:
    values: dict[str, Any] = {"reward": reward} if key == "reward" else {"reward": "math", "guard": {"reward": reward}}
    with pytest.raises(ConfigError) as raised:
        check_trust(values, "run 'x'", trusted=False, cure=", or look first")
    assert str(raised.value).startswith(f"run 'x' names code that would run on this machine: {key} is ")
    assert words in str(raised.value)
    assert str(raised.value).endswith("add `trust` if you trust whoever wrote it, or look first.")
    check_trust(values, "run 'x'", trusted=True)


def test_the_path_that_would_run_is_shown_whole(tmp_path: Path) -> None:
    file = tmp_path / "judge.py"
    file.touch()
    with pytest.raises(ConfigError, match=f"the function score in {file};"):
        check_trust({"reward": f"{file}:score"}, "run 'x'", trusted=False)


@pytest.mark.parametrize(
    "reward", ["math", {"name": "numeric", "tolerance": 1e-6}, None, 3, ["math", {"name": "format"}]]
)
def test_our_graders_and_what_is_no_reward_run_nothing(reward: object) -> None:
    check_trust({"reward": reward, "guard": reward}, "run 'x'", trusted=False)


@pytest.mark.parametrize(
    ("override", "asked"),
    [
        ("reward=math", True),
        ("reward.name=mine.py:f", True),
        ("reward.allow_execution=true", True),
        ("reward.deadline=3", False),
        ("rewards=math", False),
        ("guard.reward=math", False),
    ],
)
def test_whoever_names_a_judge_has_asked(override: str, asked: bool) -> None:
    if asked:
        check_trust({"reward": PROGRAM}, "run 'x'", [override], trusted=False)
    else:
        with pytest.raises(ConfigError):
            check_trust({"reward": PROGRAM}, "run 'x'", [override], trusted=False)


@pytest.mark.parametrize("name", ["math", "judge.py:score", "a folder/judge é: 1.py:score", "'quoted'.py:f"])
def test_a_reward_on_the_command_line_is_an_override_as_it_is(name: str) -> None:
    assert apply_overrides({}, reward_override(name)) == {"reward": name}
    assert reward_override(None) == []


def test_a_saved_method_that_names_code_is_not_run_unasked() -> None:
    values: dict[str, Any] = {"task": "multiplication", "method": {"name": "grpo", "select": "/there/mine.py:Last"}}
    with pytest.raises(ConfigError, match=r"run 'r' names code .*: method.select is /there/mine.py:Last; add `trust`"):
        check_trust(values, "run 'r'", trusted=False)
    check_trust(values, "run 'r'", trusted=True)
    check_trust(values, "run 'r'", ["method.select=everything"], trusted=False)
    assert without_pieces(values) == {"task": "multiplication"}  # to measure it takes no method
    own: dict[str, Any] = values | {"method": {"name": "grpo", "select": "everything"}}
    check_trust(own, "run 'r'", trusted=False)
    assert without_pieces(own) == own


def test_what_would_start_a_server_is_a_program() -> None:
    values = {"engine": {"name": "vllm", "start": {"python": "/their/python"}}}
    with pytest.raises(ConfigError, match=r"engine\.start\.python is /their/python; add `trust`"):
        check_trust(values, "run 'x'", trusted=False)
    for override in ("engine=in_process", "engine.name=in_process", "engine.start.python=/my/python"):
        check_trust(values, "run 'x'", [override], trusted=False)
    check_trust(
        {"engine": {"name": "vllm", "start": {"memory": 0.3, "python": None, "options": []}}}, "x", trusted=False
    )


def test_a_saved_server_is_not_asked_and_a_saved_folder_not_written_into_unasked() -> None:
    values: dict[str, Any] = {"engine": {"name": "vllm", "url": "http://elsewhere.example"}}
    with pytest.raises(ConfigError, match=r"run 'r' names a server that would be asked: engine.url is http://elsew"):
        check_trust(values, "run 'r'", ["engine.connections=2"], trusted=False)
    check_trust(values, "run 'r'", trusted=True)
    for override in ("engine.url=http://127.0.0.1:1", "engine=in_process", "engine.name=in_process"):
        check_trust(values, "run 'r'", [override], trusted=False)
    values["engine"]["adapters"] = "/etc"
    with pytest.raises(ConfigError, match=r"a folder that would be written into: engine.adapters is /etc; add `trust`"):
        check_trust(values, "run 'r'", ["engine.url=http://127.0.0.1:1"], trusted=False)
    check_trust({"engine": "in_process"}, "run 'r'", trusted=False)
