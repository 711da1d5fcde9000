"""What a run says of itself: why nothing was learned, and what is concluded where a judge has failed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.pulse import Told
from creditree.errors import DataError
from creditree.ledger import Ledger
from creditree.problem import Verdict
from creditree.runs.directory import RunDirectory
from creditree.train.no_update import Taught, nothing_learned
from creditree.train.procedure import run_training
from creditree.train.unrewarded import unrewarded_words
from creditree.verify.verifier import Answer
from tests.training import SETTINGS, T_SPMO, Notes, Scripted, parts_of


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            Ledger(completions=100, truncated=97, unparsable=97, worthless=100),
            "cut off at 2 tokens; .* sampling.max_new",
        ),
        (Ledger(completions=100, unparsable=96, worthless=100), "no completion an answer was found; .* task.prompt"),
        (Ledger(completions=100, solved=100), "every completion was right; .* harder problems"),
        (Ledger(completions=100, failed_verdicts=20, solved=80), "every completion was right"),
        (Ledger(completions=100, worthless=100), "every completion got the reward 0; .* easier problems"),
        (Ledger(completions=100, solved=50, worthless=50), "in each problem all completions .* got the same reward"),
        (Ledger(completions=100), "in each problem all completions .* got the same reward"),  # 0.5, say
        (Ledger(completions=100, failed_verdicts=100), "no completion got a reward; what is saved is what the run"),
        (Ledger(completions=100, skipped=3, worthless=9), "every update was left out"),
    ],
)
def test_a_run_without_an_update_says_why(counts: Ledger, words: str) -> None:
    found = nothing_learned(counts, 50, 2, Taught(groups=25, reached=True))
    assert found is not None
    assert found.startswith("Nothing was learned: in none of the 50 steps there was an update (updates: 0), because ")
    assert re.search(words, found), found


def test_a_run_with_an_update_says_nothing_of_that() -> None:
    assert nothing_learned(Ledger(completions=100, truncated=100, updates=1), 50, 2, Taught()) is None


def _record(**figures: float) -> dict[str, float]:
    return {
        "problems": 4,
        "mixed_share": 0.0,
        "problems_trained": 4,
        "useful_share": 0.0,
        "selected_share": 1.0,
    } | figures


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"mixed_share": 0.25}, r"because method.credit 'prefix_gain' gave every token an advantage of 0, or next to"),
        ({"mixed_share": 0.25}, r"although rewards differed in 2 of 8 problems; "),  # a quarter of 4, in two steps
        ({"mixed_share": 0.5, "problems_trained": 0}, r"method.schedule 'fixed' let none of the problems reach the le"),
        ({"mixed_share": 0.5, "useful_share": 0.1}, r"method.select 'branching_pairs' gave every token with an advant"),
        (
            {"useful_share": 0.1, "selected_share": 0.0},
            r"method.select 'branching_pairs' gave every token the weight 0",
        ),
        ({}, r"in each problem all completions that were sampled from its prompt got the same reward"),
        ({"problems": 0}, r"because no token had an advantage other than 0; "),
    ],
)
def test_the_same_reward_is_said_where_the_records_show_it(figures: dict[str, float], words: str) -> None:
    """Of half right and half wrong completions the counts say nothing of groups: the records of the steps do."""
    taught = Taught.of([_record(**figures), _record(**figures)], T_SPMO)
    sentence = nothing_learned(Ledger(completions=64, solved=32, worthless=32), 2, 8, taught)
    assert sentence is not None
    assert re.search(words, sentence), sentence
    assert ("same reward" in sentence) is ("same reward" in words)


def test_all_right_is_no_cause_where_rewards_differ() -> None:
    """Rewards of 1 and 1.1: every completion is right, and they differ."""
    sentence = nothing_learned(Ledger(completions=64, solved=64), 2, 8, Taught.of([_record(mixed_share=1.0)]))
    assert sentence is not None
    assert "because method.credit gave every token an advantage of 0" in sentence


def test_steps_of_a_warm_start_are_not_the_methods() -> None:
    records = [_record(useful_share=1.0) | {"warm_start": True}, _record()]
    assert Taught.of(records, T_SPMO) == replace(Taught.of([_record()], T_SPMO), groups=4)
    assert not Taught.of(records).useful


class Counting(InProcessEngine):
    """An engine that counts what it is asked."""

    asked = 0

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Count and sample."""
        self.asked += len(requests)
        return super().sample(requests, sampling, told)


