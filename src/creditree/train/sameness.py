"""Groups whose completions all get one reward: nothing is learned from them, which a run says while it goes on."""

from dataclasses import dataclass, field

from creditree.evaluate.statistics import wilson
from creditree.ledger import Ledger

EASIER = "take easier problems or a stronger base model, and check that reward reads the answers"
HARDER = "take harder problems: there is nothing to gain on these"
VARIED = "raise method.group or sampling.temperature, or take problems that are solved now and then"
FEWEST_GROUPS = 32
RARE, AT_MOST = 0.1, 0.2
"""Share of groups with different rewards, and the upper end of its 95 % interval, below which a run is told of it."""
NEARLY_ALL = 0.97
"""Share of the completions with one reward, 0 or full, that counts as nearly all."""


@dataclass(slots=True)
class Sameness:
    """What a process saw of its groups so far.

    `mixed`: groups with different rewards;  `idle`: steps without any advantage. Some methods learn from groups
    without a difference: nothing is said while more than half of the steps have one.
    """

    groups: int = 0
    mixed: int = 0
    steps: int = 0
    idle: int = 0
    counts: Ledger = field(default_factory=Ledger)
    is_told: bool = False

    def take(self, groups: int, mixed_share: float, useful_share: float, cost: Ledger) -> str | None:
        """Take a step; return a sentence once, where next to nothing is learned from what is sampled.

        `mixed_share`: of its groups;  `useful_share`: of its tokens, those with an advantage.
        """
        self.groups += groups
        self.mixed += round(groups * mixed_share)
        self.steps += 1
        self.idle += useful_share == 0.0
        self.counts.add(cost)
        if self.is_told or self.groups < FEWEST_GROUPS or 2 * self.idle < self.steps:
            return None
        share = wilson(self.mixed, self.groups)
        if share.value > RARE or share.interval.high > AT_MOST:
            return None
        self.is_told = True
        return (
            f"in {self.groups - self.mixed:,} of {self.groups:,} groups all completions got the same reward "
            f"({self.counts.solved:,} of {self.counts.completions:,} completions were right), and {self.idle:,} of "
            f"{self.steps:,} steps had nothing to learn from. To learn, {self._cure()}."
        )

    def _cure(self) -> str:
        judged = self.counts.completions - self.counts.failed_verdicts
        if self.counts.worthless >= NEARLY_ALL * judged:
            return EASIER
        return HARDER if self.counts.solved >= NEARLY_ALL * judged else VARIED
