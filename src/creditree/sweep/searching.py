"""A search: successive halving over compositions and their numbers, and the best confirmed on fresh seeds."""

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import yaml
from rich.console import RenderableType

from creditree.config.search import RUNS_OF_A_SEED, Search, Trial, load_search
from creditree.errors import CreditreeError, RunError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.scores import mean_over_problems
from creditree.report.search import Climbed, Confirmation, Result, search_json, search_markdown, search_view
from creditree.report.watcher import Watcher
from creditree.report.wording import count, duration
from creditree.rng import Key
from creditree.runs.atomic import StorageError
from creditree.runs.environment import describe_environment
from creditree.runs.held import CODE, HeldDirectory
from creditree.setup.training import train_until
from creditree.sweep.confirming import confirmed
from creditree.sweep.halving import ranked, survivors
from creditree.sweep.request import REPORT, RESULT, SweepRequest
from creditree.train.interrupt import continuing
from creditree.train.state import State

SETTINGS, RUNGS = "search.yaml", "rungs.json"


class SearchDirectory(HeldDirectory):
    """``search.yaml code.json trials/NAME/ rungs.json confirm/CASE/seed-SEED/ sweep.json sweep.md``.

    Trials, and the runs of the confirmation, are run directories.
    `rungs.json` has the result of every trial at every rung, written as soon as it is there.
    """

    CURE: ClassVar[str] = "remove it, and repeat the command"
    SETTINGS: ClassVar[str] = SETTINGS
    WRITES: ClassVar[tuple[str, ...]] = (CODE, RUNGS, REPORT)
    PLACE: ClassVar[str] = "search"
    MADE: ClassVar[str] = "search in {path} was made with other settings"

    @classmethod
    def _refuse_foreign(cls, path: Path) -> None:
        if os.path.lexists(path / RESULT) and not os.path.lexists(path / SETTINGS):
            raise RunError(f"Directory {path} holds another sweep; choose another one with {cls.PARAMETER}.")
        super()._refuse_foreign(path)

    def _begin(self, settings_yaml: str, *, begun: bool) -> None:
        if not begun:
            self.write_json(CODE, describe_environment(), checked=False)
            self.write_text(SETTINGS, settings_yaml, checked=False)

    def results(self) -> list[list[Result]]:
        """Return the results so far, rung by rung."""
        return self.read_record(RUNGS, _Rungs).rungs if os.path.lexists(self.path / RUNGS) else []


@dataclass(frozen=True, slots=True)
class _Rungs:
    rungs: list[list[Result]]


@dataclass(frozen=True, eq=False, slots=True)
class Searched:
    """What a search found. `record` is all of it, as JSON."""

    search: Search
    out: Path
    climbed: tuple[Climbed, ...]
    confirmation: Confirmation | None
    record: Mapping[str, Any]

    @property
    def winner(self) -> Trial | None:
        """The trial that was better than the baseline; None where none was found, or nothing was compared."""
        confirmation = self.confirmation
        return confirmation.best if confirmation is not None and confirmation.is_won(self.search.level) else None

    @property
    def best(self) -> Trial:
        """The trial that did best on the validation problems, the baseline's left out."""
        kept = map(self.search.trial, self.climbed[-1].kept)
        return next(trial for trial in kept if trial.composition != self.search.baseline)

    def conclusion(self) -> str:
        """Return one sentence: the winner, or that none was found."""
        return str(self.record["conclusion"])

    def view(self) -> RenderableType:
        """Return the tables for a terminal."""
        return search_view(self.search, self.climbed, self.confirmation)

    def check(self) -> None:
        """Raise RunError where the confirmation failed."""
        if self.confirmation is not None and self.confirmation.reason is not None:
            raise RunError(self.conclusion())

    def to_json(self) -> dict[str, Any]:
        """Return all that was found."""
        return dict(self.record)


def search(request: SweepRequest, watcher: Watcher) -> Searched:
    """Run what is missing of a search: its rungs, and the confirmation.

    Trials are compared by their mean reward on the validation problems, each with the same number of sampled tokens;
    those that go on continue from their checkpoint. A trial that fails is out. Raises ConfigError before anything runs,
    RunError where no trial is left, and Interrupted where a signal stopped it: the same request goes on.
    """
    search, out = load_search(request.path, request.overrides), request.out
    settings_yaml = yaml.safe_dump(dict(search.values), sort_keys=False, allow_unicode=True)
    with (
        SearchDirectory.open(out, settings_yaml) as directory,
        continuing(f"what is done is kept in {out}: repeat the command to continue"),
    ):
        climbed = _climb(search, directory, watcher, request.workers)
        confirmation = None
        if search.seeds:
            confirmation = confirmed(search, climbed[-1], request, watcher)
        record = {"sweep": str(request.path), **search_json(search, out, climbed, confirmation)}
        directory.write_text(REPORT, search_markdown(search, climbed, confirmation))
        directory.write_json(RESULT, record)
        return Searched(search, out, tuple(climbed), confirmation, record)


