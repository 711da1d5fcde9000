"""The course of a search, with training made up: which trials go on, what a repeated command does again, what fails."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from creditree.config.schema import RunConfig
from creditree.errors import ModelError, RunError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.summary import Decoding, Summary
from creditree.ledger import Ledger, Seconds
from creditree.report.watcher import Watcher
from creditree.runs.atomic import StorageError
from creditree.runs.attempts import Attempt
from creditree.runs.directory import RunDirectory
from creditree.sweep import confirming, searching
from creditree.sweep.call import listed, sweep
from creditree.sweep.request import SweepRequest
from creditree.sweep.searching import Searched
from creditree.train.interrupt import Interrupted
from creditree.train.state import State

SEARCH = """
base: {task: multiplication}
compositions:
  slow: {train.learning_rate: [0.001, 0.002, 0.003, 0.004]}
  fast: {train.learning_rate: [0.011, 0.012, 0.013, 0.014]}
  base: {train.learning_rate: [0.0001, 0.0002, 0.0003, 0.0004]}
baseline: base
settings: 4
rungs: 3
eta: 2
budget: {first_rung: 100}
confirm: {seeds: 0}
"""


class Training:
    """Stands for training: reaches a reward of 20 times the learning rate, 10 seconds a token."""

    def __init__(self) -> None:
        self.made: list[tuple[float, int]] = []
        self.before: Callable[[float, int], None] = lambda rate, tokens: None

    def __call__(
        self, config: RunConfig, run: Path, watcher: Watcher, tokens: int, workers: int | None = None
    ) -> tuple[State, Evaluation]:
        rate = config.train.learning_rate
        self.before(rate, tokens)
        self.made.append((rate, tokens))
        seconds = Seconds({"sample": 10.0 * tokens}, {"sample": 10.0 * tokens})
        attempts = [Attempt("p", 0, 20 * rate, "ok", None, num_tokens=1, truncated=False)]
        return State(step=3, ledger=Ledger(sampled=tokens + 5), seconds=seconds), Evaluation.of(attempts)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Training:
    made = Training()
    monkeypatch.setattr(searching, "train_until", made)
    (tmp_path / "search.yaml").write_text(SEARCH)
    return made


def searched(folder: Path) -> Searched:
    found = sweep(SweepRequest(folder / "search.yaml", folder / "out"), Watcher())
    assert isinstance(found, Searched)
    return found


def rates(found: Searched, rung: int) -> dict[str, list[float]]:
    """Return the learning rates that were tried on a rung, by composition."""
    tried: dict[str, list[float]] = {}
    for one in found.climbed[rung].results:
        trial = found.search.trial(one.trial)
        tried.setdefault(trial.composition, []).append(trial.config.train.learning_rate)
    return {name: sorted(own) for name, own in tried.items()}


def test_the_best_go_on_and_the_baseline_with_as_many(tmp_path: Path, training: Training) -> None:
    found = searched(tmp_path)
    assert [(one.tokens, len(one.results)) for one in found.climbed] == [(100, 12), (200, 6), (400, 3)]
    # Of the best six, four are fast and two slow; the two slow give their places, and then a fast one.
    assert rates(found, 1) == {"fast": [0.012, 0.013, 0.014], "base": [0.0002, 0.0003, 0.0004]}
    assert rates(found, 2) == {"fast": [0.014], "base": [0.0003, 0.0004]}
    assert found.best.config.train.learning_rate == 0.014
    assert (found.winner, found.confirmation) == (None, None)
    assert found.conclusion().endswith("is " + found.best.name + " (learning_rate=0.014); nothing was confirmed.")
    assert len(training.made) == 12 + 6 + 3
    record = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert record == found.to_json()
    assert record["rungs"][2]["trials"][0]["sampled"] == 405
    assert "rung 3: 3 trials at 400 sampled tokens" in (tmp_path / "out" / "sweep.md").read_text()


def test_a_search_that_was_stopped_goes_on_with_the_trial_it_was_at(tmp_path: Path, training: Training) -> None:
    def stop(rate: float, tokens: int) -> None:
        if (rate, tokens) == (0.013, 200):
            raise Interrupted

    training.before = stop
    with pytest.raises(Interrupted, match="repeat the command to continue"):
        searched(tmp_path)
    done = list(training.made)
    training.made.clear()
    training.before = lambda rate, tokens: None
    found = searched(tmp_path)
    assert not set(done) & set(training.made)
    assert len(done) + len(training.made) == 21
    training.made.clear()
    assert searched(tmp_path).to_json() == found.to_json()
    assert training.made == []


def test_another_search_in_the_same_directory_is_refused(tmp_path: Path, training: Training) -> None:
    searched(tmp_path)
    (tmp_path / "search.yaml").write_text(SEARCH.replace("seeds: 0", "seeds: 3"))
    with pytest.raises(RunError, match=r"was made with other settings: confirm.seeds is 0 in the search and 3 now"):
        searched(tmp_path)
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="holds another sweep"):
        sweep(SweepRequest(tmp_path / "search.yaml", tmp_path / "grid"), Watcher())


def test_a_trial_that_fails_is_out(tmp_path: Path, training: Training) -> None:
    def fail(rate: float, tokens: int) -> None:
        if rate > 0.0115:
            raise ModelError("training stopped.")

    training.before = fail
    found = searched(tmp_path)
    assert rates(found, 1) == {"fast": [0.011], "slow": [0.003, 0.004], "base": [0.0002, 0.0003, 0.0004]}
    reasons = [one["reason"] for one in found.to_json()["rungs"][0]["trials"] if "reason" in one]
    assert reasons == ["training stopped."] * 3


def test_where_everything_fails_the_same_command_tries_again(tmp_path: Path, training: Training) -> None:
    def fail(rate: float, tokens: int) -> None:
        raise ModelError("out of memory.")

    training.before = fail
    with pytest.raises(RunError, match=r"no trial is left after rung 1; the first failed so: out of memory."):
        searched(tmp_path)
    training.before = lambda rate, tokens: None
    assert len(searched(tmp_path).climbed) == 3


def test_a_full_disk_ends_it_at_once(tmp_path: Path, training: Training) -> None:
    tried: list[float] = []

    def full(rate: float, tokens: int) -> None:
        tried.append(rate)
        raise StorageError("No space left on device.")

    training.before = full
    with pytest.raises(StorageError):
        searched(tmp_path)
    assert len(tried) == 1


def test_a_rung_that_would_take_longer_than_the_seconds_is_left_out(tmp_path: Path, training: Training) -> None:
    """A trial took 1000 s for 105 tokens: rung 2 takes 6 x 952 s, rung 3 3 x 2 x 976 s; next to none is spent."""
    told: list[str] = []

    class Told(Watcher):
        def message(self, text: str) -> None:
            told.append(text)

    for seconds, rungs in ((5500, 1), (7000, 3)):
        (tmp_path / "search.yaml").write_text(SEARCH.replace("100}", f"100, seconds: {seconds}}}"))
        found = sweep(SweepRequest(tmp_path / "search.yaml", tmp_path / f"{rungs}"), Told())
        assert isinstance(found, Searched)
        assert len(found.climbed) == rungs
    assert any(
        text.startswith("rung 2 is left out: it and the confirmation would take about 1 h 35 min") for text in told
    )


def test_a_confirmation_that_fails_confirms_nothing(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH.replace("seeds: 0", "seeds: 2"))
    asked: list[tuple[str, int, int | None]] = []

    def failing(config: RunConfig, run: Path, watcher: Watcher, *, resume: bool, workers: int | None) -> None:
        asked.append((run.parent.name, config.seed, config.train.tokens))
        raise ModelError("training stopped.")

    monkeypatch.setattr(confirming, "train_into", failing)
    found = searched(tmp_path)
    (baseline, _) = (name for name in reversed(found.climbed[-1].kept))
    assert asked == [(baseline, 1, 400)]
    assert found.winner is None
    assert found.to_json()["confirmation"]["reason"] == "training stopped."
    with pytest.raises(RunError, match=r"^None found among 2 compositions .* failed: training stopped\.$"):
        found.check()


def test_a_file_that_was_edited_during_the_confirmation_ends_it(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH.replace("seeds: 0", "seeds: 2"))
    correct = {"q1": 1, "q2": 0}
    summary = Summary("grpo", {"greedy": Decoding.of(correct, correct)}, {"train": 1.0, "train_cpu": 1.0}, {}, "t")

    def ended(config: RunConfig, out: Path, watcher: Watcher, *, resume: bool, workers: int | None) -> None:
        digests = {"q1": "one", "q2": "two" if config.seed == 1 else "edited"}
        with RunDirectory.create(out, f"seed: {config.seed}") as run:
            run.write_json("evaluation.json", {"after": {"greedy": correct}, "digests": digests})
            run.write_json("summary.json", summary.to_json())

    monkeypatch.setattr(confirming, "train_into", ended)
    found = searched(tmp_path)
    assert found.winner is None
    assert "different questions under the id 'q2' of t" in found.to_json()["confirmation"]["reason"]
    with pytest.raises(RunError, match=r"failed: .* are not compared"):
        found.check()


def test_without_a_baseline_that_ran_nothing_is_confirmed(tmp_path: Path, training: Training) -> None:
    def fail(rate: float, tokens: int) -> None:
        if rate < 0.0005:
            raise ModelError("training stopped.")

    training.before = fail
    (tmp_path / "search.yaml").write_text(SEARCH.replace("seeds: 0", "seeds: 2"))
    found = searched(tmp_path)
    assert found.confirmation is None
    assert found.conclusion().endswith("nothing was confirmed.")


def test_the_listing_has_the_trials_and_the_rungs(tmp_path: Path, training: Training) -> None:
    found = listed(tmp_path / "search.yaml", (), None)
    assert [one["tokens"] for one in found.record["rungs"]] == [100, 200, 400]
    assert found.record["trials"][0]["path"] == "trials/slow-1"
    assert found.lines[-1] == "rung 3: 3 trials, 400 tokens each"
    assert training.made == []
