"""Diagnoses of what learns: a rate out of proportion, an adapter that never moved, a policy that collapsed."""

from collections.abc import Sequence
from statistics import fmean

from creditree.doctor.case import Case, quarters
from creditree.doctor.completions import JudgedCompletion, by_step
from creditree.doctor.diagnosis import Diagnosis, quoted
from creditree.evaluate.power import LEVEL
from creditree.report.wording import p_value, points
from creditree.runs.attempts import Attempt
from creditree.setup.defaults import usual_rate
from creditree.train.no_update import Taught, nothing_learned

HIGH, LOW = 10.0, 1 / 300
"""Times the usual rate of a model of this size: above the first runs collapse, below the second nothing moves."""
LEAST_COMPARED = 10
"""Answers before and after that are compared."""
FEW_UPDATES, MORE_STEPS = 20, 10
"""After fewer updates unchanged answers are no wonder; so many times the steps are proposed."""
LEAST_STEPS, LEAST_KEPT = 8, 6
LEVEL_OF_FALL = 0.001
FELL = 0.5
"""Share of the reward that is left, below which a fall counts."""
SHARPER, BLURRED, LEAST_RISE = 0.1, 4.0, 0.3
"""Entropy, as a multiple of what it was, and by how many nats it has risen at least."""
WELL = 0.9
"""A mean reward from which on a sharp policy is what training is for."""


def learning_rate(case: Case) -> Diagnosis | None:
    """Is the learning rate out of proportion for a model of this size?"""
    config, shape = case.config, case.shape
    if config is None or shape is None or config.train.weights == "all":
        return None
    rate, usual = config.train.learning_rate, usual_rate(shape.num_parameters)
    times = rate / usual
    if LOW <= times < HIGH:
        return None
    high = times >= HIGH
    said = f"{times:.0f} times as high as" if high else f"{1 / times:,.0f} times lower than"
    effect = "such runs collapse within a few steps" if high else "the adapter hardly moves in a run of usual length"
    return Diagnosis(
        "learning_rate",
        "problem" if high else "note",
        f"train.learning_rate {rate:g} is {said} what adapters of models of this size learn with: {effect}.",
        {"learning_rate": rate, "usual": usual, "times": times, "parameters": shape.num_parameters},
        "Take the usual one, and tune from there (docs/defaults.md has its sources).",
        settings={"train.learning_rate": usual},
    )


def unmoved(case: Case) -> Diagnosis | None:
    """Has the adapter never moved, or so little that no answer changed?"""
    config, counts = case.config, case.counts
    has_ended = case.summary is not None
    if config is None or not case.steps or not (has_ended or len(case.steps) >= LEAST_STEPS):
        return None  # so early in a run nothing may have moved yet
    warm = sum(bool(record.get("warm_start")) for record in case.records)
    taught = Taught.of(case.records)
    reason = nothing_learned(counts, len(case.steps), config.sampling.max_new_tokens, taught, warm)
    if reason is not None or case.adapter_size == 0.0:
        return Diagnosis(
            "unmoved",
            "problem",
            reason or "The adapter is what it was at the beginning: its matrices B are zero.",
            {"updates": counts.updates, "steps": len(case.steps), "adapter_size": case.adapter_size},
            "See the other diagnoses for the cause; the first of them that is cured moves it.",
        )
    same, compared = _same_answers(case.base, case.trained)
    if compared < LEAST_COMPARED or same < compared:
        return None
    rate, higher = config.train.learning_rate, _usual_above(case)
    settings = {"train.steps": MORE_STEPS * config.train.steps} if higher is None else {"train.learning_rate": higher}
    return Diagnosis(
        "unmoved",
        "note" if higher is None and counts.updates < FEW_UPDATES else "problem",
        f"After {counts.updates:,} updates not one of {compared:,} answers has changed by a letter: the adapter has "
        "moved too little to matter.",
        {
            "updates": counts.updates,
            "same_answers": same,
            "compared": compared,
            "adapter_size": case.adapter_size,
            "learning_rate": rate,
        },
        "Train for more steps, or raise the learning rate."
        if higher is None
        else "Raise the learning rate to what is usual for this size.",
        settings=settings,
    )


def collapse(case: Case) -> Diagnosis | None:
    """Has the policy collapsed: has it unlearned what it could do?"""
    return _fallen(case) or _without_entropy(case)


def worse(case: Case) -> Diagnosis | None:
    """Is it worse after training than before, on the measured problems or on the guard set?"""
    if case.summary is None:
        return None
    change = case.summary.main.difference
    guard = case.summary.details.guard or {}
    guarded = bool(guard.get("worse"))
    fell = change.value < 0 and change.p_value < LEVEL
    if not fell and not guarded:
        return None
    text = (
        f"The model is worse after training than before: {points(change.value)} points on {change.n} problems "
        f"({p_value(change.p_value)})."
        if fell
        else f"What should not get worse did: {guard.get('conclusion', '')}"
    )
    return Diagnosis(
        "worse",
        "problem",
        text,
        {"difference": change.value, "p": change.p_value, "n": change.n, "guard_worse": guarded},
        "Lower the learning rate, keep the best adapter by validation (validation.every), or hold the policy near the "
        "base model (method.kl).",
        settings={"validation.every": 10} if fell else _lower(case),
    )


