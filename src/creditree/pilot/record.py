"""The last stage of a pilot: the record that says what came out, from the run's files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from creditree.config.schema import RunConfig
from creditree.errors import DataError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.changed import examples
from creditree.evaluate.summary import Summary
from creditree.pilot.base import SUSPECT, Base
from creditree.pilot.changes import changes_by_group, commonest_answer, right_share
from creditree.pilot.cold import unread
from creditree.pilot.concentration import Concentration, concentration
from creditree.pilot.data import Data
from creditree.pilot.decision import Outcome, Recommendation, recommend, risks
from creditree.pilot.metrics import measure_metric
from creditree.pilot.outlook import advice, seconds_to_detect, smallest_gain, verdict
from creditree.pilot.request import Request
from creditree.pilot.store import PilotDirectory
from creditree.pilot.training import Course, SettingTrial
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.directory import RunDirectory, Side
from creditree.setup.machine import peak_memory
from creditree.setup.workload import Encoder, settled
from creditree.tasks.task import PromptTemplate

SIDES: tuple[Side, ...] = ("base", "trained")
PEAK = "peak"
"""The record of the most memory that any command held."""


@dataclass(frozen=True, slots=True)
class Peak:
    """That record: bytes."""

    bytes: int


def peak_so_far(device: str, directory: PilotDirectory) -> int:
    """Return the most bytes that this process, or one before it, held."""
    before = directory.read_as(PEAK, Peak).bytes if directory.has(PEAK) else 0
    return max(before, peak_memory(device))


def outlook_record(base: Base, num_test: int, trials: Sequence[SettingTrial] = ()) -> dict[str, Any]:
    """Return whether learning can work, and how long until a gain can be seen, as JSON."""
    kind, why = verdict(base.chosen, base.frame.group)
    detectable = smallest_gain(base.chosen, num_test)
    record: dict[str, Any] = {
        "verdict": kind,
        "why": why,
        "by_temperature": [outlook.to_json() for outlook in base.outlooks],
        "temperature": base.chosen.temperature,
        "group": base.frame.group,
        "detectable_gain": detectable,
        "seconds_to_detect": None,
    }
    best = max(trials, key=lambda trial: trial.summary.main.after.value, default=None)
    if best is not None and detectable is not None:
        d = best.summary.main.difference
        expected, latest = seconds_to_detect(d.value, d.interval.low, best.seconds, detectable)
        record["seconds_to_detect"] = {"expected": expected, "latest": latest}
    record["first"] = base.first.to_json()
    record["cold_start"] = None if base.cold is None else base.cold.to_json()
    if base.cold is not None:
        record["verdict"] = "cold_start"
    elif kind == "no_signal":
        record["advice"] = advice(base.chosen)
    record["suspicion"] = None if base.suspicion is None else base.suspicion.to_json()
    return record


def early_record(request: Request, data: Data, base: Base, directory: PilotDirectory) -> dict[str, Any]:
    """Return the record of a pilot that ends before training, because it cannot help."""
    outlook = outlook_record(base, data.splits.sizes["test"])
    text = f"{outlook['why'][0].upper()}{outlook['why'][1:]}."
    if outlook["verdict"] == "no_signal" and base.suspicion is not None:
        alone = data.reward.rewards is None and request.reward
        grader, rows = alone or data.reward.names[0], str(directory.path / SUSPECT)
        call = request.spelled("grade", {"path": rows, "grader": grader})
        recommendation = Recommendation("suspect_grader", base.suspicion.sentence(call))
    elif outlook["verdict"] == "no_signal":
        recommendation = Recommendation(
            "no_signal", f"{text} Do not train yet: {outlook['advice']}.{unread(base.right)}"
        )
    else:
        recommendation = Recommendation("nothing_to_gain", text)
    return _head(request, data, directory) | {"outlook": outlook, **_recommended(recommendation, [])}


def full_record(course: Course, trials: Sequence[SettingTrial], config: RunConfig, summary: Summary) -> dict[str, Any]:
    """Return the record of a pilot that trained."""
    request, data, base, directory = course.request, course.data, course.base, course.directory
    run, decoding = RunDirectory.read(directory.run), next(iter(summary.decoding))
    sides = {side: Evaluation.of(run.attempts(decoding, side)) for side in SIDES}
    tested = [problem for problem in data.splits.problems("test") if problem.id in sides["base"].attempts]
    d = summary.main
    outlook = outlook_record(base, len(tested), trials)
    signal = _concentration(request, run)
    key = Key.of(request.seed).at("pilot report")
    guard: Any = summary.details.guard
    outcome = Outcome(
        d.before,
        d.after,
        d.difference,
        _truncated(sides["base"]),
        _truncated(sides["trained"]),
        data.constant[1],
        outlook["detectable_gain"],
        guard,
    )
    answer = commonest_answer(sides["trained"])
    metrics = [_metric(request, data, name, tested, sides, key) for name in request.metrics]
    failed = [f"metric {metric['name']}: {metric['error']}" for metric in metrics if "error" in metric]
    listed = [*risks(outcome, signal, answer, right_share(sides["trained"], answer[0])), *failed]
    advised = recommend(outcome, listed, _times(outlook["seconds_to_detect"], summary.seconds["train"]))
    if base.cold is not None:
        advised = replace(advised, text=f"{advised.text} {base.cold.text} It began so: {_begun(config)}.")
    better, worse = examples(tested, sides["base"], sides["trained"])
    return _head(request, data, directory) | {
        "outlook": outlook,
        "trials": [trial.to_json() for trial in trials],
        "choice": _chosen(settled(config)),
        "result": {"decoding": decoding, "n": d.difference.n, **_difference(d)},
        "decodings": {name: _difference(figures) for name, figures in summary.decoding.items()},
        "metrics": metrics,
        "groups": [] if request.by is None else _groups(tested, request.by, sides, key),
        "cost": _cost(request, base, trials, summary, directory),
        "truncated": {side: _truncated(sides[side]) for side in SIDES},
        "commonest_answer": {"answer": answer[0], "share": answer[1]},
        "concentration": None if signal is None else signal.to_json(),
        "guard": guard,
        "examples": {
            "better": [example.to_json() for example in better],
            "worse": [example.to_json() for example in worse],
        },
        **_recommended(advised, listed),
        "files": {"adapter": str(run.trained), "run": str(run.path)},
        "next": _next(request, data.reward.names, str(run.path)),
    }


def _head(request: Request, data: Data, directory: PilotDirectory) -> dict[str, Any]:
    return {
        "problems": str(request.problems),
        "model": request.model,
        "budget_s": request.budget_s,
        "seed": request.seed,
        "directory": str(directory.path),
        "command": repeated(request),
        "working_directory": str(Path.cwd()),
        "data": data.to_json(),
        "seconds": directory.seconds,
    }


def repeated(request: Request) -> str:
    """Return the call that asks for the same, with what it chose by the machine."""
    plain = {item.name: item.default for item in fields(Request)}
    given = asdict(request)
    del given["spelled"], given["out"], given["memory"], given["budget_s"]
    options = {name: _typed(value) for name, value in given.items() if name in _ALWAYS or value != plain[name]}
    exact = {"budget": f"{request.budget_s:g}s", "memory": f"{request.memory // 10**6}MB", "out": "ANOTHER"}
    return request.spelled("pilot", options | exact)


_ALWAYS = ("problems", "model", "device")


def _typed(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _times(seconds: Mapping[str, Any] | None, trained_s: float) -> tuple[float, float] | None:
    """Return how many times the training takes until a gain could be seen, expected and at most; None: not known."""
    if seconds is None or seconds["expected"] is None or seconds["latest"] is None:
        return None
    return seconds["expected"] / trained_s, seconds["latest"] / trained_s


def _recommended(recommendation: Recommendation, listed: Sequence[str]) -> dict[str, Any]:
    return {
        "recommendation": {
            "decision": recommendation.decision,
            "text": recommendation.text,
            "mood": recommendation.mood,
        },
        "risks": list(listed),
    }


def _truncated(evaluation: Evaluation) -> float:
    return evaluation.num_truncated / evaluation.num_completions


def _difference(change: Any) -> dict[str, Any]:
    return {
        "before": change.before.to_json(),
        "after": change.after.to_json(),
        "difference": change.difference.to_json(),
    }


def _chosen(config: RunConfig) -> dict[str, Any]:
    return {
        "method": _begun(config),
        "learning_rate": config.train.learning_rate,
        "group": config.method.group,
        "problems_per_step": config.train.problems_per_step,
        "temperature": config.sampling.temperature,
        "max_new_tokens": config.sampling.max_new_tokens,
        "dtype": config.model.dtype,
        "device": config.model.device,
        "memory": config.train.memory,
        "micro_batch_tokens": config.train.micro_batch_tokens,
        "max_rows": config.train.max_rows,
        "seconds": config.train.seconds,
    }


def _begun(config: RunConfig) -> str:
    """Return what a run is and what came before it."""
    steps = config.warm_start.steps
    return f"{config.method.build().label}{f' after a warm start of {steps} steps' if steps else ''}"


def _concentration(request: Request, run: RunDirectory) -> Concentration | None:
    texts = Encoder(request.model, offline=True).texts
    rows = (row for step in run.rollout_steps() for row in run.rollouts(step))
    return concentration(rows, lambda ids: texts.exact(list(ids)))


def _metric(
    request: Request, data: Data, name: str, problems: Sequence[Problem], sides: Mapping[Side, Evaluation], key: Key
) -> dict[str, Any]:
    prompt = PromptTemplate(data.frame.prompt, data.frame.chat)
    prompts = [prompt.render(problem) for problem in problems]
    try:
        result = measure_metric(name, problems, prompts, sides["base"], sides["trained"], key)
    except DataError as error:  # the training is done, and a report without the metric is better than none
        return {"name": _short(name), "error": str(error)}
    return {
        "name": _short(name),
        "before": result.before,
        "after": result.after,
        "problems": result.problems,
        "difference": result.difference.to_json(),
    }


def _short(metric: str) -> str:
    source, _, name = metric.rpartition(":")
    return f"{Path(source).name}:{name}"


def _groups(
    problems: Sequence[Problem], column: str, sides: Mapping[Side, Evaluation], key: Key
) -> list[dict[str, Any]]:
    return [
        {
            "group": change.name,
            "n": change.n,
            "before": change.before,
            "after": change.after,
            "difference": change.difference.to_json(),
            "adjusted_p_value": change.adjusted_p,
        }
        for change in changes_by_group(problems, column, sides["base"], sides["trained"], key)
    ]


def _cost(
    request: Request, base: Base, trials: Sequence[SettingTrial], summary: Summary, directory: PilotDirectory
) -> dict[str, Any]:
    return {
        "seconds": directory.spent_s,
        "training_seconds": summary.seconds["train"],
        "tokens": dict(summary.tokens),
        "tokens_before": sum(round(outlook.tokens * outlook.samples * outlook.accuracy.n) for outlook in base.outlooks)
        + sum(trial.summary.tokens["sampled"] for trial in trials),
        "peak_memory_bytes": peak_so_far(request.device, directory),
        "device": request.device,
    }


def _next(request: Request, judges: Sequence[str], run: str) -> dict[str, str]:
    """Return what may be called next, by what it is for."""
    trust = {"trust": True} if any(":" in name for name in judges) else {}
    monitor = {"target": run, "fresh": "FRESH.csv"} | trust
    again = {"start": run, "data": "NEW.csv", "guard": "GUARD.csv", "directory": "runs/retrained"} | trust
    return {
        "later, on fresh problems: whether it got worse": request.spelled("monitor", monitor),
        "go on learning from new problems, and see what is forgotten": request.spelled("train", again),
    }
