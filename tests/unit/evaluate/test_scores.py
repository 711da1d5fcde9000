from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from creditree.errors import DataError
from creditree.evaluate.accuracy import Evaluation, check_judged
from creditree.evaluate.averages import average, average_difference
from creditree.evaluate.scores import difference, majority_vote, mean_over_problems, paired_change, scores
from creditree.evaluate.statistics import Estimate, Interval, bootstrap_mean, paired_difference, wilson
from creditree.problem import Status
from creditree.rng import Key
from creditree.runs.attempts import Attempt

KEY = Key.of(5)


def attempt(problem: str, index: int, reward: float | None, vote: str | None, tokens: int = 10) -> Attempt:
    status: Status = "crash" if reward is None else "ok"
    return Attempt(problem, index, reward, status, vote, tokens, truncated=tokens == 20, detail="" if reward else "why")


def evaluation(rewards: dict[str, Sequence[float]]) -> Evaluation:
    return Evaluation.of(attempt(p, i, r, f"{p}{r}") for p, own in rewards.items() for i, r in enumerate(own))


SMALL = Evaluation.of(
    [
        attempt("p", 1, 0.0, "6", 20),
        attempt("p", 0, 1.0, "5", 10),
        attempt("q", 0, 0.0, "1", 10),
        attempt("q", 1, None, None, 20),
    ]
)


def test_attempts_are_put_in_order_and_counted() -> None:
    assert [one.index for one in SMALL.attempts["p"]] == [0, 1]
    assert SMALL.rewards == {"p": (1.0, 0.0), "q": (0.0, None)}
    assert SMALL.correct == {"p": 1, "q": 0}
    assert SMALL.statuses == {"ok": 3, "crash": 1}
    assert (SMALL.num_completions, SMALL.num_correct, SMALL.num_truncated, SMALL.num_tokens) == (4, 1, 2, 60)
    assert (SMALL.num_unjudged, SMALL.first_failure, SMALL.accuracy, SMALL.mean_reward) == (1, "why", 0.25, 0.25)


def test_scores_are_the_worked_example() -> None:
    # pass@1: (1/2 + 0) / 2 = .25. Of q only one completion was judged, so pass@2 and maj@2 are of p alone: 1, and .5
    # for a tie of right and wrong. 60 tokens for one correct completion; 2 of 4 truncated.
    found = scores(SMALL, (1, 2), KEY)
    assert {k: one.value for k, one in found.passes.items()} == {1: 0.25, 2: 1.0}
    assert {k: one.value for k, one in found.majorities.items()} == {1: 0.25, 2: 0.5}
    assert (found.tokens_per_solved, found.truncation_rate) == (60.0, 0.5)
    # Every problem's pass@2 is 0 or 1: Wilson's interval of 1 of 1.
    assert found.passes[2] == wilson(1, 1)
    assert scores(evaluation({"p": [0.0]}), (1,), KEY).tokens_per_solved is None
    with pytest.raises(ValueError, match="k is 3"):
        scores(SMALL, (3,), KEY)


def test_one_completion_a_problem_has_wilsons_interval_and_several_a_bootstrap_over_problems() -> None:
    values = [1.0, 0.0, 0.0, 1.0, 1.0]
    assert mean_over_problems(values, KEY) == wilson(3, 5)
    assert mean_over_problems([0.0] * 30, KEY).interval.high > 0.1
    several = [1.0, 0.25, 0.0, 0.5]
    assert mean_over_problems(several, KEY) == bootstrap_mean(several, KEY)


def test_the_bootstrap_over_problems_covers_and_one_over_completions_would_not() -> None:
    # 60 problems whose chance p is Beta(.5, .5), 8 completions each: the true pass@1 is .5. 400 sets, so the standard
    # error of the coverage is about .011. Treating 480 completions as independent is far too narrow: their variance
    # p(1 - p) / 480 = .00052 is a third of Var(p) / 60 + E[p(1 - p)] / 480 = .125 / 60 + .125 / 480 = .0023.
    rng = np.random.default_rng(0)
    covered, naive = [], []
    for repeat in range(400):
        right = rng.binomial(8, rng.beta(0.5, 0.5, size=60))
        covered.append(0.5 in bootstrap_mean(right / 8, Key.of(repeat), resamples=1000).interval)
        naive.append(0.5 in wilson(int(right.sum()), 480).interval)
    assert 0.91 < np.mean(covered) < 0.98
    assert np.mean(naive) < 0.75


