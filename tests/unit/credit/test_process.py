"""Process value against the golden vectors of AttnRL's tree, and against arithmetic by hand."""

from math import sqrt

import numpy as np
import pytest

from creditree.credit import process_value
from creditree.credit.base import Credit
from creditree.credit.process import ProcessValue
from creditree.errors import ConfigError
from creditree.fields import TokenField
from creditree.tree import RolloutTree
from tests.forests import assigned, branch, flat, root


def one_chain_split_twice() -> RolloutTree:
    """Chain 0 (10 tokens, R 1) split at 4 (R 1, 0) and at 7 (R 0, 1); chain 1 (6 tokens, R 0). V(root) = 3/6."""
    return root().grown(
        branch([2] * 9 + [1], 1.0),
        branch([3] * 5 + [1], 0.0),
        branch([4, 1], 1.0, 0, 4),
        branch([5, 1], 0.0, 0, 4),
        branch([4, 1], 0.0, 0, 7),
        branch([5, 1], 1.0, 0, 7),
    )


def two_chains_split() -> RolloutTree:
    """Chain 0 (R 1), four times split at 4 (R 1 0 0 1); chain 1 (R 0) at 2 (R 0 1) and 5 (R 0 0). V(root) = 4/10."""
    return root().grown(
        branch([2] * 9 + [1], 1.0),
        branch([3] * 5 + [1], 0.0),
        *(branch([4 + i, 1], r, 0, 4) for i, r in enumerate([1.0, 0.0, 0.0, 1.0])),
        *(branch([4 + i, 1], r, 1, 2) for i, r in enumerate([0.0, 1.0])),
        *(branch([4 + i, 1], r, 1, 5) for i, r in enumerate([0.0, 0.0])),
    )


def segments(field: TokenField, leaf: int, *stops: int) -> list[float]:
    """Return the advantage of each segment of a branch, which must be constant in it."""
    values = assigned(field[leaf])
    pieces = np.split(values, stops)
    assert all(len(set(piece.tolist())) == 1 for piece in pieces)
    return [float(piece[0]) for piece in pieces]


def test_golden_one_chain_split_twice() -> None:
    # [0,4): V 3/5, (.1 + .1)/sqrt 5. [4,7): V 2/3, (1/6 + 1/15)/sqrt 3. [7,10): V 1, .5 + 1/3.
    field = process_value(one_chain_split_twice())
    assert segments(field, 0, 4, 7) == pytest.approx([0.2 / sqrt(5), (7 / 30) / sqrt(3), 5 / 6], abs=1e-12)
    assert segments(field, 0, 4, 7) == pytest.approx([0.089443, 0.134715, 0.833333], abs=1e-6)
    # At 4: .5 + .4, -.5 - .6. At 7: -.5 - 2/3, .5 + 1/3.
    assert [segments(field, leaf)[0] for leaf in (2, 3, 4, 5)] == pytest.approx([0.9, -1.1, -7 / 6, 5 / 6], abs=1e-12)
    assert field[1] is None


def test_golden_two_chains() -> None:
    field = process_value(two_chains_split())
    assert segments(field, 0, 4) == pytest.approx([0.178885, 1.0], abs=1e-6)
    assert [segments(field, leaf)[0] for leaf in (2, 3, 4, 5)] == pytest.approx([1.0, -1.0, -1.0, 1.0], abs=1e-12)
    assert segments(field, 1, 2, 5) == pytest.approx([-0.178885, -0.346410, -0.4], abs=1e-6)
    assert [segments(field, leaf)[0] for leaf in (6, 7, 8, 9)] == pytest.approx([-0.6, 1.4, -0.4, -0.4], abs=1e-12)


def test_values_over_children_are_means_of_means() -> None:
    # V[7,10) 1; V[4,7) of 1, 0, 1: 2/3; V[0,4) of 2/3, 1, 0: 5/9; V(root) of 5/9 and chain 1's 0: 5/18.
    field = process_value(one_chain_split_twice(), value="children", unexpanded="keep")
    # GA + LA: 2 (5/9 - 5/18); (2/3 - 5/18) + (2/3 - 5/9); (1 - 5/18) + (1 - 2/3)
    expected = [(5 / 9) / sqrt(5), (7 / 18 + 1 / 9) / sqrt(3), 13 / 18 + 1 / 3]
    assert segments(field, 0, 4, 7) == pytest.approx(expected, abs=1e-12)
    # At 4: (1 - 5/18) + (1 - 5/9). Chain 1: 2 (0 - 5/18).
    assert [segments(field, leaf)[0] for leaf in (2, 1)] == pytest.approx([13 / 18 + 4 / 9, -5 / 9], abs=1e-12)


