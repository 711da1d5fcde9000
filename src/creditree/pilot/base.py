"""The second stage of a pilot: what the base model does with some training problems, several times each."""

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil
from time import monotonic

import numpy as np
import torch

from creditree.config.engine import check_adapters
from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation, check_judged, is_correct
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.example import Example
from creditree.evaluate.first_look import FirstLook
from creditree.evaluate.prompt import text_notes
from creditree.evaluate.session import measure
from creditree.methods import DEFAULT
from creditree.models.load import load_model
from creditree.pilot.cold import Cold, cold_start, right_solutions
from creditree.pilot.data import Data
from creditree.pilot.outlook import GROUPS, Outlook, best_group, best_temperature, outlook, verdict
from creditree.pilot.probe import SAMPLES, Probe, probe
from creditree.pilot.request import Frame, Request, Setting, fitted, precisions, run_config
from creditree.pilot.store import PilotDirectory
from creditree.pilot.suspicion import Suspicion, example_rows, suspicion
from creditree.problem import Problem
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.attempts import read_parts
from creditree.setup.defaults import KNOWN_RATE
from creditree.setup.engine import Surroundings, build_engine
from creditree.setup.grading import build_verifier
from creditree.setup.workload import rows_of
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import closing

SUSPECT = "suspect.jsonl"
"""Completions that are not right and hold their reference answer, as rows to grade."""
LONGER = 1.25
"""Completions may be this much longer than 99 % of the correct ones were."""


@dataclass(frozen=True, eq=False, slots=True)
class Base:
    """What was seen of the base model, by temperature; the frame of all runs; and how fast it answers.

    `first`: the first prompt with its completion;  `suspicion`: what speaks against the grader, where completions do;
    `right`: the share of worked solutions that the grader takes for right, None: there are none;  `cold`: how training
    begins where next to nothing is solved.
    """

    outlooks: tuple[Outlook, ...]
    chosen: Outlook
    frame: Frame
    probe: Probe
    first: Example
    suspicion: Suspicion | None = None
    right: float | None = None
    cold: Cold | None = None


def look_at_base(request: Request, data: Data, directory: PilotDirectory, watcher: Watcher) -> Base:
    """Sample several completions of some training problems at each temperature, and choose temperature, group, length.

    How many problems is decided by a timed first few, and kept: a continued pilot samples what is missing.
    Raises ConfigError where the budget is too short even for the least.
    """
    key = Key.of(request.seed).at("pilot")
    longest = data.lengths.longest
    frame = fitted(request, data.files, data.frame, longest, precisions(request, data.frame))
    config = run_config(request, data.files, frame, Setting(DEFAULT, KNOWN_RATE), 1.0, {})
    check_adapters(config.engine, "a pilot, which trains,")
    problems = data.splits.problems("training")
    with ExitStack() as stack:
        verifier = stack.enter_context(closing(build_verifier(config.reward)))
        if frame.threads is not None:
            torch.set_num_threads(frame.threads)
        begun = monotonic()
        model = load_model(request.model, config.model.dtype, request.device)
        load_s = monotonic() - begun
        prompt = PromptTemplate(frame.prompt, frame.chat)
        around = Surroundings(told=watcher.message)
        engine = build_engine(config, model, None, (prompt, problems), rows_of(config), around=around)
        stack.callback(engine.close)
        for note in text_notes(prompt, model.texts):
            watcher.message(note)
        examiner = Examiner(model, engine, verifier, prompt, frame.max_new_tokens, key)
        if not directory.has("probe"):
            with watcher.measuring(SAMPLES):
                told = partial(watcher.beat, "timing the base model")
                directory.write("probe", asdict(probe(examiner, problems, request.budget_s, load_s, told)))
        probed = directory.read_as("probe", Probe)
        sampled = problems[: probed.problems]
        with watcher.measuring(len(sampled) * SAMPLES * len(probed.temperatures)):
            look = FirstLook(examiner, watcher.message, keys=_KEYS)
            evaluations = [
                measure(
                    look, sampled, Sampling(temperature), SAMPLES, directory.sampled(name), watcher, f"base, {name}"
                )
                for temperature in probed.temperatures
                for name in [Sampling(temperature).name]
            ]
        right = right_solutions(problems, prompt, verifier)
    names = [Sampling(temperature).name for temperature in probed.temperatures]
    cure = "when what judges works, repeat the command: nothing is sampled again."
    check_judged(dict(zip(names, evaluations, strict=True)), cure)
    first = _first(directory, sampled[0], names[0], examiner)
    del look, examiner, engine, model
    gc.collect()  # a model refers to itself, and the runs load their own
    outlooks = tuple(
        outlook(evaluation, temperature, key.at("outlook", index))
        for index, (evaluation, temperature) in enumerate(zip(evaluations, probed.temperatures, strict=True))
    )
    chosen = best_temperature(outlooks)
    learned = _framed(request, data, frame, chosen, evaluations[outlooks.index(chosen)])
    suspect = _suspicion(directory, sampled, probed)
    cold = None if suspect else cold_start(chosen, verdict(chosen, learned.group)[0], right)
    return Base(outlooks, chosen, learned, probed, first, suspect, right, cold)


_KEYS = {"length_key": "`max_new_tokens`", "prompt_key": "`prompt`", "reward_key": "`reward`"}
"""What the settings are called here that cure completions which nobody can read."""


def _first(directory: PilotDirectory, problem: Problem, name: str, examiner: Examiner) -> Example:
    """Return the first prompt and completion, with what the base model was asked."""
    return Example.first(examiner.model, examiner.prompt, problem, read_parts(directory, f"base/{name}"))


def _suspicion(directory: PilotDirectory, problems: Sequence[Problem], probed: Probe) -> Suspicion | None:
    """Return what the completions say of the grader; with a suspicion some of them are written as rows to grade."""
    names = [f"base/{Sampling(temperature).name}" for temperature in probed.temperatures]
    attempts = [attempt for name in names for attempt in read_parts(directory, name)]
    suspect = suspicion(problems, attempts)
    if suspect is not None:
        directory.write_text(SUSPECT, example_rows(problems, attempts))
    return suspect


def _framed(request: Request, data: Data, frame: Frame, chosen: Outlook, evaluation: Evaluation) -> Frame:
    """Return the frame with temperature, length and group: what was learned of the base, as far as memory allows."""
    tokens = frame.max_new_tokens if request.max_new_tokens else _length(frame.max_new_tokens, evaluation)
    wanted = best_group(chosen, GROUPS[-1])
    changed = replace(frame, temperature=chosen.temperature, max_new_tokens=tokens, group=wanted)
    return fitted(request, data.files, changed, data.lengths.longest, (frame.dtype,))


def _length(most: int, evaluation: Evaluation) -> int:
    """Return how long completions may be: a quarter more than 99 % of the correct ones were, in steps of 8."""
    lengths = [attempt.num_tokens for attempt in evaluation.all if is_correct(attempt)]
    if not lengths:
        return most
    return min(most, 8 * ceil(LONGER * float(np.quantile(lengths, 0.99)) / 8))
