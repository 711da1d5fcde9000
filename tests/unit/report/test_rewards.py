"""Mean rewards where they are more than right or wrong."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console, RenderableType

from creditree.errors import RunError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.summary import Decoding, Summary
from creditree.report.evaluation import decoding_entry, task_view
from creditree.report.rewards import NOTE, RewardChange, mean_rewards, num_graded, reward_estimate
from creditree.report.summary import summary_markdown, summary_view
from creditree.rng import Key
from creditree.runs.attempts import Attempt

KEY = Key.of(3)
NAMES = [f"p{number}" for number in range(40)]


def evaluation(rewards: dict[str, Sequence[float | None]]) -> Evaluation:
    return Evaluation.of(
        Attempt(p, i, r, "crash" if r is None else "ok", None, 9, False)
        for p, own in rewards.items()
        for i, r in enumerate(own)
    )


LOW = evaluation({name: [0.5 + 0.01 * (number % 5)] for number, name in enumerate(NAMES)})
HIGH = evaluation({name: [0.6 + 0.01 * (number % 5)] for number, name in enumerate(NAMES)})
PLAIN = evaluation({"a": [0.0], "b": [1.0]})


def change(before: Evaluation, after: Evaluation) -> RewardChange:
    found = RewardChange.of(before, after, KEY)
    assert found is not None
    return found


def text(view: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_only_rewards_other_than_0_and_1_are_counted() -> None:
    assert (num_graded(LOW), num_graded(PLAIN)) == (40, 0)
    assert RewardChange.of(PLAIN, PLAIN, KEY) is None
    assert RewardChange.of(PLAIN, evaluation({"a": [0.0], "b": [0.9]}), KEY) is not None


def test_the_change_is_paired_by_problem() -> None:
    # Residues of 0 to 4 hundredths, each eight times: mean 0.52, and every problem gains exactly 0.1.
    found = change(LOW, HIGH)
    assert found.before.value == pytest.approx(0.52)
    assert found.after.value == pytest.approx(0.62)
    assert found.difference.value == pytest.approx(0.1)
    assert found.difference.interval.low == pytest.approx(0.1)
    assert (found.difference.gained, found.difference.lost, found.difference.n) == (40, 0, 40)
    assert found.before.value in found.before.interval


def test_completions_without_a_reward_are_left_out() -> None:
    before = evaluation({"a": [0.2, None], "b": [None], "c": [0.4]})
    after = evaluation({"a": [0.6, 0.8], "b": [0.9], "c": [0.4]})
    assert mean_rewards(before) == {"a": 0.2, "c": 0.4}
    found = change(before, after)
    # a: 0.2 to 0.7, c: 0.4 to 0.4; b makes no pair.
    assert [found.before.value, found.after.value] == pytest.approx([0.3, 0.55])
    assert found.difference.n == 2
    assert reward_estimate(evaluation({"a": [None]}), KEY) is None


def test_sentences() -> None:
    found = change(LOW, HIGH)
    assert found.conclusion().startswith("the mean reward is higher after: +0.100 (+0.100, +0.100), p = ")
    assert change(HIGH, LOW).conclusion().startswith("the mean reward is lower after: -0.100")
    assert "not distinguishable at n = 40: 0.000 (0.000, 0.000)" in change(LOW, LOW).conclusion()
    assert found.sentence().startswith("mean reward 0.520 (0.516, 0.524) before, 0.620 (0.616, 0.624) after, +0.100")


def test_a_summary_shows_and_keeps_them() -> None:
    nothing = dict.fromkeys(NAMES, 0)
    summary = Summary("m", {"greedy": Decoding.of(nothing, nothing)}, {}, {}, rewards={"greedy": change(LOW, HIGH)})
    assert Summary.from_json(summary.to_json()) == summary
    for shown in (text(summary_view(summary)), summary_markdown(summary)):
        assert "0.520 (0.516, 0.524)" in shown
        assert "+0.100 (+0.100, +0.100)" in shown
        assert NOTE in shown
        assert "the mean reward is higher after" in shown
    broken = summary.to_json() | {"rewards": {"greedy": {"before": {}}}}
    with pytest.raises(RunError, match=r"summary\.json has no entry 'difference'"):
        Summary.from_json(broken)


def test_where_rewards_are_0_and_1_nothing_is_added() -> None:
    nothing = dict.fromkeys(NAMES, 0)
    summary = Summary("m", {"greedy": Decoding.of(nothing, nothing)}, {}, {})
    assert "rewards" not in summary.to_json()
    assert "mean reward" not in text(summary_view(summary)) + summary_markdown(summary)


def test_an_evaluation_shows_them() -> None:
    def shown(entry: dict[str, object]) -> str:
        record = {"target": "m", "task": "t", "split": "test", "n": 40, "notes": [], "decoding": {"greedy": entry}}
        return text(task_view(record))

    alone = decoding_entry({"measured": HIGH}, (1,), KEY)
    assert alone["mean_reward"]["value"] == pytest.approx(0.62)
    assert f"greedy: mean reward 0.620 (0.616, 0.624), 95 % interval. {NOTE}" in shown(alone)
    paired = decoding_entry({"measured": HIGH, "base": LOW}, (1,), KEY)
    assert paired["reward_change"]["difference"]["value"] == pytest.approx(0.1)
    assert "mean reward 0.520 (0.516, 0.524) before, 0.620" in shown(paired)
    assert "mean reward" not in shown(decoding_entry({"measured": PLAIN}, (1,), KEY))
