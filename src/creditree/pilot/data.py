"""The first stage of a pilot: read the problems, say what is wrong with them, choose a grader, and split them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.config.guard import GuardBlock
from creditree.config.reward import OPTIONS, RewardBlock, reward_of
from creditree.errors import ConfigError, DataError, ModelError
from creditree.models.shapes import Shape, shape_of
from creditree.pilot.balance import (
    Lengths,
    check_answers,
    check_groups,
    check_lengths,
    constant_accuracy,
    room_for_completions,
)
from creditree.pilot.findings import Finding
from creditree.pilot.graders import Reading, check_reading, choose_grader, reading
from creditree.pilot.metrics import check_metric
from creditree.pilot.problems import PlacedProblem, Splits, normal, read_problems, split_problems, without_repeats
from creditree.pilot.request import (
    Files,
    Frame,
    Request,
    default_prompt,
    preferred_precision,
    threads_for,
)
from creditree.pilot.store import PROBLEMS, PilotDirectory
from creditree.problem import fingerprint
from creditree.runs.atomic import write_text, writing
from creditree.runs.held import OUT_CURE
from creditree.setup.grading import build_verifier, grading
from creditree.setup.guard import guard_table
from creditree.setup.workload import Encoder
from creditree.tasks.rows import read_rows
from creditree.tasks.table import SLICES, Columns
from creditree.tasks.task import PromptTemplate
from creditree.text import json_escaped
from creditree.user_code import placed as placed_code
from creditree.verify.verifier import closing

GUARD_PROBLEMS = 200


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """The problems as the pilot uses them. `constant`: the commonest answer, and how often it is right on the test."""

    splits: Splits
    findings: tuple[Finding, ...]
    files: Files
    frame: Frame
    lengths: Lengths
    constant: tuple[str, float]
    shape: Shape
    num_guard: int = 0

    @property
    def reward(self) -> RewardBlock:
        """Who judges, as a configuration has it."""
        return reward_of({"name": self.frame.reward})

    def to_json(self) -> dict[str, Any]:
        """Return what was found, as JSON."""
        rules = grading(self.reward)
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "sizes": self.splits.sizes,
            "sha256": {slice_: fingerprint(self.splits.problems(slice_)) for slice_ in SLICES},
            "grader": self.frame.reward if isinstance(self.frame.reward, str) else rules["grader"],
            "grading": rules,
            "prompt": self.frame.prompt,
            "prompt_tokens": {
                "median": self.lengths.median,
                "high": self.lengths.high,
                "longest": self.lengths.longest,
            },
            "constant_answer": {"answer": self.constant[0], "accuracy": self.constant[1]},
        }


def check_data(request: Request, directory: PilotDirectory) -> Data:
    """Return the checked problems; their three splits are written as files.

    Raises DataError where a finding ends the pilot, ConfigError and ModelError for what cannot be used.
    """
    placed, findings = read_problems(
        read_rows(request.problems), Columns(request.question, request.answer, keys="`{}`")
    )
    _check_columns(request, placed)
    every = placed
    placed, repeats = without_repeats(placed)
    _check_identity(request, every, placed)
    reading, placed, graded = _graded(request, placed)
    _refuse(graded)
    shape = shape_of(request.model, offline=False)
    if shape is None:
        raise ModelError(
            f"model '{request.model}' could not be found; give a directory, a hub name or a built-in model."
        )
    text, chat = default_prompt(request.model, reading.grader)
    prompt = PromptTemplate(text if request.prompt is None else request.prompt, chat)
    prompt.check(tuple(placed[0].problem.columns))
    counts = _prompt_lengths(request, prompt, placed)
    tokens = request.max_new_tokens or room_for_completions(list(counts.values()), shape.max_positions)
    placed, lengths, long = check_lengths(placed, counts, shape.max_positions - tokens)
    _refuse(long)
    splits, split_findings = split_problems(placed)
    answers = check_answers(splits)
    _refuse(answers)
    groups = [] if request.by is None else check_groups(splits, request.by)
    threads = threads_for(request, shape)
    several = None if request.reward is None else reward_of({"name": request.reward}).rewards
    reward = placed_code(reading.grader, Path.cwd()) if several is None else reward_of({"name": request.reward}).written
    frame = Frame(reward, prompt.text, chat, preferred_precision(request, shape), threads, tokens)
    guard, shared = _guard_problems(request, prompt, splits)
    everything = (*findings, *repeats, *graded, *long, *split_findings, *answers, *groups, *shared)
    files = _write(directory.path / PROBLEMS, request.problems.stem, splits)
    return Data(splits, everything, files, frame, lengths, constant_accuracy(splits), shape, guard)


def guard_keys(request: Request) -> dict[str, Any]:
    """Return the block `guard` of the training run, empty without guard problems."""
    if request.guard is None:
        return {}
    keys = {"path": str(request.guard.resolve()), "question": request.question, "problems": GUARD_PROBLEMS}
    return keys if request.answer is None else keys | {"answer": request.answer}


def _guard_problems(request: Request, prompt: PromptTemplate, splits: Splits) -> tuple[int, list[Finding]]:
    """Return how many guard problems are measured, and whether any are trained on.

    Raises DataError now, not after the training, for those that cannot be used.
    """
    if request.guard is None:
        return 0, []
    problems = guard_table(GuardBlock(**guard_keys(request)), prompt).held_out("test", GUARD_PROBLEMS)
    training = {normal(problem.question) for problem in splits.problems("training")}
    known = sum(normal(problem.question) in training for problem in problems)
    if not known:
        return len(problems), []
    text = f"guard problems that are trained on: {known} of {len(problems)}; they cannot show what is forgotten"
    return len(problems), [Finding("guard_in_training", "caution", text)]


def _check_columns(request: Request, placed: Sequence[PlacedProblem]) -> None:
    columns, problems = tuple(placed[0].problem.columns), [entry.problem for entry in placed]
    for metric in request.metrics:
        check_metric(metric, problems)
    if request.by is not None and request.by not in columns:
        raise ConfigError(f"`by` {request.by}: the problems have no such column; they have {', '.join(columns)}.")


def _check_identity(request: Request, placed: Sequence[PlacedProblem], kept: Sequence[PlacedProblem]) -> None:
    """Raise DataError where rows that are different problems count as one, because their questions are equal."""
    fields = () if request.prompt is None else PromptTemplate(request.prompt).fields
    others = [name for name in fields if name != "question"]
    if others and len(kept) < len(placed):
        prompts = {PromptTemplate(request.prompt or "").render(entry.problem) for entry in placed}
        if len(prompts) > len(kept):
            raise DataError(
                f"`prompt` tells problems apart by {', '.join(others)}, but column '{request.question}' has "
                f"{len(kept)} different questions for {len(prompts)} prompts: write what a problem asks into one "
                "column, and name it with `question`."
            )
    if not kept:
        raise DataError(
            f"Every question in column '{request.question}' has several answers in different rows: check that "
            "`question` and `answer` name the right columns."
        )


def _graded(request: Request, placed: Sequence[PlacedProblem]) -> tuple[Reading, list[PlacedProblem], list[Finding]]:
    """Return the grader's reading of the answers, the problems whose answer it reads, and what to say of it."""
    problems = [entry.problem for entry in placed]
    if request.reward is None:
        read = choose_grader(problems, build_verifier)
        return read, *check_reading(read, placed, asked=False)
    block = reward_of({"name": request.reward})
    if "program" in block.names:
        raise ConfigError("`reward` program: a pilot cannot run what the model writes; use creditree train for it.")
    with closing(build_verifier(block)) as verifier:
        ours = block.names[0] in OPTIONS
        name = request.reward if block.rewards is None else block.names[0]
        read = reading(name, verifier, problems, thorough=ours)
    return read, *check_reading(read, placed, asked=True, drops=ours)


