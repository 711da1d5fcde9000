"""The `method` block of a configuration: a named method, any axis exchanged, any of its pieces' numbers set."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from creditree.config.block import Block, Real, Whole
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.credit.process import ProcessValue
from creditree.errors import ConfigError, did_you_mean
from creditree.explore.attention import Attention
from creditree.explore.attention_replay import AttentionReplay
from creditree.explore.baselines import FirstSteps, RandomBranching
from creditree.explore.entropy import Entropy
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.methods import METHODS, Method, numbers_of
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.base import L2Penalty
from creditree.objective.policy_gradient import PolicyGradient
from creditree.schedule.adaptive import Adaptive
from creditree.schedule.dynamic import Dynamic
from creditree.schedule.fixed import Fixed
from creditree.select.adapter_residual import AdapterResidual
from creditree.select.auto import Auto
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.select.low_probability import LowProbability
from creditree.select.prefix_cut import PrefixCut
from creditree.select.top_entropy import TopEntropy

Count = Annotated[Whole, Field(ge=0)]

PIECES: dict[str, dict[str, type[Any]]] = {
    "explore": {
        piece.name: piece for piece in (Group, Replay, AttentionReplay, Entropy, Attention, RandomBranching, FirstSteps)
    },
    "credit": {"group_relative": GroupRelative, "prefix_gain": PrefixGain, "process_value": ProcessValue},
    "select": {
        piece.name: piece
        for piece in (
            Everything,
            EarlyAndRandom,
            BranchingPairs,
            TopEntropy,
            LowProbability,
            PrefixCut,
            AdapterResidual,
            Auto,
        )
    },
    "objective": {"policy_gradient": PolicyGradient, "likelihood": Likelihood, "clipped": Clipped},
    "schedule": {"fixed": Fixed, "adaptive": Adaptive, "dynamic": Dynamic},
}
"""What each axis can be, by the names used in configurations."""


class MethodConfig(Block):
    """A method by name. Whatever is left out is as the named method has it; what an axis does not use is refused."""

    name: str = Field("t-spmo", description=", ".join(METHODS))
    explore: str | None = Field(None, description="how the tree grows: " + ", ".join(PIECES["explore"]))
    credit: str | None = Field(None, description="what each token was worth: " + ", ".join(PIECES["credit"]))
    select: str | None = Field(None, description="which tokens learn: " + ", ".join(PIECES["select"]))
    objective: str | None = Field(None, description="what is maximised: " + ", ".join(PIECES["objective"]))
    schedule: str | None = Field(
        None, description="which problems are drawn and kept: " + ", ".join(PIECES["schedule"])
    )
    step_texts: list[str] | None = Field(None, description="what ends a step: the first of these that occurs")
    group: Whole | None = Field(None, description="completions sampled from one root (>= 2)")
    successes: Count | None = Field(None, description="replay: successful completions re-sampled from a random cut")
    failures: Count | None = Field(None, description="replay: failed completions re-sampled from a random cut")
    threshold: Real | None = Field(None, description="reward from which a completion is a success")
    points: Whole | None = Field(None, description="branching: points to fork at, a round and chain")
    rounds: Whole | None = Field(None, description="branching: rounds of forks")
    continuations: Whole | None = Field(None, description="branching: new completions from each point")
    expansion: Literal["all", "difficulty"] | None = Field(None, description="branching: chains that are forked")
    rounding: Literal["ceil", "round"] | None = Field(None, description="branching: chains by difficulty, to a whole")
    of_all_correct: Literal["first", "random"] | None = Field(
        None, description="branching: which chains of a problem whose first completions are all correct"
    )
    uncertainty: Literal["surprisal", "entropy"] | None = Field(None, description="entropy: what is uncertain")
    masked: bool | None = Field(None, description="entropy: nothing is forked after what announces the answer")
    first_token: bool | None = Field(None, description="entropy: the first token of a completion may be forked")
    unit: Literal["token", "step"] | None = Field(None, description="random_branching: where a fork may be")
    quantile: Real | None = Field(
        None, description="attention, attention_replay: steps of this quantile of influence or above"
    )
    min_gap: Count | None = Field(None, description="attention: tokens between points, and before the first")
    gap_from: Literal["prompt", "response"] | None = Field(None, description="attention: where the first gap starts")
    quantile_over: Literal["steps", "eligible"] | None = Field(
        None, description="attention: quantile over all steps, those of no influence included, or eligible ones"
    )
    fallback: Literal["first_steps", "relax"] | None = Field(None, description="attention: with too few candidates")
    delta: Whole | None = Field(
        None, description="attention, attention_replay: a step counts from so many steps after it"
    )
    influence_layers: tuple[Whole, ...] | None = Field(
        None, description="attention, attention_replay: layers to look at; none: all"
    )
    influence_heads: tuple[Whole, ...] | None = Field(
        None, description="attention, attention_replay: heads to look at; none: all"
    )
    influence_source: Literal["pass", "decoding"] | None = Field(
        None,
        description="attention, attention_replay: a forward pass over completions, or the attention of decoding itself",
    )
    std: bool | None = Field(None, description="group_relative: divide by the standard deviation")
    eps: Real | None = Field(None, description="group_relative: added to the standard deviation", gt=0)
    value: Literal["leaves", "children"] | None = Field(
        None, description="process_value: a segment's value is the mean of"
    )
    root: Literal["mean", "leave_one_out"] | None = Field(None, description="process_value: what leaves compare with")
    weighting: Literal["after", "before"] | None = Field(
        None, description="process_value: 1 / sqrt(leaves) after the differences, or before"
    )
    unexpanded: Literal["drop", "keep"] | None = Field(
        None, description="process_value: whether completions that nothing forks from learn"
    )
    unfinished: Real | None = Field(None, description="process_value: advantage of completions without an end")
    merged: bool | None = Field(None, description="process_value: segments of completions merged by their tokens")
    match: Literal["exact", "text", "hidden"] | None = Field(
        None, description="prefix_gain: prefixes are one where their tokens, normalised texts or hidden states agree"
    )
    similarity: Real | None = Field(None, description="prefix_gain, match hidden: ... from this cosine on")
    alpha: Count | None = Field(None, description="early_and_random: this many first tokens surely learn")
    probability: Real | None = Field(None, description="early_and_random: chance of each later token, 0 to 1")
    k: Count | None = Field(None, description="early_and_random: no later token once so many are taken")
    reweight: Literal["none", "horvitz_thompson"] | None = Field(
        None, description="early_and_random: divide by the chance that a token is taken, which makes it unbiased"
    )
    q: Real | None = Field(None, description="top_entropy, adapter_residual: share of the tokens that learns")
    probability_below: Real | None = Field(
        None, description="low_probability: tokens learn that were sampled with a probability below this"
    )
    min_cut: Whole | None = Field(None, description="prefix_cut: at least so many first tokens learn (>= 1)")
    budget: Real | None = Field(None, description="auto: share of the tokens that learns, in the mean")
    allocation: Literal["positions", "tokens"] | None = Field(
        None, description="auto: choose alpha and P, or a chance for each token"
    )
    penalty_on: Literal["selected", "all"] | None = Field(
        None, description="top_entropy, low_probability, adapter_residual: tokens that a KL penalty acts on"
    )
    loss_mean: Literal["completions", "tokens"] | None = Field(
        None,
        description="everything, and all but early_and_random and branching_pairs: mean over completions of means over "
        "tokens, or over all tokens of an update",
    )
    u_norm: Literal["branching", "all", "nonzero"] | None = Field(
        None, description="branching_pairs: which pairs |U| counts"
    )
    clip_low: Real | None = Field(None, description="clipped: the ratio of old and new counts down to 1 - this")
    clip_high: Real | None = Field(None, description="clipped: ... and up to 1 + this")
    dual_clip: Real | None = Field(None, description="clipped: up to this where the advantage is negative (> 1)")
    kl: Real | None = Field(None, description="coefficient of the k3 KL penalty against the base model")
    kl_ratio: bool | None = Field(
        None, description="policy_gradient, clipped: k3 times the ratio of new and old policy, gradient included"
    )
    l2: Real | None = Field(None, description="coefficient of the squared Frobenius norm of the LoRA matrices")
    l2_decoupled: bool | None = Field(None, description="apply l2 after the optimiser step instead of in the loss")
    loss_temperature: Real | None = Field(None, description="the loss takes log-probabilities of logits / this")
    stages: tuple[tuple[Whole, Whole], ...] | None = Field(
        None, description="lengths [step, tokens]: from a step on, sampling.max_new_tokens is so many"
    )
    off_policy: bool | None = Field(
        None, description="first completions of the next problems are sampled beside the branches of these"
    )
    easy_filter: Literal["influence", "hard", "none"] | None = Field(
        None, description="adaptive: which problems with only correct first completions are not expanded"
    )
    influence_decay: Real | None = Field(None, description="adaptive: of the running mean; none: the mean of all")
    zero_filter: Literal["forked", "all", "none"] | None = Field(
        None, description="adaptive: problems are dropped whose completions (those that were forked) have one reward"
    )
    rows_per_problem: Whole | None = Field(
        None, description="adaptive: completions to train on, a configured problem; none: all of a tree"
    )
    batch_decay: Real | None = Field(None, description="adaptive: inertia of the number of problems; 1: fixed")
    batch_rounding: Literal["ceil", "round"] | None = Field(
        None, description="adaptive: number of problems, to a whole"
    )
    batch_least: Real | None = Field(
        None, description="adaptive: at least this times train.problems_per_step; none: no bound"
    )
    batch_most: Real | None = Field(
        None, description="adaptive: at most this times train.problems_per_step; none: no bound"
    )
    draw_limit: Real | None = Field(None, description="dynamic: draw at most this times train.problems_per_step")

    def build(self) -> Method:
        """Return the method. Raises ConfigError for unknown names, unused numbers and crosses that make no sense."""
        if self.name not in METHODS:
            raise ConfigError(f"method.name is '{self.name}', which is no method.{did_you_mean(self.name, METHODS)}")
        preset = METHODS[self.name]()
        given = {n: v for n, v in self.model_dump(exclude={"name", "step_texts", *PIECES}).items() if v is not None}
        used: set[str] = set()
        pieces = {axis: self._piece(axis, getattr(preset, axis), given, used) for axis in PIECES}
        for name in given:
            if name not in used:
                raise ConfigError(_unused(name, {axis: piece.name for axis, piece in pieces.items()}))
        texts = preset.step_texts if self.step_texts is None else tuple(self.step_texts)
        if self.step_texts is not None and (not texts or not all(texts)):
            raise ConfigError("method.step_texts names no text, or an empty one; set one or more, such as ['\\n'].")
        return Method(self.name, preset.paper, **pieces, step_texts=texts)

    def resolved(self) -> "MethodConfig":
        """Return this block with every axis and every number that it uses written out."""
        method = self.build()
        values: dict[str, Any] = {"name": self.name}
        if method.looks_at_steps:
            values["step_texts"] = list(method.step_texts)
        for axis in PIECES:
            piece = getattr(method, axis)
            values[axis] = piece.name
            for item in numbers_of(piece):
                value = getattr(piece, item.name)
                if isinstance(value, L2Penalty):
                    values |= {"l2": value.coefficient, "l2_decoupled": value.decoupled}
                else:
                    values[item.name] = value
        return MethodConfig(**values)

    def _piece(self, axis: str, piece: Any, given: dict[str, Any], used: set[str]) -> Any:
        chosen = getattr(self, axis) or piece.name
        known = PIECES[axis]
        if chosen not in known:
            raise ConfigError(f"method.{axis} is '{chosen}', which is no answer to it.{did_you_mean(chosen, known)}")
        kind = known[chosen]
        own = {item.name for item in numbers_of(kind)}
        shared = {item.name: getattr(piece, item.name) for item in numbers_of(piece) if item.name in own}
        numbers = shared | {name: value for name, value in given.items() if name in own and name != "l2"}
        if "l2" in own:
            old: L2Penalty = shared["l2"]
            numbers["l2"] = replace(
                old,
                coefficient=given.get("l2", old.coefficient),
                decoupled=given.get("l2_decoupled", old.decoupled),
            )
            used.update({"l2", "l2_decoupled"})
        used.update(own)
        return kind(**numbers)


def _unused(name: str, chosen: dict[str, str]) -> str:
    for axis, known in PIECES.items():
        users = [piece for piece, kind in known.items() if name in {item.name for item in numbers_of(kind)}]
        if users:
            return (
                f"method.{name} has no effect: it belongs to {axis} '{users[0]}', and {axis} is '{chosen[axis]}'; "
                f"remove it, or set method.{axis}: {users[0]}."
            )
    return f"method.{name} has no effect; remove it."
