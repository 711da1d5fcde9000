"""What an evaluation says: as JSON for programs, as tables and sentences for readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.evaluate.averages import average, average_difference
from creditree.evaluate.scores import difference, majority_vote, scores
from creditree.evaluate.statistics import Interval
from creditree.problem import Problem
from creditree.report.rewards import NOTE as REWARD_NOTE
from creditree.report.rewards import RewardChange, num_graded, reward_estimate, reward_text
from creditree.report.wording import count, p_value, percent, percent_interval, points_interval, terminal_table
from creditree.rewards import SingleReward
from creditree.rng import Key

MEASURED, BASE = "measured", "base"
Sides = Mapping[str, Evaluation]
"""The evaluation of what is measured, and where something was trained, of its base."""


@dataclass(frozen=True, slots=True)
class Apart:
    """What is shown one by one: the rewards that rewards are a sum of, and the ids of problems of each task."""

    singles: tuple[str, ...] = ()
    tasks: Mapping[str, Sequence[str]] = field(default_factory=dict)


def decoding_entry(sides: Sides, ks: Sequence[int], key: Key, apart: Apart = Apart()) -> dict[str, Any]:
    """Return the figures under one way of decoding; ``base`` and ``difference`` where the base was measured too."""
    entry = _figures(sides[MEASURED], ks, key)
    for side, own in sides.items() if apart.singles else ():
        rewards = {name: reward.to_json() for name, reward in own.single_rewards(apart.singles).items()}
        entry.setdefault("single_rewards", {})[side] = rewards
    parts = {task: {side: own.only(ids) for side, own in sides.items()} for task, ids in apart.tasks.items()}
    judged = {task: own for task, own in parts.items() if all(evaluation.judged for evaluation in own.values())}
    if judged:
        entry["by_task"] = {task: _task_entry(own, key.at("task", task)) for task, own in judged.items()}
    if BASE in sides:
        entry["base"] = _figures(sides[BASE], ks, key)
        entry["difference"] = difference(sides[BASE], sides[MEASURED], key).to_json()
        change = RewardChange.of(sides[BASE], sides[MEASURED], key.at("reward"))
        if change is not None:
            entry["reward_change"] = change.to_json()
    return entry


def _task_entry(sides: Sides, key: Key) -> dict[str, Any]:
    """Return pass@1 of one task of a mixture, and its difference to the base."""
    entry = {"n": len(sides[MEASURED].attempts), "pass@1": scores(sides[MEASURED], (1,), key).passes[1].to_json()}
    if BASE not in sides:
        return entry
    base = {"pass@1": scores(sides[BASE], (1,), key).passes[1].to_json()}
    return entry | {"base": base, "difference": difference(sides[BASE], sides[MEASURED], key).to_json()}


def _figures(evaluation: Evaluation, ks: Sequence[int], key: Key) -> dict[str, Any]:
    measured, reward = scores(evaluation, ks, key), reward_estimate(evaluation, key.at("reward"))
    passes = {str(k): estimate.to_json() for k, estimate in measured.passes.items()}
    majorities = {str(k): estimate.to_json() for k, estimate in measured.majorities.items()}
    return {
        "pass@1": passes["1"],
        "pass@k": passes,
        "maj@k": majorities,
        **{f"pass@{k}": value for k, value in passes.items() if k != "1"},
        **{f"maj@{k}": value for k, value in majorities.items()},
        "mean_reward": None if reward is None else reward.to_json(),
        "graded": num_graded(evaluation),
        "completions": evaluation.num_completions,
        "truncated": evaluation.num_truncated,
        "truncation_rate": measured.truncation_rate,
        "tokens": evaluation.num_tokens,
        "tokens_per_solved": measured.tokens_per_solved,
        "statuses": dict(evaluation.statuses),
        "unjudged": evaluation.num_unjudged,
        "first_failure": evaluation.first_failure,
    }


def average_entry(parts: Sequence[Sides], key: Key) -> dict[str, Any]:
    """Return the unweighted average over sets of problems: pass@1, and the difference to the base."""
    own = [scores(sides[MEASURED], (1,), key) for sides in parts]
    entry: dict[str, Any] = {"pass@1": average([part.passes[1] for part in own]).to_json()}
    if all(BASE in sides for sides in parts):
        base = [scores(sides[BASE], (1,), key) for sides in parts]
        entry["base"] = {"pass@1": average([part.passes[1] for part in base]).to_json()}
        differences = [difference(sides[BASE], sides[MEASURED], key) for sides in parts]
        changes = [_changes(sides[BASE].share_correct, sides[MEASURED].share_correct) for sides in parts]
        entry["difference"] = average_difference(differences, changes, key).to_json()
    return entry


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[float]:
    return [value - before[name] for name, value in after.items() if name in before]


def problem_rows(task: str, decoding: str, sides: Sides, problems: Sequence[Problem]) -> list[dict[str, object]]:
    """Return one row a problem and side, as a saved evaluation keeps them."""
    return [
        {
            "task": task,
            "decoding": decoding,
            "side": side,
            "problem_id": problem.id,
            "digest": problem.digest,
            "completions": len(own),
            "correct": sum(map(is_correct, own)),
            "unjudged": sum(attempt.is_correct is None for attempt in own),
            "truncated": sum(attempt.truncated for attempt in own),
            "tokens": sum(attempt.num_tokens for attempt in own),
            "majority": majority_vote(own),
        }
        for side, evaluation in sides.items()
        for problem in problems
        for own in [evaluation.attempts[problem.id]]
    ]


def task_view(record: Mapping[str, Any]) -> RenderableType:
    """Return the record of one task for the terminal."""
    what = f"{record['target']} on {record['task']}, {record['split']} split, n = {record['n']}"
    header = ("decoding", "pass@1", "base", "difference", "p", "truncated")
    rows = [
        row
        for name, entry in record["decoding"].items()
        for row in (
            [name, *_accuracy(entry), f"{entry['truncated']} of {entry['completions']}"],
            *([f"{name}: {task}", *_accuracy(own), ""] for task, own in entry.get("by_task", {}).items()),
        )
    ]
    parts: list[RenderableType] = [terminal_table(f"{what}: pass@1 in % (95 % interval)", header, rows)]
    several = _several(record["decoding"])
    if several:
        parts.append(terminal_table("several completions of a problem", ("decoding", "k", "pass@k", "maj@k"), several))
    for name, entry in record["decoding"].items():
        solved = entry["tokens_per_solved"]
        cost = "none was solved" if solved is None else f"{count(solved)} tokens per solved problem"
        parts.append(Text(f"{name}: {cost}, {percent(entry['truncation_rate'])} % of the completions truncated"))
        parts += [Text(line) for line in (*_rewards(name, entry), *_singles(name, entry))]
        if entry["unjudged"]:
            missing = f"{entry['unjudged']} of {entry['completions']} completions got no reward and are left out"
            parts.append(Text(f"{name}: {missing}: {entry['first_failure']}"))
    parts += [Text(note) for note in record["notes"]]
    return Group(*parts)


def _rewards(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the mean reward in words, where accuracy does not say it all."""
    if not (entry["graded"] or entry.get("base", {}).get("graded")):
        return []
    if "reward_change" in entry:
        return [f"{name}: {RewardChange.from_json(entry['reward_change']).sentence()}. {REWARD_NOTE}"]
    reward = entry["mean_reward"]
    shown = reward_text(reward["value"], Interval(*reward["interval"]))
    return [f"{name}: mean reward {shown}, 95 % interval. {REWARD_NOTE}"]