def test_values_over_children_of_a_flat_group_are_those_over_leaves() -> None:
    tree = flat([[2, 1], [3, 1], [4, 5, 1]], [1.0, 0.0, 0.5])
    one, other = (process_value(tree, value=value, unexpanded="keep") for value in ("leaves", "children"))
    assert all(np.allclose(assigned(a), assigned(b), atol=1e-15) for a, b in zip(one, other, strict=True))


def test_values_over_children_need_forks() -> None:
    with pytest.raises(ConfigError, match="never"):
        ProcessValue(value="children", merged=True, unexpanded="keep")


def test_a_kept_chain_counts_as_any_leaf() -> None:
    # R 0, V(root) 1/2: 2 (0 - 1/2).
    field = process_value(one_chain_split_twice(), unexpanded="keep")
    assert segments(field, 1) == [-1.0]
    dropped = process_value(one_chain_split_twice())
    assert all(np.array_equal(assigned(field[i]), assigned(dropped[i])) for i in (0, 2, 3, 4, 5))


def test_leave_one_out_scales_by_n_over_n_less_one() -> None:
    # Six leaves of mean 1/2: the leaf R 1 is compared with 2/5, so 3/5 = 6/5 * 1/2.
    plain = process_value(one_chain_split_twice())
    scaled = process_value(one_chain_split_twice(), root="leave_one_out")
    assert segments(scaled, 0, 4, 7) == pytest.approx([1.2 * a for a in segments(plain, 0, 4, 7)], abs=1e-12)


def test_golden_weighting_before_the_differences() -> None:
    # Leave-one-out: C = +-3/5. U: [0,4) .6/5/sqrt 5 = .0536656; [4,7) (.6/3)/sqrt 3 = .1154701; [7,10) .6.
    # A = 2 U - U(parent): .1073313, .2309401 - .0536656 = .1772745, 1.2 - .1154701 = 1.0845299.
    field = process_value(one_chain_split_twice(), root="leave_one_out", weighting="before")
    assert segments(field, 0, 4, 7) == pytest.approx([0.1073313, 0.1772745, 1.0845299], abs=1e-7)
    # At 4: 2 * .6 - .0536656, 2 * -.6 - .0536656. At 7: -1.2 - .1154701, 1.2 - .1154701.
    expected = [1.1463344, -1.2536656, -1.3154701, 1.0845299]
    assert [segments(field, leaf)[0] for leaf in (2, 3, 4, 5)] == pytest.approx(expected, abs=1e-7)


def test_golden_weighting_before_with_the_plain_mean() -> None:
    # Mean 1/2, C = 1/2, -1/2, 0, 0, 0. [0,1): mean 1/8, U = 1/16, local 1/16, A = 1/8. Tail: U = 1/2, local 7/16, A =
    # 15/16. Branches 2 to 4: U = 0, local -1/16, A = -1/16.
    tree = root().grown(
        branch([2, 2, 2, 1], 1.0), branch([3, 3, 1], 0.0), *(branch([4 + i, 1], 0.5, 0, 1) for i in range(3))
    )
    field = process_value(tree, weighting="before")
    assert segments(field, 0, 1) == pytest.approx([1 / 8, 15 / 16], abs=1e-12)
    assert segments(field, 2) == pytest.approx([-1 / 16], abs=1e-12)


def test_where_the_weighted_value_does_not_change_local_is_inherited() -> None:
    # Chain 1 makes the mean 0, so C = R. [0,1) holds R = 1/2, 1/2, 1/2, 5/2: mean 1, U = 1/2, as of a leaf with R 1/2.
    tree = root().grown(
        branch([2, 2, 1], 0.5),
        branch([3, 1], -4.0),
        branch([4, 1], 0.5, 0, 1),
        branch([5, 1], 0.5, 0, 1),
        branch([6, 1], 2.5, 0, 1),
    )
    # First span: local U = 1/2, A = 1. Tail: U 1/2, local 0 -> 1/2, A = 1. Branch 4: U 5/2, local 2, A = 9/2.
    field = process_value(tree, weighting="before")
    assert segments(field, 0, 1) == pytest.approx([1.0, 1.0], abs=1e-12)
    assert segments(field, 2) == pytest.approx([1.0], abs=1e-12)
    assert segments(field, 4) == pytest.approx([4.5], abs=1e-12)


