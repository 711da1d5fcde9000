"""The examples of own pieces and rewards do what they say, and are planned by what they say of themselves."""

from pathlib import Path

import pytest

import creditree as ct
from creditree.config.method import MethodConfig
from creditree.methods import Method
from creditree.problem import Problem
from creditree.setup.grading import build_verifier
from creditree.tasks import function_task
from creditree.verify.verifier import Answer, closing
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
