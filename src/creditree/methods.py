"""Methods as compositions: one answer to each of the four questions. An ablation is a configuration, never a fork."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from creditree.credit.accepted import Accepted
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.credit.process import ProcessValue
from creditree.errors import ConfigError
from creditree.explore.attention import Attention
from creditree.explore.base import Explorer
from creditree.explore.entropy import Entropy
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.objective.base import Objective
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.log_likelihood import LogLikelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import Circumstances, Piece
from creditree.problem import Problem
from creditree.returned import Returned
from creditree.schedule.adaptive import Adaptive
from creditree.schedule.base import Schedule
from creditree.schedule.fixed import Fixed
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.constant_length import ConstantLength
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.signals import Signals
from creditree.steps import STEP_TEXTS, Separators

TOKEN_EFFICIENT_RL = "arXiv 2504.20834"
TREERL = "arXiv 2506.11902"
ATTNRL = "arXiv 2509.26628"
DR_GRPO = "arXiv 2503.20783"
RAFT = "arXiv 2304.06767"
DEEPSCALER = "DeepScaleR-1.5B-Preview (model card); arXiv 2509.26628, table 1"


AXES = ("explore", "credit", "select", "objective", "schedule")
"""The questions that a method answers, and what stands around them."""


@dataclass(frozen=True, slots=True)
class Method:
    """explore x credit x select x objective, and a schedule around them.

    `step_texts`: what ends a step, for pieces that look at steps (`creditree.steps`). Raises ConfigError for a cross
    that makes no sense, with the reason.
    """

    name: str
    paper: str
    explore: Explorer
    credit: Credit
    select: Selection
    objective: Objective
    schedule: Schedule = field(default_factory=Fixed)
    step_texts: tuple[str, ...] = STEP_TEXTS

    def __post_init__(self) -> None:
        check_cross(self.credit, self.select, self.objective)
        check_growth(self.explore, self.credit, self.schedule)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The answers, in the order of the questions."""
        return (self.explore, self.credit, self.select, self.objective, self.schedule)

    @property
    def label(self) -> str:
        """The name, and which pieces are others than the named method's: ``t-spmo + select=everything``."""
        named = METHODS[self.name]() if self.name in METHODS else self
        pairs = zip(AXES, self.pieces, named.pieces, strict=True)
        others = [f"{axis}={own.name}" for axis, own, old in pairs if type(own) is not type(old)]
        return " + ".join([self.name, *([", ".join(others)] if others else [])])

    @property
    def looks_at_steps(self) -> bool:
        """Whether a piece needs the tokenizer's separators."""
        return any(piece.looks_at_steps for piece in self.pieces)

    @property
    def signals(self) -> Signals:
        """What the engine is to tell of every sampled token, whatever the explorer asks for."""
        return self.select.signals

    def fitted(self, separators: Separators) -> "Method":
        """Return this method with the separators of the tokenizer at hand."""
        own = ((piece, piece.fitted(separators)) for piece in self.pieces)
        return replace(self, **{piece.axis: Returned(piece, "fitted", new).same_axis() for piece, new in own})

    def of_problems(self, problems: Sequence[Problem]) -> "Method":
        """Return this method with what its pieces take from columns of the training problems."""
        own = ((piece, piece.of_problems(problems)) for piece in self.pieces)
        return replace(self, **{piece.axis: Returned(piece, "of_problems", new).same_axis() for piece, new in own})

    def check(self, run: Circumstances) -> None:
        """Raise ConfigError where a piece makes no sense in such a run."""
        for piece in self.pieces:
            piece.check(run)


def check_cross(credit: Credit, select: Selection, objective: Objective) -> None:
    """Raise ConfigError where the pieces do not fit together."""
    if select.unique_pairs and not credit.per_pair:
        raise ConfigError(
            f"method.select '{select.name}' keeps each (prefix, token) pair once, but method.credit '{credit.name}' "
            "gives the completions that share a pair different advantages; use credit: prefix_gain, or select: "
            "everything."
        )
    if objective.weighs_by_probability and not select.unique_pairs:
        raise ConfigError(
            f"method.objective '{objective.name}' already weighs a token by its probability, and method.select "
            f"'{select.name}' counts it once for each completion that holds it, so it would be weighed twice; use "
            "objective: policy_gradient, or select: branching_pairs."
        )


def check_growth(explore: Explorer, credit: Credit, schedule: Schedule) -> None:
    """Raise ConfigError where credit or schedule need a tree that the explorer does not grow."""
    if credit.needs_forks is not None and not explore.forks:
        raise ConfigError(f"method.explore '{explore.name}' forks no completion, and {credit.needs_forks}.")
    if schedule.needs_influence is not None and explore.signals.influence is None:
        raise ConfigError(
            f"method.explore '{explore.name}' does not ask the engine for the influence of steps, and "
            f"{schedule.needs_influence}."
        )


