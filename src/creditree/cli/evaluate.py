"""`creditree eval`: a run, an adapter or a plain model on held-out problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from creditree.cli.output import console, print_json, quiet_libraries
from creditree.config.build import build_task
from creditree.config.load import check_config, parse_config
from creditree.config.overrides import apply_overrides
from creditree.config.reward import build_verifier
from creditree.config.schema import RunConfig
from creditree.config.workload import rows_of
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError, ModelError, did_you_mean
from creditree.evaluate.accuracy import Evaluation, Examiner
from creditree.evaluate.statistics import (
    Estimate,
    Interval,
    bootstrap_mean,
    paired_difference,
    paired_mean_difference,
    wilson,
)
from creditree.models.adapter import saved_spec
from creditree.models.load import load_model
from creditree.models.trained import Trained, load_trained
from creditree.problem import Problem
from creditree.report.wording import decoding_name, p_value, percent_interval, points_interval, terminal_table
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.tasks.split import Split
from creditree.verify.verifier import closing


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What the command line asked for."""

    target: str
    task: str | None
    problems: int
    temperatures: tuple[float, ...]
    samples: int
    max_new_tokens: int | None
    split: str


@dataclass(frozen=True, slots=True)
class _Target:
    """What is measured: the configuration that says model, task and reward, and what was trained, or None."""

    config: RunConfig
    trained: Path | None


def eval_command(options: EvalOptions, *, as_json: bool, overrides: Sequence[str]) -> None:
    """Measure the target, and where a run trained it, its base too, on the same problems and random numbers."""
    quiet_libraries()
    if options.split not in get_args(Split):
        raise ConfigError(f"--split is '{options.split}'.{did_you_mean(options.split, get_args(Split))}")
    target = _target(options, overrides)
    config = target.config
    task = build_task(config.task)
    problems = task.held_out(options.split, options.problems)  # type: ignore[arg-type]
    model = load_model(config.model.name, config.model.dtype, config.model.device)
    trained = None if target.trained is None else load_trained(model, target.trained)
    limit = options.max_new_tokens or config.sampling.max_new_tokens
    key = Key.of(config.seed)
    engine = InProcessEngine(model, rows_of(config))
    with closing(build_verifier(config.reward)) as verifier:
        examiner = Examiner(model, engine, verifier, task.prompt, limit, key)
        decodings = _measured(examiner, problems, options, config.sampling.top_p, trained)
    record: dict[str, Any] = {"target": options.target, "task": task.name, "split": options.split, "n": len(problems)}
    first = next(iter(decodings.values()))
    record |= {name: value for name, value in first.items()} | {"decoding": decodings}
    if as_json:
        print_json(record)
    else:
        _print(record)


def _measured(
    examiner: Examiner, problems: Sequence[Problem], options: EvalOptions, top_p: float, trained: Trained | None
) -> dict[str, Any]:
    decodings: dict[str, Any] = {}
    for temperature in options.temperatures:
        samples = 1 if temperature == 0 else options.samples
        sampling = Sampling(temperature, top_p)
        found = examiner.evaluate(problems, sampling, samples)
        base = None
        if trained is not None:
            with trained.off():
                base = examiner.evaluate(problems, sampling, samples)
        decodings[decoding_name(temperature)] = _decoding(found, base, examiner.key)
    return decodings


def _decoding(found: Evaluation, base: Evaluation | None, key: Key) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "pass@1": _estimate(pass_at_1(found, key)),
        "completions": found.num_completions,
        "truncated": found.num_truncated,
        "tokens": found.num_tokens,
        "statuses": dict(found.statuses),
    }
    if base is None:
        return entry
    single = found.num_completions == len(found.rewards)
    if single:
        change = paired_difference(list(base.correct.values()), list(found.correct.values()))
    else:
        change = paired_mean_difference(
            list(base.share_correct.values()), list(found.share_correct.values()), key.at("difference")
        )
    entry["base"] = {"pass@1": _estimate(pass_at_1(base, key))}
    entry["difference"] = {
        "value": change.value,
        "interval": [change.interval.low, change.interval.high],
        "p_value": change.p_value,
    }
    return entry


def pass_at_1(found: Evaluation, key: Key) -> Estimate:
    """Return pass@1: Wilson's interval for one completion a problem, a bootstrap over problems for several."""
    if found.num_completions == len(found.rewards):
        return wilson(sum(found.correct.values()), len(found.rewards))
    return bootstrap_mean(list(found.share_correct.values()), key.at("interval"))


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.interval.low, estimate.interval.high]}


def _target(options: EvalOptions, overrides: Sequence[str]) -> _Target:
    path = Path(options.target)
    if (path / "config.yaml").is_file():
        run = RunDirectory.read(path)
        if not run.trained.is_dir():
            raise ModelError(f"run '{path}' has no adapter yet: it has not ended; continue it with --resume first.")
        values = yaml.safe_load(run.config_yaml)
        if options.task is not None:
            values |= _task_block(options.task)
        return _Target(_checked(values, str(path), overrides), run.trained)
    if options.task is None:
        raise ConfigError(
            f"'{options.target}' is no run directory, so its task is not known; add --task NAME or --task FILE.yaml."
        )
    is_adapter = (path / "adapter_config.json").is_file()
    name = saved_spec(path)[0] if is_adapter else options.target
    values = {"sampling": {"max_new_tokens": 300 if options.max_new_tokens is None else options.max_new_tokens}}
    values |= _task_block(options.task) | {"model": {"name": name}}
    return _Target(_checked(values, options.target, overrides), path if is_adapter else None)


def _task_block(task: str) -> dict[str, Any]:
    """Return the task (and reward) of a YAML file, or of a bare name."""
    if not task.endswith((".yaml", ".yml")):
        return {"task": {"name": task}}
    try:
        text = Path(task).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"--task '{task}' cannot be read ({reason}); give a task's name or a YAML file.") from None
    config = parse_config(text, task)
    return {"task": config.task.model_dump(mode="json"), "reward": config.reward.written}


def _checked(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> RunConfig:
    return check_config(apply_overrides(dict(values), overrides), where)


def _print(record: Mapping[str, Any]) -> None:
    rows = []
    for name, entry in record["decoding"].items():
        base = [_percent(entry["base"]["pass@1"]), _points(entry["difference"])] if "base" in entry else ["", ""]
        p = p_value(entry["difference"]["p_value"]) if "difference" in entry else ""
        rows.append([name, _percent(entry["pass@1"]), *base, p, f"{entry['truncated']} of {entry['completions']}"])
    what = f"{record['target']} on {record['task']}, {record['split']} split, n = {record['n']}"
    title = f"{what}: pass@1 in % (95 % interval)"
    console().print(terminal_table(title, ("decoding", "pass@1", "base", "difference", "p", "truncated"), rows))


def _percent(entry: Mapping[str, Any]) -> str:
    return percent_interval(entry["value"], Interval(*entry["interval"]))


def _points(entry: Mapping[str, Any]) -> str:
    return points_interval(entry["value"], Interval(*entry["interval"]))
