"""The warm start: what its loss is, what it reduces to, and that it leaves the method's own steps as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditree.batch import pack
from creditree.errors import ConfigError, DataError
from creditree.ledger import Ledger, Seconds
from creditree.methods import METHODS
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.train.loop import Loop
from creditree.train.no_update import Taught, nothing_learned
from creditree.train.outcome import warm_started
from creditree.train.settings import Settings, WarmStart
from creditree.train.step import learn
from creditree.train.warm_start import check_solutions, solved, warm_step
from creditree.tree import Forest
from tests.training import SETTINGS, Solved, Sums, assert_same_end, parts_of, resumed, same, trainer_of

KEY = Key.of(0).at("warm_start")
WARM = WarmStart(steps=3, problems=2, learning_rate=2e-2)
WARMED = replace(SETTINGS, steps=3, warm_start=WARM, checkpoint_every=1)


def _forests(parts: object, step: int = 0) -> list[Forest]:
    parts = parts_of(task=Solved())
    problems = [Solved().training(KEY.at("problems"), 2 * step + place) for place in range(2)]
    return [(solved(problem, parts.task.prompt, parts.model),) for problem in problems]


def test_a_solution_is_a_completion_that_was_right_and_ends() -> None:
    parts = parts_of(task=Solved())
    problem = Solved().training(KEY, 0)
    (branch,) = solved(problem, parts.task.prompt, parts.model).branches
    assert parts.model.text(branch.token_ids) == problem.solution
    assert branch.token_ids[-1] == parts.model.texts.ends.closing(chat=False)
    assert branch.reward == 1.0


def test_its_loss_is_the_mean_over_problems_of_the_mean_of_minus_log_p() -> None:
    parts = parts_of(task=Solved())
    forests = _forests(parts)
    ones = [((np.ones(len(forest[0].branches[0].token_ids)),),) for forest in forests]
    logprobs = parts.learner.logprobs(pack(forests, ones, ones, keep_zero_advantage=True))
    first = len(forests[0][0].branches[0].token_ids)
    expected = -(logprobs[:first].mean() + logprobs[first:].mean()) / 2
    result = warm_step(parts, WARM, 0, KEY, 1e-2, Seconds())
    assert result.stats.loss == pytest.approx(expected, rel=1e-5)
    assert (result.cost.sampled, result.cost.completions, result.cost.updates) == (0, 0, 1)
    assert result.stats.mismatch.terms == 0  # nothing was sampled that the learner could be compared with
    again = warm_step(parts, WARM, 0, KEY, 1e-2, Seconds())
    assert again.stats.loss < result.stats.loss


def test_it_is_the_update_of_rejection_sampling_on_what_is_given() -> None:
    warm, plain = parts_of(task=Solved()), parts_of(method=METHODS["raft"]())
    warm_step(warm, WARM, 1, KEY, 1e-2, Seconds())
    keys = [KEY.at("step", 1, place) for place in range(2)]
    learn(plain, _forests(plain, 1), keys, KEY.at("step", 1), 1e-2, Seconds(), Ledger())
    assert same(warm.learner.trained.state(), plain.learner.trained.state())
    assert warm.learner.objective is warm.method.objective  # and the method's own comes after it


def _asked(settings: Settings) -> list[list[str]]:
    loop = Loop(parts_of(task=Solved()), settings)
    found = [[f"{f[0].problem.id} {f[0].prompt_ids.tolist()}" for f in loop.step().explored] for _ in range(5)]
    return [step for step in found if step]


def test_the_method_has_the_problems_that_it_has_without() -> None:
    assert _asked(replace(WARMED, steps=2)) == _asked(replace(SETTINGS, steps=5))[:2]


def test_the_course_and_the_rate_are_those_of_the_method() -> None:
    settings = replace(WARMED, steps=4, learning_rate=1.0, final_learning_rate=0.0)
    assert settings.all_steps == 7
    rates = [settings.learning_rate_at(step, Seconds()) for step in range(7)]
    assert rates == pytest.approx([2e-2] * 3 + [1.0, 0.75, 0.5, 0.25])
    assert [settings.progress(step, Seconds()) >= 1.0 for step in (6, 7)] == [False, True]
    without = replace(settings, warm_start=replace(WARM, learning_rate=None))
    assert without.learning_rate_at(0, Seconds()) == 1.0


@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_run_is_the_run(tmp_path: Path, stop: int) -> None:
    """Stopped within the warm start, or after it."""
    whole, notes = trainer_of(tmp_path / "whole", WARMED, task=Solved())
    whole.train()
    assert [record.get("warm_start", False) for record in notes.records] == [True] * 3 + [False] * 3
    part, _ = trainer_of(tmp_path / "part", WARMED, task=Solved())
    for _ in range(stop):
        part._one_step()
        part.keeper.save()
    part.run.close()
    again, _ = resumed(tmp_path / "part", WARMED, task=Solved())
    assert again.state.step == stop
    assert_same_end(again, whole)
    said = warm_started(WARM, RunDirectory.read(tmp_path / "whole").metrics())
    assert said is not None
    assert (said.steps, said.updates, said.problems) == (3, 3, 2)
    assert said.loss_last < said.loss_first


def test_a_run_without_one_says_nothing_of_it() -> None:
    assert warm_started(WarmStart(), [{"step": 1, "loss": 1.0, "updates": 1}]) is None


def test_its_updates_are_not_the_methods() -> None:
    counts = Ledger(completions=4, updates=3, worthless=4)
    assert nothing_learned(counts, 3, 8, Taught()) is None
    lesson = nothing_learned(counts, 3, 8, Taught(), warm_updates=3)
    assert lesson is not None
    assert lesson.startswith("Nothing was learned: in none of the 3 steps")
    assert "what is saved is what the warm start left" in lesson


def test_what_cannot_be_learned_is_refused() -> None:
    parts = parts_of(task=Solved())
    check_solutions(parts.model, Solved())
    with pytest.raises(DataError, match="has no worked solution"):
        check_solutions(parts.model, Sums())
    with pytest.raises(ConfigError, match="with its solution of 100001 exceeds the context of"):
        check_solutions(parts.model, Long())


class Long(Sums):
    """Sums with solutions without end."""

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem."""
        return replace(super().training(key, index), solution="1" * 100_000)