def test_a_difference_is_mcnemars_for_one_completion_and_a_permutation_for_several() -> None:
    before = evaluation({"a": [0.0], "b": [0.0], "c": [1.0], "d": [0.0]})
    after = evaluation({"d": [1.0], "a": [1.0], "b": [0.0], "c": [1.0]})
    found = difference(before, after, KEY)
    assert (found.gained, found.lost, found.value) == (2, 0, 0.5)
    assert found.p_value == pytest.approx(binomtest(0, 2, 0.5).pvalue)
    several = paired_change([0.5, 0.0, 1.0], [1.0, 0.5, 1.0], KEY)
    # 8 flips of (.5, .5, 0): the sum reaches 1 in absolute value for 4 of 8.
    assert several.p_value == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="different problems"):
        difference(before, evaluation({"a": [0.0]}), KEY)


def test_the_majority_is_the_most_frequent_vote_and_the_earliest_of_equals() -> None:
    votes = [attempt("p", index, 0.0, vote) for index, vote in enumerate(["b", "a", None, "a", "b", None, None])]
    assert majority_vote(votes) == "b"
    assert majority_vote([attempt("p", 0, None, None)]) is None


def test_an_average_squares_and_adds_the_margins() -> None:
    # Margins down .1 and .2, up .3 and .4: sqrt(.01 + .04) / 2 = .1118, sqrt(.09 + .16) / 2 = .25; mean .4.
    found = average([Estimate(0.3, Interval(0.2, 0.6), 30), Estimate(0.5, Interval(0.3, 0.9), 40)])
    assert found.value == pytest.approx(0.4)
    assert found.n == 70
    assert (found.interval.low, found.interval.high) == pytest.approx((0.4 - 0.1118034, 0.65))
    with pytest.raises(ValueError, match="no estimate"):
        average([])


def test_an_average_of_one_size_covers_about_as_often_as_it_says() -> None:
    # Two sets of 40 and 200 problems with shares .2 and .6: their average is .4.
    rng = np.random.default_rng(1)
    pairs = zip(rng.binomial(40, 0.2, 1500), rng.binomial(200, 0.6, 1500), strict=True)
    covered = [0.4 in average([wilson(int(a), 40), wilson(int(b), 200)]).interval for a, b in pairs]
    assert 0.93 < np.mean(covered) < 0.975


def test_an_average_difference_weighs_sets_equally() -> None:
    one, other = ([0.0, 0.0], [1.0, 1.0]), ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    changes = [np.subtract(b, a) for a, b in (one, other)]
    found = average_difference([paired_difference(*one), paired_difference(*other)], changes, KEY)
    assert found.value == pytest.approx((1.0 - 0.25) / 2)
    assert (found.n, found.gained, found.lost) == (6, 2, 1)
    # Weights 1/4, 1/4 and 1/8: of the 8 flips those with |sum| >= 3/8 are (+ + -), (+ + +) and their mirrors: 1/2.
    assert found.p_value == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="do not belong together"):
        average_difference([], [], KEY)


def lost(problem: str, index: int = 0) -> Attempt:
    return attempt(problem, index, None, None)


def test_what_a_judge_failed_on_is_in_no_figure() -> None:
    """Of four problems one was not judged before and another not after: the pairs are a (0 -> 1) and b (1 -> 1)."""
    before = Evaluation.of([attempt("a", 0, 0.0, "1"), attempt("b", 0, 1.0, "2"), lost("c"), attempt("d", 0, 0.0, "3")])
    after = Evaluation.of([attempt("a", 0, 1.0, "1"), attempt("b", 0, 1.0, "2"), attempt("c", 0, 1.0, "4"), lost("d")])
    assert before.correct == {"a": 0, "b": 1, "c": None, "d": 0}
    assert before.accuracy == pytest.approx(1 / 3)
    assert after.mean_reward == 1.0
    change = difference(before, after, KEY)
    assert (change.n, change.gained, change.lost) == (2, 1, 0)
    nothing = Evaluation.of([lost("a"), lost("a", 1)])
    assert (nothing.accuracy, nothing.mean_reward, nothing.share_correct) == (None, None, {})


def test_nothing_is_concluded_from_more_than_one_missing_in_twenty() -> None:
    """1 of 20 is 5 %, which is not above it; 2 of 39 is."""
    few = Evaluation.of([lost("p0"), *(attempt(f"p{n}", 0, 1.0, "1") for n in range(1, 20))])
    many = Evaluation.of([lost("p0"), lost("p1"), *(attempt(f"p{n}", 0, 1.0, "1") for n in range(2, 39))])
    check_judged({"greedy": few}, "mend it.")
    assert not few.is_inconclusive
    with pytest.raises(
        DataError, match=r"^greedy: 2 of 39 completions got no reward \(why\), more than 5%.*; mend it\.$"
    ):
        check_judged({"T=1": few, "greedy": many}, "mend it.")


def test_huge_rewards_have_a_mean() -> None:
    """1e308 four times: their sum is beyond what a float holds, their mean is not."""
    assert evaluation({"a": [1e308, 1e308], "b": [1e308, 1e308]}).mean_reward == 1e308
