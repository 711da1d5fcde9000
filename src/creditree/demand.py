"""What pieces need, before anything is sampled: the plan, the dry run and the limits of a step read it."""

from dataclasses import dataclass
from typing import Literal

from creditree.signals import NO_SIGNALS, Signals

Learns = Literal["everything", "early", "branching"]
"""Which tokens learn: all, those up to some offset, or those where completions part."""

ASSUMED_GROWTH = 4.0
"""What a schedule without a bound may multiply the configured number of problems by. Ours."""


@dataclass(frozen=True, slots=True)
class Branches:
    """Rounds of forks below each completion of the group: at `points` of its tree, `continuations` each."""

    points: int
    rounds: int
    continuations: int

    @property
    def each(self) -> int:
        """Completions that grow below one of the group."""
        return self.points * self.rounds * self.continuations


@dataclass(frozen=True, slots=True)
class Sampled:
    """Completions of one problem, at most: a `group` from the prompt, as many for each of `replays`, and `branches`.

    `signals`: what is asked of the group, and of all rounds of forks but the last;  `withheld`: trees of these that do
    not learn.
    """

    group: int
    replays: int = 0
    branches: Branches | None = None
    signals: Signals = NO_SIGNALS
    withheld: int = 0

    @property
    def trees(self) -> int:
        """Trees of one problem."""
        return 1 + self.replays

    @property
    def learning(self) -> int:
        """Trees of one problem that learn."""
        return self.trees - self.withheld

    @property
    def leaves(self) -> int:
        """Completions of one tree."""
        return self.group * (1 + (self.branches.each if self.branches else 0))


@dataclass(frozen=True, slots=True)
class Reach:
    """Of a completion, `chosen` tokens learn, all before offset `at_most`, and in the mean before `expected`."""

    chosen: int
    at_most: int
    expected: int


@dataclass(frozen=True, slots=True)
class Learned:
    """Which tokens learn, at most; `reach`: where they lie in a completion, if they are the early ones."""

    learns: Learns = "everything"
    reach: Reach | None = None

    @property
    def forwarded(self) -> str:
        """What an update forwards, in words."""
        if self.learns == "branching":
            return "the prompts and the ancestors of branching prefixes"
        if self.learns == "early":
            return "the prompts and each completion up to its last selected token, shared prefixes once"
        return "the prompts and all sampled tokens, shared prefixes once"

    def terms(self, trees: int, leaves: int, length: int) -> int:
        """Return the loss terms of some trees with `leaves` completions of `length` tokens each, at most.

        All tokens;  as many as learn of each completion;  or 2 (L - 1) pairs of a tree with L completions: a trie of L
        leaves has at most 2 (L - 1) nodes below branching ones.
        """
        tokens = trees * leaves * length
        if self.reach is not None:
            return min(tokens, trees * leaves * self.reach.chosen)
        return min(tokens, trees * 2 * (leaves - 1)) if self.learns == "branching" else tokens


@dataclass(frozen=True, slots=True)
class Problems:
    """How many problems a step has at most; `assumed`: a guess, where the schedule has no bound."""

    most: int
    assumed: bool = False
