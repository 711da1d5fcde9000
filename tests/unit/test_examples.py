"""The examples of own pieces do what they say, and are planned by what they say of themselves."""

from pathlib import Path

import creditree as ct
from creditree.config.method import MethodConfig
from creditree.methods import Method
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