def test_leaves_without_a_reward_neither_give_nor_get() -> None:
    # Rewarded: 1, 0, 0; V(root) 1/3. [0,2) holds leaves 0 and 3: V 1/2. Branch 2 failed.
    tree = root().grown(
        branch([2, 2, 2, 1], 1.0), branch([3, 1], 0.0), branch([4, 1], None, 0, 2), branch([5, 1], 0.0, 0, 2)
    )
    field = process_value(tree)
    # (1/6 + 1/6)/sqrt 2; tail 2/3 + 1/2; branch 3 -1/3 - 1/2.
    assert segments(field, 0, 2) == pytest.approx([1 / 3 / sqrt(2), 7 / 6], abs=1e-12)
    assert segments(field, 3) == pytest.approx([-5 / 6], abs=1e-12)
    assert field[2] is None


@pytest.mark.parametrize("weighting", ["after", "before"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_equal_rewards_give_zero_to_the_bit(weighting: str, value: float) -> None:
    tree = root().grown(*(branch([2, 2, 1], value) for _ in range(3)), branch([3, 1], value, 0, 1))
    field = ProcessValue(weighting=weighting, unexpanded="keep").assign(tree)  # type: ignore[arg-type]
    assert all(not assigned(values).any() for values in field)


def test_nothing_judged_gives_nothing() -> None:
    assert process_value(flat([[2, 1], [3, 1]], [None, None])) == (None, None)


def test_the_penalty_falls_on_tokens_that_only_unfinished_completions_hold() -> None:
    # Branch 0 and 2 stop; 1 does not. 0 and 1 share a span, which keeps its value.
    tree = root().grown(branch([2, 2, 1], 1.0), branch([4, 4], 0.0, 0, 1), branch([3, 1], 0.0))
    plain, field = process_value(tree), process_value(tree, unfinished=-1.0)
    assert segments(field, 1) == [-1.0]
    assert segments(field, 0, 1) == segments(plain, 0, 1)


def test_the_penalty_spares_what_nobody_judged() -> None:
    # The tail of branch 0 belongs to no judged completion; its first token to branch 1, which stops.
    tree = root().grown(branch([2, 2, 2], None), branch([4, 1], 1.0, 0, 1), branch([3, 1], 0.0))
    assert segments(process_value(tree, unfinished=-1.0), 0, 1)[1] == 0.0


def test_merged_completions_share_a_span_where_their_tokens_coincide() -> None:
    # 2 3 1 (R 1) and 2 4 1 (R 0) share "2": V 1/2; with 3 1 (R 0): V(root) 1/3. Flat, so nothing forks by itself.
    tree = flat([[2, 3, 1], [2, 4, 1], [3, 1]], [1.0, 0.0, 0.0])
    field = process_value(tree, unexpanded="keep", merged=True)
    # "2": (1/6 + 1/6)/sqrt 2. Then 2/3 + 1/2, -1/3 - 1/2. "3 1": -1/3 - 1/3.
    shared = 1 / 3 / sqrt(2)
    assert assigned(field[0]).tolist() == pytest.approx([shared, 7 / 6, 7 / 6], abs=1e-12)
    assert assigned(field[1]).tolist() == pytest.approx([shared, -5 / 6, -5 / 6], abs=1e-12)
    assert assigned(field[2]).tolist() == pytest.approx([-2 / 3, -2 / 3], abs=1e-12)


def test_it_is_a_credit() -> None:
    credit: Credit = ProcessValue()
    assert credit.name == "process_value"
    assert not credit.per_pair
    assert ProcessValue(merged=True, unexpanded="keep").per_pair


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"root": "median"}, "method.root is 'median'"),
        ({"weighting": "befor"}, "method.weighting.*Did you mean 'before'"),
        ({"unexpanded": "no"}, "method.unexpanded is 'no'"),
        ({"merged": True}, "method.merged.*set unexpanded: keep"),
        ({"merged": True, "unexpanded": "keep", "unfinished": -1.0}, "method.merged"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ProcessValue(**settings)  # type: ignore[arg-type]
