"""The examples of own pieces and rewards do what they say, and are planned by what they say of themselves."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import creditree as ct
from creditree.config.method import MethodConfig
from creditree.methods import Method
from creditree.problem import Problem
from creditree.setup.grading import build_verifier
from creditree.tasks import function_task
from creditree.verify.verifier import Answer, closing
from examples import pilot as pilot_example
from tests.forests import driven, flat, rambler

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = ct.Key.of(3)


def _method(**block: object) -> Method:
    return MethodConfig.model_validate({"name": "grpo", **block}).build()


def test_only_the_last_tokens_learn() -> None:
    method = _method(select=f"{EXAMPLES / 'own_selection.py'}:LastTokens", last=2)
    assert method.label == "grpo + select=LastTokens"
    forest = (flat([[2, 3, 4, 1], [1]], [1.0, 0.0]),)
    (weights,) = method.select.weigh(forest, (method.credit.assign(forest[0]),), KEY)
    # G = 2, lengths 4 and 1: 1 / 8 for the last two of the first, 1 / 2 for the only one of the second
    assert [None if values is None else values.tolist() for values in weights] == [[0, 0, 1 / 8, 1 / 8], [1 / 2]]


def test_a_second_look_is_taken_where_the_first_completions_differ() -> None:
    method = _method(explore=f"{EXAMPLES / 'own_explorer.py'}:SecondLook", group=4, more=3)
    assert method.explore.demand(9).group == method.explore.max_completions == 7
    (tree,), _ = driven(method.explore, rambler)
    differ = len(set(tree.rewards(tree.rewarded[:4]).tolist())) > 1
    assert len(tree.branches) == (7 if differ else 4)
    assert differ


def test_ranks_make_no_difference_of_how_far_rewards_are_apart() -> None:
    method = _method(credit=f"{EXAMPLES / 'own_credit.py'}:Ranked", middle=0.25)
    assert method.label == "grpo + credit=Ranked"
    tree = flat([[2, 1], [3, 1], [4, 1], [1]], [0.0, 900.0, 1.0, 1.0])
    # ranks 1, 4, 2.5, 2.5 of 4: (rank - 1) / 3 is 0, 1, .5, .5, less .25
    assert [values[0] for values in method.credit.assign(tree) if values is not None] == [-0.25, 0.75, 0.25, 0.25]
    assert [values[0] for values in method.credit.assign(flat([[2, 1], [1]], [1.0, 1.0])) if values is not None] == [
        0,
        0,
    ]


def test_a_pilot_is_asked_for_and_its_decision_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    @dataclass
    class Found:
        decision: str = "use"
        recommendation: str = "Use the adapter."

    def pilot(problems: Path, model: str, out: Path, budget: str) -> Found:
        asked.append((len(problems.read_text(encoding="utf-8").splitlines()), model, out, budget))
        return Found()

    monkeypatch.setattr(pilot_example, "ct", SimpleNamespace(pilot=pilot, Key=ct.Key))
    assert pilot_example.main(None, "builtin:word_problems", "9s", tmp_path / "pilots" / "one")
    assert asked == [(401, "builtin:word_problems", tmp_path / "pilots" / "one", "9s")]
    assert "decision: use\nUse the adapter." in capsys.readouterr().out


@pytest.mark.thorough
def test_the_pilot_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "pilot.py"), "--budget", "30s", "--out", str(tmp_path / "one")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert "decision: " in done.stdout, done.stderr


def test_a_short_right_answer_is_worth_more_than_a_long_one() -> None:
    problem = Problem("a", "3*4=", ("12",))
    texts = ["it is 12", "12 is less than " + "13" * 20, "x" * 60 + " 12"]
    with closing(build_verifier(f"{EXAMPLES / 'own_reward.py'}:brief_and_right")) as verifier:
        verdicts = verifier.judge([Answer(problem, "3*4=", text) for text in texts])
    # 8 of 40 characters: 1 + .1 (1 - 8 / 40) = 1.08; the second ends with another number; the third has over 40
    assert [verdict.reward for verdict in verdicts] == pytest.approx([1.08, 0.0, 1.0])


def test_a_task_of_ones_own_has_problems_in_every_split() -> None:
    sums = function_task(f"{EXAMPLES / 'own_task.py'}:sums")
    assert all(len(part) > 100 for part in sums.slices.values())
    problem = sums.held_out("test", 1)[0]
    first, _, second = problem.question.removesuffix("=").partition("+")
    assert problem.answers == (str(int(first) + int(second)),)
    chains = function_task(f"{EXAMPLES / 'own_task.py'}:chains")
    assert {one.columns["steps"] for one in chains.slices["training"]} == {2, 3, 4}