def _climb(search: Search, directory: SearchDirectory, watcher: Watcher, workers: int | None) -> list[Climbed]:
    """Run the rungs; return those that all of their trials have reached."""
    results, alive, climbed = directory.results(), list(search.trials), list[Climbed]()
    for index, rung in enumerate(search.rungs):
        if len(results) <= index:
            if index and not _fits(search, results, alive, index, watcher):
                break
            results.append([])
        for number, trial in enumerate(alive, 1):
            if any(result.trial == trial.name for result in results[index]):
                continue
            place = f"rung {index + 1} of {len(search.rungs)}, {count(rung.tokens)} tokens"
            watcher.message(f"\n{place}, trial {number} of {len(alive)}: {trial.name} ({trial.setting})")
            results[index].append(_result(trial, rung.tokens, directory.path, watcher, workers))
            directory.write_json(RUNGS, asdict(_Rungs(results)))
        own = {result.trial: result for result in results[index]}
        order = ranked(alive, [own[trial.name].reward for trial in alive])
        if not order:
            directory.write_json(RUNGS, asdict(_Rungs(results[:index])))  # the same command tries them again
            raise RunError(f"no trial is left after rung {index + 1}; the first failed so: {results[index][0].reason}")
        last = index + 1 == len(search.rungs)
        kept = survivors(order, min(len(order), 2) if last else search.rungs[index + 1].slots, search.baseline)
        climbed.append(Climbed(rung.tokens, tuple(results[index]), tuple(trial.name for trial in kept)))
        alive = kept
    return climbed


def _result(trial: Trial, tokens: int, out: Path, watcher: Watcher, workers: int | None) -> Result:
    """Train a trial up to so many tokens, and validate it. A failure is a result; a full disk ends the search."""
    begun = perf_counter()
    try:
        state, evaluation = train_until(trial.config, out / trial.folder, watcher, tokens, workers)
    except StorageError:
        raise
    except CreditreeError as error:
        watcher.message(f"failed: {error}")
        return Result(trial.name, reason=str(error))
    gc.collect()  # a model refers to itself, and the next run loads its own
    result = _measured(trial, state, evaluation, perf_counter() - begun)
    watcher.message(f"{trial.name}: validation reward {result.reward:.3f}")
    return result


def _measured(trial: Trial, state: State, evaluation: Evaluation, seconds: float) -> Result:
    accuracy = mean_over_problems(list(evaluation.share_correct.values()), Key.of(0).at("search", trial.name))
    return Result(
        trial=trial.name,
        tokens=state.ledger.sampled,
        steps=state.step,
        reward=evaluation.mean_reward,
        accuracy=accuracy.value,
        low=accuracy.interval.low,
        high=accuracy.interval.high,
        problems=accuracy.n,
        seconds=seconds,
        train_s=state.seconds.training_wall,
        train_cpu_s=state.seconds.training_cpu,
    )


def _fits(
    search: Search, results: Sequence[Sequence[Result]], alive: Sequence[Trial], index: int, watcher: Watcher
) -> bool:
    """Return whether a rung and the confirmation behind it fit into what is left of the seconds, at the pace so far."""
    if search.seconds is None:
        return True
    spent = sum(result.seconds for rung in results for result in rung)
    names = {trial.name for trial in alive}
    pace = [result.train_s / result.tokens for result in results[index - 1] if result.trial in names and result.tokens]
    here, before = search.rungs[index].tokens, search.rungs[index - 1].tokens
    mean = sum(pace) / max(1, len(pace))
    needed = mean * (len(alive) * (here - before) + RUNS_OF_A_SEED * len(search.seeds) * here)
    if spent + needed <= search.seconds:
        return True
    watcher.message(
        f"rung {index + 1} is left out: it and the confirmation would take about {duration(needed)}, and "
        f"{duration(max(0.0, search.seconds - spent))} of budget.seconds are left"
    )
    return False
