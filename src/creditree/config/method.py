"""The `method` block of a configuration: a named method, any axis exchanged, any of its pieces' numbers set."""

from dataclasses import fields, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError, did_you_mean
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.methods import METHODS, Method
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.objective import L2Penalty
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything

Count = Annotated[int, Field(ge=0)]

PIECES: dict[str, dict[str, type[Any]]] = {
    "explore": {"group": Group, "replay": Replay},
    "credit": {"group_relative": GroupRelative, "prefix_gain": PrefixGain},
    "select": {"everything": Everything, "early_and_random": EarlyAndRandom, "branching_pairs": BranchingPairs},
    "objective": {"policy_gradient": PolicyGradient, "likelihood": Likelihood, "clipped": Clipped},
}
"""What each axis can be, by the names used in configurations."""


class MethodConfig(BaseModel):
    """A method by name. Whatever is left out is as the named method has it; what an axis does not use is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field("t-spmo", description="grpo, s-grpo or t-spmo")
    explore: str | None = Field(None, description="how the tree grows: group, replay")
    credit: str | None = Field(None, description="what each token was worth: group_relative, prefix_gain")
    select: str | None = Field(None, description="which tokens learn: everything, early_and_random, branching_pairs")
    objective: str | None = Field(None, description="what is maximised: policy_gradient, likelihood, clipped")
    group: int | None = Field(None, description="completions sampled from one root (>= 2)")
    successes: Count | None = Field(None, description="replay: successful completions re-sampled from a random cut")
    failures: Count | None = Field(None, description="replay: failed completions re-sampled from a random cut")
    threshold: float | None = Field(None, description="replay: reward from which a completion is a success")
    std: bool | None = Field(None, description="group_relative: divide by the standard deviation")
    eps: float | None = Field(None, description="group_relative: added to the standard deviation", gt=0)
    alpha: Count | None = Field(None, description="early_and_random: this many first tokens surely learn")
    probability: float | None = Field(None, description="early_and_random: chance of each later token, 0 to 1")
    k: Count | None = Field(None, description="early_and_random: no later token once so many are taken")
    loss_mean: Literal["completions", "tokens"] | None = Field(
        None, description="everything: mean over completions of means over tokens, or over all tokens of an update"
    )
    u_norm: Literal["branching", "all", "nonzero"] | None = Field(
        None, description="branching_pairs: which pairs |U| counts"
    )
    clip_low: float | None = Field(None, description="clipped: the ratio of old and new counts down to 1 - this")
    clip_high: float | None = Field(None, description="clipped: ... and up to 1 + this")
    dual_clip: float | None = Field(None, description="clipped: up to this where the advantage is negative (> 1)")
    kl: float | None = Field(None, description="coefficient of the k3 KL penalty against the base model")
    l2: float | None = Field(None, description="coefficient of the squared Frobenius norm of the LoRA matrices")
    l2_decoupled: bool | None = Field(None, description="apply l2 after the optimiser step instead of in the loss")
    loss_temperature: float | None = Field(None, description="the loss takes log-probabilities of logits / this")

    def build(self) -> Method:
        """Return the method. Raises ConfigError for unknown names, unused numbers and crosses that make no sense."""
        if self.name not in METHODS:
            raise ConfigError(f"method.name is '{self.name}', which is no method.{did_you_mean(self.name, METHODS)}")
        preset = METHODS[self.name]()
        given = {n: v for n, v in self.model_dump(exclude={"name", *PIECES}).items() if v is not None}
        used: set[str] = set()
        pieces = {axis: self._piece(axis, getattr(preset, axis), given, used) for axis in PIECES}
        for name in given:
            if name not in used:
                raise ConfigError(_unused(name, {axis: piece.name for axis, piece in pieces.items()}))
        changed = given or any(getattr(self, axis) for axis in PIECES)
        return Method(self.name, preset.paper, **pieces) if changed else preset

    def resolved(self) -> "MethodConfig":
        """Return this block with every axis and every number that it uses written out."""
        method = self.build()
        values: dict[str, Any] = {"name": self.name}
        for axis in PIECES:
            piece = getattr(method, axis)
            values[axis] = piece.name
            for item in fields(piece):
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
        own = {item.name for item in fields(kind)}
        shared = {item.name: getattr(piece, item.name) for item in fields(piece) if item.name in own}
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
        users = [piece for piece, kind in known.items() if name in {item.name for item in fields(kind)}]
        if users:
            return (
                f"method.{name} has no effect: it belongs to {axis} '{users[0]}', and {axis} is '{chosen[axis]}'; "
                f"remove it, or set method.{axis}: {users[0]}."
            )
    return f"method.{name} has no effect; remove it."