def grpo() -> Method:
    """Full-token GRPO as the paper's baseline: group of 8, k3 penalty 0.01 (arXiv 2504.20834 section 3; 2402.03300)."""
    return Method("grpo", TOKEN_EFFICIENT_RL, Group(group=8), GroupRelative(), Everything(), PolicyGradient(kl=0.01))


def s_grpo() -> Method:
    """Stochastic GRPO: early tokens surely, later ones at random up to a cap (arXiv 2504.20834, section 3.1)."""
    return Method(
        "s-grpo", TOKEN_EFFICIENT_RL, Group(group=8), GroupRelative(), EarlyAndRandom(), PolicyGradient(kl=0.01)
    )


def t_spmo() -> Method:
    """Token-specific prefix matching: unique pairs, prefix gain, replay (arXiv 2504.20834, section 3.2), no penalty."""
    return Method("t-spmo", TOKEN_EFFICIENT_RL, Replay(group=50), PrefixGain(), BranchingPairs(), Likelihood())


def t_spmo_paper() -> Method:
    """T-SPMO as printed, with its L2 penalty 0.01 in the loss, which stopped all learning here (docs/LOG.md)."""
    objective = Likelihood(l2=0.01)
    return replace(t_spmo(), name="t-spmo-paper", objective=objective)


def treerl() -> Method:
    """TreeRL: a tree of (M, N, L, T) = (6, 2, 1, 2) grown where the model is unsure (arXiv 2506.11902).

    As AttnRL's paper compares with it: true entropy without masks, (GA + LA) / sqrt(L), all 30 leaves (2509.26628).
    TreeRL's own code: uncertainty surprisal, masked, root leave_one_out, weighting before, unfinished -1.
    """
    explore = Entropy(uncertainty="entropy", masked=False)
    return Method("treerl", TREERL, explore, ProcessValue(), Everything(loss_mean="tokens"), Clipped(), Fixed())


def attnrl() -> Method:
    """AttnRL as the code that made its results: branches at early steps of high influence, adaptive sampling."""
    explore = Attention(expansion="difficulty")
    return Method("attnrl", ATTNRL, explore, ProcessValue(), Everything(loss_mean="tokens"), Clipped(), Adaptive())


def attnrl_paper() -> Method:
    """AttnRL as printed: no least distance of branches, numbers rounded, every completion learns (arXiv 2509.26628).

    What the paper does not mention (scores of 0 for the first step and after the thinking, what to do with fewer
    candidates than branches) is as in `attnrl`.
    """
    explore = Attention(expansion="difficulty", rounding="round", min_gap=0)
    credit = ProcessValue(unexpanded="keep", value="children")
    schedule = Adaptive(zero_filter="all", batch_rounding="round")
    return Method("attnrl-paper", ATTNRL, explore, credit, Everything(loss_mean="tokens"), Clipped(), schedule)


def deepscaler() -> Method:
    """GRPO in stages of 8K, 16K and 24K tokens, from steps 0, 1040 and 1520 of 1750 on (DeepScaleR)."""
    schedule = Fixed(stages=((0, 8192), (1040, 16384), (1520, 24576)))
    return Method(
        "deepscaler", DEEPSCALER, Group(group=8), GroupRelative(), Everything(loss_mean="tokens"), Clipped(), schedule
    )


def dr_grpo() -> Method:
    """GRPO done right: no division by lengths or by the deviation of rewards, no KL penalty (arXiv 2503.20783)."""
    objective = Clipped(clip_high=0.2, kl=0.0)
    return Method("dr-grpo", DR_GRPO, Group(group=8), GroupRelative(std=False), ConstantLength(), objective)


def raft() -> Method:
    """Rejection sampling: the log-likelihood of what was right is raised, and nothing else (arXiv 2304.06767)."""
    return Method("raft", RAFT, Group(group=8), Accepted(), Everything(), LogLikelihood())


def supervised() -> Method:
    """What a warm start does: the update of `raft`, on given solutions in place of completions that were right."""
    return replace(raft(), name="supervised")


METHODS: dict[str, Callable[[], Method]] = {
    "grpo": grpo,
    "s-grpo": s_grpo,
    "t-spmo": t_spmo,
    "t-spmo-paper": t_spmo_paper,
    "treerl": treerl,
    "attnrl": attnrl,
    "attnrl-paper": attnrl_paper,
    "deepscaler": deepscaler,
    "dr-grpo": dr_grpo,
    "raft": raft,
}
"""The named methods, with the settings of their paper; T-SPMO without the penalty that stops it."""
UNSAID = "t-spmo"
"""The method of a door that asks for none."""
DEFAULT, BASELINE = "t-spmo", "grpo"
"""What is trained where no method is named, and what it is compared with."""
PRETRAINED = "s-grpo"
"""What a pretrained model is trained with where no method is named: of three on SVAMP (recipes/real) it gained most."""
REJECTION = "raft"
"""What is trained where a base solves next to nothing, without solutions to begin with."""
AS_PRINTED = frozenset({"t-spmo-paper", "treerl", "attnrl", "attnrl-paper", "deepscaler"})
"""Methods whose numbers are their paper's, whatever the model and the machine."""