def _fallen(case: Case) -> Diagnosis | None:
    """Return the diagnosis of rewards that have fallen to less than half, beyond chance."""
    ends = quarters([record for record in case.steps if record.get("reward_mean") is not None], LEAST_STEPS)
    if ends is None:
        return None
    early, late = ([float(record["reward_mean"]) for record in part] for part in ends)
    before, after = fmean(early), fmean(late)
    if before <= 0 or after >= FELL * before:
        return None
    from scipy.stats import mannwhitneyu  # two thirds of a second, where only few runs have fallen

    p = float(mannwhitneyu(early, late, alternative="greater").pvalue)
    if p >= LEVEL_OF_FALL:
        return None
    ratio, _, _ = _entropy(case)
    moved = "" if ratio is None else f", and the entropy of its tokens is {ratio:.2g} times what it was"
    return Diagnosis(
        "collapse",
        "problem",
        f"The mean reward has fallen from {before:.2f} to {after:.2f} (first and last quarter of the steps){moved}: "
        "training unlearns what the model could do.",
        {"reward_before": before, "reward_after": after, "p": p, "entropy_ratio": ratio},
        "Lower the learning rate.",
        _last_text(case),
        _lower(case),
    )


def _without_entropy(case: Case) -> Diagnosis | None:
    """Return the diagnosis of an entropy that has gone, or exploded, without a gain."""
    ratio, entropies, rewards = _entropy(case)
    if ratio is None:
        return None
    (before, after), (old, new) = entropies, rewards
    sharp = ratio <= SHARPER and new < WELL
    blurred = ratio >= BLURRED and after - before >= LEAST_RISE and new <= old
    if not sharp and not blurred:
        return None
    text = "hardly anything but one text is sampled any more" if sharp else "it writes text at random"
    return Diagnosis(
        "collapse",
        "problem",
        f"The entropy of the policy has {'fallen' if sharp else 'risen'} from {before:.3f} to {after:.3f} nats a "
        f"token, and the mean reward went from {old:.2f} to {new:.2f}: {text}.",
        {"entropy_before": before, "entropy_after": after, "reward_before": old, "reward_after": new},
        "Lower the learning rate, or hold the entropy up (method.entropy_bonus).",
        _last_text(case),
        _lower(case),
    )


def _entropy(case: Case) -> tuple[float | None, tuple[float, float], tuple[float, float]]:
    """Return the entropy late as a multiple of that early, both, and the mean rewards, of the kept completions.

    Early and late are the first and last eighth of the kept steps, two of them at least: the first updates already
    decide. None: there are too few steps, or the engine told nothing.
    """
    steps = [
        own
        for own in by_step([completion for completion in case.completions if completion.in_group]).values()
        if any(completion.surprisal is not None for completion in own)
    ]
    if len(steps) < LEAST_KEPT:
        return None, (0.0, 0.0), (0.0, 0.0)
    size = max(2, len(steps) // 8)
    early = [completion for own in steps[:size] for completion in own]
    late = [completion for own in steps[-size:] for completion in own]
    before, after = _mean_surprisal(early), _mean_surprisal(late)
    ratio = after / before if before > 0 else None
    return ratio, (before, after), (_mean_reward(early), _mean_reward(late))


def _mean_surprisal(completions: Sequence[JudgedCompletion]) -> float:
    values = [completion.surprisal for completion in completions if completion.surprisal is not None]
    return fmean(values)


def _mean_reward(completions: Sequence[JudgedCompletion]) -> float:
    values = [completion.attempt.reward for completion in completions if completion.attempt.reward is not None]
    return fmean(values) if values else 0.0


def _same_answers(base: Sequence[Attempt], trained: Sequence[Attempt]) -> tuple[int, int]:
    """Return how many answers are the same before and after, to the letter, and how many were compared."""
    before = {(attempt.problem_id, attempt.index): attempt.text for attempt in base}
    after = {(attempt.problem_id, attempt.index): attempt.text for attempt in trained}
    both = before.keys() & after.keys()
    return sum(before[place] == after[place] for place in both), len(both)


def _usual_above(case: Case) -> float | None:
    """Return the usual learning rate of this size where the run's is far below it; None: it is not, or not known."""
    if case.shape is None or case.config is None:
        return None
    usual = usual_rate(case.shape.num_parameters)
    return usual if case.config.train.learning_rate < usual / 3 else None


def _lower(case: Case) -> dict[str, float]:
    if case.config is None:
        return {}
    rate = case.config.train.learning_rate
    usual = rate if case.shape is None else usual_rate(case.shape.num_parameters)
    return {"train.learning_rate": usual if rate > 3 * usual else float(f"{rate / 3:.2g}")}


def _last_text(case: Case) -> str:
    return quoted(case.completions[-1].attempt.text) if case.completions else ""