def _singles(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the means of single rewards in words, where there are several."""
    sides = entry.get("single_rewards", {})
    said = {
        side: ", ".join(f"{single} {SingleReward.from_json(reward)}" for single, reward in rewards.items())
        for side, rewards in sides.items()
    }
    return [
        f"{name}: single rewards{'' if side == MEASURED else f' of the {side}'}: {text}" for side, text in said.items()
    ]


def suite_view(record: Mapping[str, Any]) -> RenderableType:
    """Return the record of a suite for the terminal: one row a set, and the average."""
    paired = all("difference" in entry for entry in record["average"].values())
    header = ("set", "n", "K", "truncated", "pass@1", *(("base", "difference", "p") if paired else ()))
    shown = 4 if paired else 1
    rows = []
    for decoding in record["average"]:
        for name, task in record["tasks"].items():
            entry = task["decoding"][decoding]
            samples, cut = str(entry["completions"] // task["n"]), percent(entry["truncation_rate"]) + " %"
            rows.append([name, str(task["n"]), samples, cut, *_accuracy(entry)[:shown]])
        rows.append(["average", "", "", "", *_accuracy(record["average"][decoding])[:shown]])
    title = f"{record['target']} on the suite {record['suite']}: pass@1 in % (95 % interval)"
    return terminal_table(f"{title}, {', '.join(record['average'])}", header, rows)


def _accuracy(entry: Mapping[str, Any]) -> list[str]:
    own = percent_interval(entry["pass@1"]["value"], Interval(*entry["pass@1"]["interval"]))
    if "difference" not in entry:
        return [own, "", "", ""]
    base, change = entry["base"]["pass@1"], entry["difference"]
    return [
        own,
        percent_interval(base["value"], Interval(*base["interval"])),
        points_interval(change["value"], Interval(*change["interval"])),
        p_value(change["p_value"]),
    ]


def _several(decodings: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, k, *(percent_interval(figure["value"], Interval(*figure["interval"])) for figure in pair)]
        for name, entry in decodings.items()
        for k, pair in ((k, (entry["pass@k"][k], entry["maj@k"][k])) for k in entry["pass@k"])
        if k != "1"
    ]
