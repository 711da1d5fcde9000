"""The second stage of a pilot: what the base model does with some training problems, several times each."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import monotonic

import numpy as np
import torch
from rich.console import Console

from creditree.cli.pilot.data import Data
from creditree.config.load import check_config
from creditree.config.pilot import Frame, Request, fitted, precisions, values_of
from creditree.config.reward import build_verifier
from creditree.config.workload import rows_of
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError
from creditree.evaluate.accuracy import Evaluation, Examiner, is_correct
from creditree.evaluate.session import measure
from creditree.models.load import load_model
from creditree.pilot.outlook import GROUPS, Outlook, best_group, best_temperature, outlook
from creditree.pilot.store import PilotDirectory
from creditree.problem import Problem
from creditree.report.measuring import MeasureProgress
from creditree.report.wording import decoding_name, duration
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import closing

TEMPERATURES = (0.4, 0.7, 1.0)
SAMPLES = GROUPS[-1]
PROBED, MOST_PROBED, LEAST_TIMED_S = 4, 32, 1.0
"""So many problems are timed first, and twice as many again while that takes under a second: small batches are slow."""
LEAST, MOST = 16, 96
"""Problems looked at."""
SHARE, MOST_SHARE = 0.15, 0.35
"""Of the budget: what looking takes, and what it may take at its least."""
LONGER = 1.25
"""Completions may be this much longer than 99 % of the correct ones were."""


@dataclass(frozen=True, eq=False, slots=True)
class Base:
    """What was seen of the base model, by temperature; the frame of all runs; and seconds of a completion.

    `completion_s` is of one of several on a prompt, `single_s` of one on a prompt of its own.
    """

    outlooks: tuple[Outlook, ...]
    chosen: Outlook
    frame: Frame
    completion_s: float
    single_s: float


def look_at_base(request: Request, data: Data, directory: PilotDirectory, out: Console) -> Base:
    """Sample several completions of some training problems at each temperature, and choose temperature, group, length.

    How many problems is decided by a timed first few, and kept: a continued pilot samples what is missing.
    Raises ConfigError where the budget is too short even for the least.
    """
    key = Key.of(request.seed).at("pilot")
    longest = data.lengths.longest
    frame = fitted(request, data.files, data.frame, longest, precisions(request, data.frame))
    config = check_config(values_of(request, data.files, frame), "the pilot")
    problems = data.splits.problems("training")
    with closing(build_verifier(config.reward)) as verifier:
        if frame.threads is not None:
            torch.set_num_threads(frame.threads)
        model = load_model(request.model, config.model.dtype, request.device)
        engine = InProcessEngine(model, rows_of(config))
        prompt = PromptTemplate(frame.prompt, frame.chat)
        examiner = Examiner(model, engine, verifier, prompt, frame.max_new_tokens, key)
        if not directory.has("probe"):
            directory.write("probe", _probe(request, examiner, problems))
        probe = directory.read("probe")
        asked = problems[: probe["problems"]]
        temperatures: Sequence[float] = probe["temperatures"]
        with MeasureProgress(len(asked) * SAMPLES * len(temperatures), out) as progress:
            found = [
                measure(
                    examiner, asked, Sampling(temperature), SAMPLES, directory.sampled(name), progress, f"base, {name}"
                )
                for temperature in temperatures
                for name in [decoding_name(temperature)]
            ]
    del examiner, engine, model
    gc.collect()  # a model refers to itself, and the runs load their own
    outlooks = tuple(
        outlook(one, temperature, key.at("outlook", index))
        for index, (one, temperature) in enumerate(zip(found, temperatures, strict=True))
    )
    chosen = best_temperature(outlooks)
    learned = _framed(request, data, frame, chosen, found[outlooks.index(chosen)])
    return Base(outlooks, chosen, learned, probe["completion_s"], probe["single_s"])


def _probe(request: Request, examiner: Examiner, problems: Sequence[Problem]) -> dict[str, object]:
    """Time a few problems, and return how many can be looked at, at which temperatures."""
    _sample(examiner, problems[:1], SAMPLES)  # what is slow only once
    completion_s = _timed(examiner, problems, SAMPLES)
    temperatures: tuple[float, ...] = TEMPERATURES
    if LEAST * SAMPLES * len(temperatures) * completion_s > MOST_SHARE * request.budget_s:
        temperatures = TEMPERATURES[-1:]
    cost = SAMPLES * len(temperatures) * completion_s
    if LEAST * cost > MOST_SHARE * request.budget_s:
        least = LEAST * cost / MOST_SHARE
        raise ConfigError(
            f"--budget {duration(request.budget_s)} is too short: looking at {LEAST} problems takes "
            f"{duration(LEAST * cost)} with this model here; set --budget to {ceil(least / 60)}m or more, lower "
            "--max-new-tokens, or take a smaller model."
        )
    count = min(MOST, max(LEAST, int(SHARE * request.budget_s / cost)), len(problems))
    single_s = _timed(examiner, problems, 1)
    return {"completion_s": completion_s, "single_s": single_s, "problems": count, "temperatures": list(temperatures)}


def _timed(examiner: Examiner, problems: Sequence[Problem], samples: int) -> float:
    """Return the seconds of one completion among many, `samples` of each problem."""
    probed = PROBED
    while True:
        asked = problems[:probed]
        begun = monotonic()
        _sample(examiner, asked, samples)
        seconds = monotonic() - begun
        if seconds >= LEAST_TIMED_S or probed >= min(MOST_PROBED, len(problems)):
            return seconds / (len(asked) * samples)
        probed *= 2


def _sample(examiner: Examiner, problems: Sequence[Problem], samples: int) -> None:
    for piece in examiner.pieces(problems, samples):
        examiner.examine(piece, Sampling(1.0), samples)


def _framed(request: Request, data: Data, frame: Frame, chosen: Outlook, found: Evaluation) -> Frame:
    """Return the frame with temperature, length and group: what was learned of the base, as far as memory allows."""
    tokens = frame.max_new_tokens if request.max_new_tokens else _length(frame.max_new_tokens, found)
    wanted = best_group(chosen, GROUPS[-1])
    asked = replace(frame, temperature=chosen.temperature, max_new_tokens=tokens, group=wanted)
    return fitted(request, data.files, asked, data.lengths.longest, (frame.dtype,))


def _length(most: int, found: Evaluation) -> int:
    """Return how long completions may be: a quarter more than 99 % of the correct ones were, in steps of 8."""
    lengths = [attempt.num_tokens for attempt in found.all if is_correct(attempt)]
    if not lengths:
        return most
    return min(most, 8 * ceil(LONGER * float(np.quantile(lengths, 0.99)) / 8))