@dataclass(slots=True)
class Failing(Scripted):
    """A verifier that fails on so many of the test problems, one measurement after the other."""

    failures: list[int] = field(default_factory=list)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge by the script, but for the first few of a measurement."""
        verdicts = Scripted.judge(self, answers)
        if not answers[0].problem.id.startswith("test"):
            return verdicts
        lost = self.failures.pop(0)
        return tuple(Verdict(None, "crash", "it is down") if n < lost else one for n, one in enumerate(verdicts))


def test_a_judge_that_fails_afterwards_concludes_nothing_and_judges_again_on_resume(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=2, evaluation_problems=40)
    parts = parts_of(Failing(failures=[0, 3]))
    with (
        RunDirectory.create(tmp_path / "run", "seed: 0\n") as run,
        pytest.raises(DataError, match=r"^greedy after: 3 of 40 completions got no reward \(it is down\), .*`resume`"),
    ):
        run_training(parts, settings, run, Notes(parts.learner))
    assert (tmp_path / "run" / "adapter").is_dir()
    assert not (tmp_path / "run" / "summary.json").exists()

    whole = parts_of(Failing(failures=[0, 0]))
    with RunDirectory.create(tmp_path / "whole", "seed: 0\n") as run:
        expected = run_training(whole, settings, run, Notes(whole.learner))
    again = parts_of(Failing(failures=[0]))
    engine = Counting(again.model)
    again = replace(again, engine=engine)
    with RunDirectory.resume(tmp_path / "run", "seed: 0\n") as run:
        found = run_training(again, settings, run, Notes(again.learner))
    assert engine.asked == 0
    assert found.decoding == expected.decoding
    assert found.main.unjudged == 0


def test_a_few_without_a_reward_are_left_out_in_pairs_and_said(tmp_path: Path) -> None:
    """One of 40 before, two of 40 after, who judges fails on them at the end too: at most two make no pair."""
    parts = parts_of(Failing(failures=[1, 2, 1]))
    with RunDirectory.create(tmp_path / "run", "seed: 0\n") as run:
        found = run_training(parts, replace(SETTINGS, steps=1, evaluation_problems=40), run, Notes(parts.learner))
        kept = run.read_json("evaluation.json")
        report = (run.path / "report.md").read_text(encoding="utf-8")
    assert (found.main.difference.n, found.main.unjudged) == (38, 2)
    assert found.main.conclusion().endswith(" 2 more got no reward and are left out.")
    assert "greedy, 2 unjudged" in report
    after = kept["after"]
    assert isinstance(after, dict)
    measured = replace(SETTINGS, evaluation_problems=40).measured(parts.task)
    assert kept["digests"] == {problem.id: problem.digest for problem in measured}
    assert list(after["greedy"].values()).count(None) == 2
    assert found.to_json()["difference"]["unjudged"] == 2  # type: ignore[index]


def test_what_had_no_reward_in_training_is_said_from_5_percent_on() -> None:
    assert unrewarded_words(Ledger(completions=100, failed_verdicts=4), {}) is None
    assert unrewarded_words(Ledger(), {}) is None
    reasons = {"a": ("row 1 of f (problem p-1): it is down.", 3), "b": ("none", 2)}
    assert unrewarded_words(Ledger(completions=100, failed_verdicts=5), reasons) == (
        "5 of 100 sampled completions had no reward (5.0%): they were left out of training; most often: "
        "row 1 of f (problem p-1): it is down."
    )


@dataclass(slots=True)
class Picky(Scripted):
    """A verifier that fails in training on all but the first completion of a problem, for two reasons."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge by the script, but for most in training."""
        verdicts = Scripted.judge(self, answers)
        if answers[0].problem.id.startswith("test"):
            return verdicts
        lost = [Verdict(None, "crash", f"row {n} ({one.problem.id}): down") for n, one in enumerate(answers)]
        lost[1] = Verdict(None, "crash", "the other reason")
        return (verdicts[0], *lost[1:])


def test_training_that_got_few_rewards_says_so_at_its_end_and_each_reason_once(tmp_path: Path) -> None:
    parts = parts_of(Picky())
    notes = Notes(parts.learner)
    with RunDirectory.create(tmp_path / "run", "seed: 0\n") as run:
        found = run_training(parts, replace(SETTINGS, steps=3, evaluation_problems=4), run, notes)
        report = (run.path / "report.md").read_text(encoding="utf-8")
        page = (run.path / "report.html").read_text(encoding="utf-8")
    words = found.details.unrewarded
    assert words is not None
    lost = found.details.completions
    assert lost is not None
    assert words.startswith(f"{lost.without_reward} of {lost.sampled} sampled completions had no reward (")
    assert ": they were left out of training; most often: row 2 (" in words
    assert words in report
    assert "they were left out of training; most often: row 2 (" in page
    told = [one for one in notes.messages if "a completion got no reward" in one]
    assert [one.partition("trained on: ")[2].partition(" (")[0] for one in told] == ["the other reason", "row 2"]
