"""Diagnoses of rewards that never vary, so that comparing completions teaches nothing, and of groups all alike."""

from statistics import median

from creditree.doctor.case import Case, mean_of, quarters
from creditree.doctor.completions import JudgedCompletion
from creditree.doctor.diagnosis import Diagnosis, Figure, quoted
from creditree.doctor.unread import is_unread
from creditree.evaluate.statistics import Estimate, wilson
from creditree.pilot.outlook import LITTLE_SIGNAL, NO_SIGNAL, SOLVED
from creditree.problem import CORRECT
from creditree.setup.defaults import TEMPERATURE

LEAST_GROUPS = 8
"""Groups from which on something is said of them: where none of so few is mixed, a third of all may be still."""
LATE = 8
"""Steps of a quarter of a run, from which on it is looked at alone."""
ALIKE = 8
"""A group is all alike where it has one different text for every so many completions, or one in all."""
HOTTEST = 1.0


def too_easy(case: Case) -> Diagnosis | None:
    """Is everything solved, from the beginning or since some time?"""
    judged, solved = case.judged, case.counts.solved
    mixed = mixed_share(case)
    if mixed is not None and judged and solved >= SOLVED * judged and mixed.value < LITTLE_SIGNAL:
        return Diagnosis(
            "too_easy",
            "problem",
            f"{solved:,} of {judged:,} completions are right: in groups that are all right every advantage is zero, "
            "and there is nothing to gain on these problems.",
            _mixed_figures(mixed) | {"solved": solved, "judged": judged},
            "Take harder problems.",
            _one_text(case),
        )
    ends = quarters(case.steps, LATE)
    if ends is None:
        return None
    late, reward = mean_of(ends[1], "mixed_share"), mean_of(ends[1], "reward_mean")
    if late is None or reward is None or late >= NO_SIGNAL or reward < SOLVED:
        return None
    return Diagnosis(
        "too_easy",
        "note",
        f"Nearly all is solved since step {ends[1][0]['step']} at the latest: what was sampled since taught nothing.",
        {"mixed_share": late, "reward_mean": reward, "steps": len(ends[1])},
        "Stop earlier, or go on with harder problems.",
        settings={"train.steps": int(ends[1][0]["step"])},
    )


def too_hard(case: Case) -> Diagnosis | None:
    """Does nothing earn anything, though it can be read?"""
    judged, worthless, mixed = case.judged, case.counts.worthless, mixed_share(case)
    if mixed is None or not judged or worthless < SOLVED * judged or mixed.value >= LITTLE_SIGNAL or is_unread(case):
        return None
    return Diagnosis(
        "too_hard",
        "problem" if mixed.value < NO_SIGNAL else "note",
        f"{worthless:,} of {judged:,} completions got the reward 0, and {mixed.value:.0%} of the groups hold different "
        "rewards: there is next to nothing to compare.",
        _mixed_figures(mixed) | {"worthless": worthless, "judged": judged},
        "Take easier problems or a stronger base model, begin with worked solutions (warm_start, or method.explore "
        "solution_prefix), or sample larger groups; and see by the example that reward reads the answers.",
        _one_text(case),
    )


def same_reward(case: Case) -> Diagnosis | None:
    """Do all completions of a problem get one reward, for another reason?"""
    mixed, counts = mixed_share(case), case.counts
    extreme = max(counts.solved, counts.worthless) >= SOLVED * case.judged
    if mixed is None or mixed.value >= NO_SIGNAL or extreme or is_unread(case) or alike(case) is not None:
        return None
    return Diagnosis(
        "same_reward",
        "problem",
        f"{mixed.value:.0%} of {mixed.n} groups hold different rewards: within a problem all completions are worth the "
        "same, so every advantage is zero.",
        _mixed_figures(mixed),
        "Take problems that are solved now and then, sample larger groups, or give a reward that tells answers apart.",
        _one_text(case),
        {} if case.config is None else {"sampling.temperature": warmer(case.config.sampling.temperature)},
    )


def duplicates(case: Case) -> Diagnosis | None:
    """Is the temperature too low for the group: are its completions copies of one?"""
    copies = alike(case)
    if copies is None or case.config is None:
        return None
    count, groups, distinct = copies
    temperature = case.config.sampling.temperature
    first = next(group for group in _early(case) if is_alike(group))
    remedy = (
        "Sample hotter; creditree pilot measures the best temperature."
        if temperature < HOTTEST
        else "The model is sure of itself at any temperature: take another base model, or other problems."
    )
    return Diagnosis(
        "duplicates",
        "problem",
        f"In {count} of {groups} groups whose completions are not all right, nearly all of them are the same text: at "
        f"the temperature {temperature:g} a group says no more than one completion.",
        {"alike": count, "groups": groups, "median_distinct": distinct, "temperature": temperature},
        remedy,
        f"{len(first)} completions of problem '{first[0].problem.id}': {quoted(first[0].attempt.text)}",
        {"sampling.temperature": warmer(temperature)} if temperature < HOTTEST else {},
    )


def alike(case: Case) -> tuple[int, int, float] | None:
    """Return how many groups are all alike, of how many, and the median number of different texts; None: not most.

    Groups that are all right do not count: they are what training is for. Nor do those of the second half of a run.
    """
    groups = [group for group in _early(case) if len(group) > 1 and not _is_solved(group)]
    count = sum(map(is_alike, groups))
    if len(groups) < LEAST_GROUPS or count < len(groups) / 2:
        return None
    return count, len(groups), median(len({c.attempt.text for c in group}) for group in groups)


def is_alike(group: tuple[JudgedCompletion, ...]) -> bool:
    """Return whether next to all completions of a group are the same text."""
    return len({completion.attempt.text for completion in group}) <= max(1, len(group) // ALIKE)


def mixed_share(case: Case) -> Estimate | None:
    """Return the share of groups with different rewards, of all steps; None where there are too few groups."""
    sampled = [(int(record.get("problems") or 0), float(record.get("mixed_share") or 0)) for record in case.steps]
    groups = sum(count for count, _ in sampled)
    if groups < LEAST_GROUPS:
        return None
    return wilson(round(sum(count * share for count, share in sampled)), groups)


def warmer(temperature: float) -> float:
    """Return a higher temperature: twice as high, at least what a real model is sampled at, at most 1."""
    return max(temperature, min(HOTTEST, max(TEMPERATURE, 2 * temperature)))


def _early(case: Case) -> list[tuple[JudgedCompletion, ...]]:
    last = case.steps[-1]["step"] if case.steps else 0
    return [group for group in case.groups if group[0].step <= max(LATE, last / 2)]


def _is_solved(group: tuple[JudgedCompletion, ...]) -> bool:
    return all(c.attempt.reward is not None and c.attempt.reward >= CORRECT for c in group)


def _mixed_figures(mixed: Estimate) -> dict[str, Figure]:
    return {"mixed_share": mixed.value, "groups": mixed.n, "mixed_at_most": mixed.interval.high}


def _one_text(case: Case) -> str:
    if not case.completions:
        return ""
    last = case.completions[-1]
    reward = "no reward" if last.attempt.reward is None else f"reward {last.attempt.reward:g}"
    return f"{quoted(last.attempt.text)} got {reward}; expected was {quoted(' or '.join(last.problem.answers))}"