def _refuse(findings: Sequence[Finding]) -> None:
    blocker = next((finding for finding in findings if finding.severity == "blocker"), None)
    if blocker is not None:
        raise DataError(f"The pilot cannot go on: {blocker.sentence}.")


def _prompt_lengths(request: Request, prompt: PromptTemplate, placed: Sequence[PlacedProblem]) -> Mapping[str, int]:
    try:
        texts = Encoder(request.model, offline=False).texts
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the tokenizer of model '{request.model}' could not be loaded ({reason}).") from error
    return {entry.problem.id: len(prompt.encode(entry.problem, texts)) for entry in placed}


def _write(folder: Path, stem: str, splits: Splits) -> Files:
    """Write each split as JSONL, with all columns of the table and the ids in use."""
    with writing(folder, OUT_CURE):
        folder.mkdir(exist_ok=True)
    names = {"training": stem, "validation": f"{stem}-validation", "test": f"{stem}-test"}
    for slice_ in SLICES:
        rows = [dict(entry.columns) | {"id": entry.id} for entry in splits.problems(slice_)]
        for row in rows:
            row.pop("split", None)
        lines = (json_escaped(json.dumps(row, ensure_ascii=False, default=str)) + "\n" for row in rows)
        write_text(folder / f"{names[slice_]}.jsonl", "".join(lines), OUT_CURE)
    return Files(*(folder / f"{names[slice_]}.jsonl" for slice_ in SLICES))
