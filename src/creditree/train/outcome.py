"""What came of a run: its summary and its report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.example import Example
from creditree.evaluate.legible import Counts
from creditree.ledger import Ledger
from creditree.problem import Problem, fingerprint
from creditree.report.curves import Series, plot_curves
from creditree.report.document import Code, Heading, to_markdown
from creditree.report.rewards import RewardChange
from creditree.report.singles import SingleChange, single_changes
from creditree.report.summary import Decoding, Summary, summary_markdown
from creditree.runs.directory import RunDirectory
from creditree.train.examination import first_example
from creditree.train.pace import eager_words
from creditree.train.settings import WarmStart
from creditree.train.trainer import Trainer

REPORT = "report.md"
CURVE = "reward.png"
SMOOTHED = 10
"""Steps that one point of the curve averages."""
Sides = Mapping[str, Evaluation]
"""What was measured, by decoding."""


def summary_of(trainer: Trainer, before: Sides, after: Sides) -> Summary:
    """Return the summary of a run that has ended; decodings without a judged pair are left out."""
    state, counts = trainer.state, trainer.state.ledger
    return Summary(
        method=trainer.parts.method.label,
        task=trainer.parts.task.name,
        decoding={name: Decoding.of(before[name].correct, found.correct) for name, found in after.items()},
        seconds={
            "total": trainer.elapsed_s,
            "train": state.seconds.training_wall,
            "train_cpu": state.seconds.training_cpu,
            **state.seconds.wall,
        },
        tokens={
            "sampled": counts.sampled,
            "decoded": counts.decoded,
            "unique_prefixes": counts.unique_prefixes,
            "forwarded": counts.forwarded,
            "in_loss": counts.in_loss,
        },
        extra=_more(trainer, after),
        rewards=_rewards(trainer, before, after),
        singles=_singles(trainer, before, after),
    )


def _more(trainer: Trainer, after: Sides) -> dict[str, object]:
    """Return what a summary holds besides the figures of every method and task."""
    state = trainer.state
    counts = state.ledger
    extra: dict[str, object] = {
        "steps": {
            "done": state.step,
            "updates": counts.updates,
            "no_signal": counts.no_signal,
            "skipped": counts.skipped,
        },
        "completions": {
            "sampled": counts.completions,
            "without_reward": counts.failed_verdicts,
            "truncated": counts.truncated,
            "unparsable": counts.unparsable,
            "timeouts": counts.timeouts,
            "crashes": counts.crashes,
        },
        "truncated": {name: found.num_truncated for name, found in after.items()},
        "statuses": {name: dict(found.statuses) for name, found in after.items()},
        "unjudged": {name: found.num_unjudged for name, found in after.items()},
        "mean_reward": {name: found.mean_reward for name, found in after.items()},
        "grading": trainer.parts.verifier.rules(),
        "first": first_example(trainer).to_json(),
        "notes": _notes(trainer),
        "data": _data(trainer),
        "texts": trainer.parts.model.texts.to_json() | {"chat": _asked(trainer)},
    }
    if trainer.parts.inputs is not None:
        extra["base_model"] = trainer.parts.inputs.base.to_json()
    warm = warm_start_record(trainer.settings.warm_start, trainer.run.metrics())
    if warm is not None:
        extra["warm_start"] = warm
    updates = 0 if warm is None else int(warm["updates"])
    own = max(0, trainer.settings.own_step(state.step))
    lesson = nothing_learned(counts, own, trainer.settings.max_new_tokens, updates)
    if lesson is not None:
        extra["nothing_learned"] = lesson
    slow = eager_words(counts)
    if slow is not None:
        extra["eager"] = slow
    if trainer.parts.start is not None:
        extra["start"] = trainer.parts.start.to_json()
    if state.best_reward is not None:
        extra["validation"] = {"best_reward": state.best_reward, "best_step": state.best_step}
    return extra


def warm_start_record(warm: WarmStart, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what the warm start did, and the loss (mean -log p a token, in nats) of its first and last step."""
    made = [record for record in metrics if record.get("warm_start")]
    if not made:
        return None
    return {
        "steps": len(made),
        "problems": warm.problems,
        "updates": made[-1]["updates"],
        "loss_first": made[0]["loss"],
        "loss_last": made[-1]["loss"],
    }


