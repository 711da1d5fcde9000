"""Successive halving: which of the trials that were compared at equal tokens go on (arXiv 1502.07943, 1603.06560)."""

from collections import Counter
from collections.abc import Sequence

from creditree.config.search import Trial


def ranked(trials: Sequence[Trial], rewards: Sequence[float | None]) -> list[Trial]:
    """Return the trials with the highest reward first, equals in their order; those without one are left out."""
    pairs = [(reward, trial) for trial, reward in zip(trials, rewards, strict=True) if reward is not None]
    return [trial for _, trial in sorted(pairs, key=lambda pair: -pair[0])]


def survivors(best_first: Sequence[Trial], slots: int, baseline: str | None) -> list[Trial]:
    """Return the best `slots` trials, with as many of the baseline's as of the composition that keeps the most.

    So what is found is not found because the baseline was tried with fewer settings: while another composition has
    more, the worst trial that is not the baseline's gives its place to the baseline's next best. At least one place is
    another composition's. Without a baseline: the best `slots`.
    """
    chosen, rest = list(best_first[:slots]), list(best_first[slots:])
    if baseline is None:
        return chosen
    waiting = [trial for trial in rest if trial.composition == baseline]
    others = [trial for trial in chosen if trial.composition != baseline]
    if not others:
        return [*chosen[: slots - 1], *[trial for trial in rest if trial.composition != baseline][:1]]
    while waiting and len(others) > 1 and len(chosen) - len(others) < _most(others):
        worst = others.pop().name
        chosen = [trial for trial in chosen if trial.name != worst] + [waiting.pop(0)]
    names = {trial.name for trial in chosen}
    return [trial for trial in best_first if trial.name in names]


def _most(trials: Sequence[Trial]) -> int:
    return max(Counter(trial.composition for trial in trials).values())
