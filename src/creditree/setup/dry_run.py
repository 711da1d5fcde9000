"""What a run would do, said without loading the model or asking the network."""

from dataclasses import asdict
from typing import Any

from creditree.config.load import dump_config
from creditree.config.schema import RunConfig
from creditree.config.task import FunctionConfig, MixtureConfig
from creditree.models.architecture import note_of
from creditree.models.shapes import shape_of
from creditree.setup.build import build_lora, build_settings, build_task
from creditree.setup.choices import Choices, choices_text
from creditree.setup.described import method_record
from creditree.setup.grading import build_verifier, code_digest
from creditree.setup.problems import check_problems, warm_start_words
from creditree.verify.verifier import closing


def step_at_most(config: RunConfig) -> dict[str, Any]:
    """Return what one training step samples, forwards and trains, at most."""
    check_problems(config, offline=True)
    _check_functions(config)
    method, settings, lora = config.method.build(), build_settings(config), build_lora(config.lora)
    drawn = method.schedule.demand(settings.problems_per_step)
    problems, length = max(settings.problems_per_step, drawn.most), settings.longest_completion(method.schedule)
    sampled, learned = method.explore.demand(length), method.select.demand(length)
    warm = config.warm_start
    tokens = problems * method.explore.max_completions * length
    cost: dict[str, Any] = {
        "steps": settings.steps,
        **({"warm_start": warm.model_dump()} if warm.steps else {}),
        "problems": problems,
        "completions": problems * method.explore.max_completions,
        "sampled_tokens": tokens,
        "loss_terms": min(tokens, learned.terms(problems * sampled.learning, sampled.leaves, length)),
        "forwarded": learned.forwarded,
    }
    shape = shape_of(config.model.name)
    if shape is not None:
        everything = config.train.weights == "all"
        layers = tuple(range(shape.num_layers)) if everything else lora.layer_indices(shape.num_layers)
        cost["adapted_layers"] = list(layers)
        adapter = shape.lora_parameters(lora.rank, len(layers), lora.targets)
        cost["trained_parameters"] = shape.num_parameters if everything else adapter
        if shape.whole is not None:
            cost["note"] = note_of(config.model.name, shape.whole)
    return cost


def _check_functions(config: RunConfig) -> None:
    """Raise ConfigError or DataError where a function of the user's own is not there, or yields no problems."""
    tasks = [part.task for part in config.task.mixture] if isinstance(config.task, MixtureConfig) else [config.task]
    for task in tasks:
        if isinstance(task, FunctionConfig):
            build_task(task)
    if code_digest(config.reward) is not None:
        with closing(build_verifier(config.reward)):
            pass


def dry_run_record(config: RunConfig, choices: Choices = ()) -> dict[str, Any]:
    """Return the JSON form of a dry run."""
    return {
        "config": config.model_dump(mode="json") | {"method": config.method.resolved().model_dump(exclude_none=True)},
        "method": method_record(config.method.build()),
        "step_at_most": step_at_most(config),
        "chosen": [asdict(choice) for choice in choices],
    }


def dry_run_text(config: RunConfig, choices: Choices = ()) -> str:
    """Return the plain form of a dry run."""
    cost = step_at_most(config)
    layers = cost.get("adapted_layers")
    trained = cost.get("trained_parameters")
    problems = "1 problem" if cost["problems"] == 1 else f"{cost['problems']} problems"
    lines = [
        dump_config(config).rstrip(),
        "",
        *([choices_text(choices), ""] if choices else []),
        *([warm_start_words(config.warm_start), ""] if config.warm_start.steps else []),
        f"Each of {cost['steps']} steps, at most:",
        f"  samples   {cost['sampled_tokens']:,} tokens: {cost['completions']:,} completions of {problems}",
        "            (each prefix that completions share is decoded once)",
        f"  forwards  {cost['forwarded']}",
        f"  trains on {cost['loss_terms']:,} loss terms",
    ]
    if config.train.weights == "all":
        lines.append("  updates   all weights")
    elif layers is not None:
        size = "an adapter" if trained is None else f"{trained:,} numbers"
        lines.append(f"  updates   {size} in layers {layers[0]} to {layers[-1]} ({len(layers)} of the model's)")
    else:
        lines.append("  updates   an adapter (the model's shape is not known before it is loaded)")
    if "note" in cost:
        lines += ["", cost["note"]]
    return "\n".join(lines)