def nothing_learned(counts: Ledger, steps: int, max_new_tokens: int, warm_updates: int = 0) -> str | None:
    """Return why a run whose method made no update learned nothing, and what may help; None where it made one.

    `warm_updates`: of a warm start before it, of the counts.
    """
    if counts.updates > warm_updates:
        return None
    judged = counts.completions - counts.failed_verdicts
    trouble = Counts(counts.completions, counts.truncated, counts.unparsable).trouble()
    causes = (
        (counts.skipped > 0, "every update was left out, as told above", ""),
        (judged == 0, "no completion got a reward", ""),
        (
            trouble == "truncated",
            f"nearly all completions were cut off at {max_new_tokens:,} tokens",
            "raise sampling.max_new_tokens",
        ),
        (
            trouble == "unparsable",
            "in nearly no completion an answer was found",
            "look at the completions in rollouts/, and at task.prompt and reward",
        ),
        (
            counts.solved == judged,
            "every completion was right",
            "take harder problems: there is nothing to gain on these",
        ),
        (
            counts.worthless == judged,
            "every completion got the reward 0",
            "take easier problems or a stronger base model, and check that reward reads the answers",
        ),
        (
            True,
            "in each problem all completions got the same reward, or rewards that differ by next to nothing",
            "raise method.group or sampling.temperature, or take problems that are solved now and then",
        ),
    )
    cause, cure = next((cause, cure) for holds, cause, cure in causes if holds)
    left = "the warm start left" if warm_updates else "the run started from"
    return (
        f"Nothing was learned: in none of the {steps:,} steps there was an update (updates: 0), because {cause}; what "
        f"is saved is what {left}{f'. To learn, {cure}' if cure else ''}."
    )


def _rewards(trainer: Trainer, before: Sides, after: Sides) -> dict[str, RewardChange]:
    """Return the mean rewards by decoding, where rewards are not all 0 or 1."""
    key = trainer.key.at("reward")
    changes = {name: RewardChange.of(before[name], found, key.at(name)) for name, found in after.items()}
    return {name: change for name, change in changes.items() if change is not None}


def _singles(trainer: Trainer, before: Sides, after: Sides) -> dict[str, dict[str, SingleChange]]:
    """Return each of several rewards by decoding; nothing where there is one."""
    names = trainer.parts.verifier.singles
    return {name: single_changes(names, before[name], found) for name, found in after.items()} if names else {}


def _asked(trainer: Trainer) -> bool:
    """Return whether prompts were in the model's chat format."""
    parts = trainer.parts
    return parts.task.prompt.in_chat_format(parts.model.texts)


def _notes(trainer: Trainer) -> list[str]:
    settings = trainer.settings
    seen = settings.evaluation_split == "validation" and settings.validation.every > 0
    chosen = "The problems measured afterwards chose the adapter too (validation.every): it looks better than it is."
    return [*trainer.parts.task.notes, *([chosen] if seen else []), *trainer.run.notes]


def _data(trainer: Trainer) -> dict[str, object]:
    """Return which problems were measured and trained on; a set of training problems has one sha256 in any order."""
    measured, training = trainer.settings.measured(trainer.parts.task), training_problems(trainer)
    return {
        "split": trainer.settings.evaluation_split,
        "n": len(measured),
        "sha256": fingerprint(measured),
        "training_sha256": None if training is None else fingerprint(training),
    }


def training_problems(trainer: Trainer) -> list[Problem] | None:
    """Return all training problems, by id; None where they are generated without end."""
    task = trainer.parts.task
    if task.num_training is None:
        return None
    problems = (task.training(trainer.key.at("problems"), index) for index in range(task.num_training))
    return sorted(problems, key=lambda problem: problem.id)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def write_report(run: RunDirectory, summary: Summary) -> None:
    """Write the report, with the curve of the rewards."""
    records: list[dict[str, Any]] = [record for record in run.metrics() if _is_number(record.get("reward_mean"))]
    picture = ""
    if records:
        rewards = np.array([record["reward_mean"] for record in records])
        width = min(SMOOTHED, len(rewards))
        smooth = np.convolve(rewards, np.full(width, 1.0 / width), mode="valid")
        plot_curves(
            [Series(summary.method, [([record["step"] for record in records[width - 1 :]], smooth)])],
            run.path / CURVE,
            x_label="training step",
            y_label=f"mean reward of the sampled groups, last {width} steps",
            title=f"{summary.method} on {summary.task}",
        )
        picture = f"\n![reward by step]({CURVE})\n"
    first = summary.extra.get("first")
    run.write_text(REPORT, summary_markdown(summary) + picture + (_first(first) if isinstance(first, Mapping) else ""))


def _first(example: Mapping[str, Any]) -> str:
    blocks = Heading("The first prompt and completion, before training"), Code(str(Example.from_json(example)))
    return f"\n{to_markdown(blocks)}"
