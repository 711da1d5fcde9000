"""The rules by which completions are judged, as they are shown and recorded."""

import json

import pytest

from creditree.cli.describe import methods_command, show_command
from creditree.config.reward import OPTIONS, RewardBlock, reward_of
from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.setup.grading import build_verifier, grading
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer


@pytest.mark.parametrize("name", OPTIONS)
def test_every_grader_says_its_name_and_all_its_options(name: str) -> None:
    needed = {"allow_execution": True, "contain": False} if name == "program" else {}
    rules = grading(reward_of({"name": name, **needed}))
    assert rules["grader"] == name
    shown = {"deadline": "deadline_s", "memory": "memory_bytes"}
    assert {shown.get(option, option) for option in OPTIONS[name]} <= rules.keys()
    assert json.loads(json.dumps(rules)) == rules


def test_what_is_set_is_shown() -> None:
    assert grading(reward_of({"name": "exact", "ignore_case": True}))["ignore_case"] is True
    assert grading(reward_of({"name": "numeric", "tolerance": 0.01}))["tolerance"] == 0.01
    rules = grading(reward_of({"name": "math", "deadline": 2, "memory": "2GiB", "math_verify": False}))
    assert (rules["deadline_s"], rules["memory_bytes"], rules["math_verify"]) == (2.0, 2 << 30, False)


@pytest.mark.parametrize("name", ["numeric", "math"])
@pytest.mark.parametrize(
    ("rule", "completion", "reference", "right"),
    [
        ("units", "5 m", "5", True),
        ("units", "5", "5 cm", True),
        ("units", "500 cm", "5 m", True),
        ("units", "5 cm", "5 m", False),
        ("percent", "5 %", "5", True),
        ("percent", "5 %", "0.05", True),
        ("percent", "5 %", "500", False),
        ("decimal_comma", "54,50", "54.50", True),
        ("decimal_comma", "1,234", "1234", True),
        ("decimal_comma", "1,234", "1.234", False),
    ],
)
def test_the_rules_of_numbers_are_what_is_done(
    name: str, rule: str, completion: str, reference: str, right: bool
) -> None:
    verifier = build_verifier(name)
    (verdict,) = verifier.judge([Answer(Problem("p", "?", (reference,)), "", completion)])
    assert verdict.reward == float(right)
    assert completion.split(" ")[0] in str(verifier.rules()[rule])


def test_a_function_is_not_run_to_be_shown() -> None:
    rules = grading(RewardBlock(name="nowhere.py:score", deadline=7))
    assert str(rules["grader"]).endswith("nowhere.py:score")
    assert rules["deadline_s"] == 7.0
    assert RewardFunction(len).rules()["grader"] == "len"


def test_a_verifier_says_the_same_as_its_configuration() -> None:
    for name in ("exact", "math", "choice"):
        assert build_verifier(name).rules() == grading(reward_of({"name": name}))


def test_a_grader_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_command("numeric", as_json=False)
    out = capsys.readouterr().out
    assert "grading: numeric" in out
    assert "tolerance: 0.0" in out
    assert "reward.tolerance: numeric: largest relative difference" in out
    show_command("math", as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["grading"] == grading(reward_of({"name": "math"}))
    assert set(record["options"]) == set(OPTIONS["math"])
    with pytest.raises(ConfigError, match="no method, no grader and no configuration file"):
        show_command("numerik", as_json=False)


def test_a_ready_reward_can_be_shown_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    show_command("overlong", as_json=False)
    out = capsys.readouterr().out
    assert out.startswith("reward: overlong(cache=0.2)\n")
    assert "-1 for l > L" in out
    show_command("overlong", as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["numbers"]["cache"]["range"] == "a number above 0 and at most 1"
    methods_command(as_json=True)
    assert record in json.loads(capsys.readouterr().out)["pieces"]["reward"]
