"""Every explorer x credit x selection x objective: a training step equal to the plain one, or refused when read."""

import zlib
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
import torch

from creditree.config.load import parse_config
from creditree.config.method import MethodConfig
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.ledger import Seconds
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.trained import Trained
from creditree.pieces import PIECES
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.task import PromptTemplate
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts
from creditree.verify.verifier import Answer, Verifier
from tests.naive import naive_loss
from tests.rollouts import DigitParity, largest_gap, train_step
from tests.tiny_models import tiny

AXES = ("explore", "credit", "select", "objective")
EXPLORERS = ("group", "replay", "entropy", "attention")
"""Random and first-step branching grow the same kind of tree as the last two."""
OF_PAPERS = {
    "credit": ("prefix_gain", "process_value", "group_relative"),
    "select": (
        "branching_pairs", "everything", "early_and_random", "top_entropy", "low_probability", "prefix_cut",
        "adapter_residual", "auto",
    ),
    "objective": ("likelihood", "clipped", "policy_gradient"),
}  # fmt: skip
"""The pieces whose crosses are all tried; any other meets each of them, and each other, at least once."""
ALL = list(product(EXPLORERS, *(PIECES[axis] for axis in AXES[1:])))
CROSSES = [cross for cross in ALL if all(cross[place] in OF_PAPERS[axis] for place, axis in enumerate(AXES) if place)]
NUMBERS: dict[str, dict[str, object]] = {
    "attention": {"min_gap": 1, "points": 1},
    "process_value": {"unexpanded": "keep"},
    "replay": {"successes": 1, "failures": 1},
    "group_relative": {"std": True},
    "early_and_random": {"alpha": 2, "probability": 0.5, "k": 4, "reweight": "none"},
    "top_entropy": {"q": 0.5},
    "low_probability": {"probability_below": 0.6},
    "prefix_cut": {"min_cut": 2},
    "adapter_residual": {"q": 0.5},
    "auto": {"budget": 0.6, "allocation": "tokens"},
    "prefix_gain": {"match": "exact"},
    "branching_pairs": {"u_norm": "branching"},
    "cispo": {"loss_temperature": 0.5},
    "gspo": {"loss_temperature": 0.5},
    "clipped": {"clip_low": 0.1, "clip_high": 0.2, "dual_clip": 2.0, "loss_temperature": 0.5},
}
SHARED: dict[str, object] = {"group": 5, "kl": 0.2, "l2": 0.03, "loss_temperature": 0.7}
PROBLEMS = [Problem("a", "3*4=", ("12",)), Problem("b", "7*", ("7",))]

REFUSED = {
    (explore, credit, select, objective)
    for explore, credit, select, objective in ALL
    if (select != "branching_pairs" and objective == "likelihood")
    or (select == "branching_pairs" and credit != "prefix_gain")
}
"""The crosses that make no sense, written out apart from the code that refuses them: likelihood is of pairs alone, and
only `prefix_gain` gives a pair one advantage."""


def covering(crosses: Sequence[tuple[str, ...]], together: int) -> set[tuple[str, ...]]:
    """Return few crosses that hold every piece (or any two that meet): the one with most that is new, again."""
    held = {cross: set(combinations(enumerate(cross), together)) for cross in crosses}
    chosen: set[tuple[str, ...]] = set()
    missing = set().union(*held.values())
    while missing:
        best = max(crosses, key=lambda cross: len(held[cross] & missing))
        chosen.add(best)
        missing -= held[best]
    return chosen


SOUND = [cross for cross in ALL if cross not in REFUSED]
ONCE = covering(SOUND, 1)
PAIRS = covering(SOUND, 2) | ONCE
TRIED = [cross for cross in SOUND if cross in PAIRS or cross in CROSSES]


def block(cross: tuple[str, ...]) -> dict[str, object]:
    """Return the method block of a cross, with every number that its pieces use."""
    numbers = {name: value for piece in cross for name, value in NUMBERS.get(piece, {}).items()}
    return {"name": "grpo", **dict(zip(AXES, cross, strict=True)), **SHARED, **numbers}


def refusal(cross: tuple[str, ...]) -> str | None:
    """Return the sentence that refuses a cross when a configuration is read, or None."""
    text = f"task: multiplication\nmethod: {block(cross)}".replace("True", "true")
    try:
        parse_config(text, "run.yaml")
    except ConfigError as error:
        return str(error)
    return None


def test_exactly_the_crosses_that_make_no_sense_are_refused() -> None:
    assert len(CROSSES) == 4 * 3 * 8 * 3
    assert len(REFUSED.intersection(CROSSES)) == 4 * (3 * 7 + 2 * 3)
    tried = [cross for cross in ALL if cross in CROSSES or cross[0] == "group"]
    assert {cross for cross in tried if refusal(cross)} == REFUSED.intersection(tried)


def test_a_refusal_names_both_pieces_the_reason_and_the_cure() -> None:
    for cross in sorted(REFUSED.intersection(CROSSES)):
        sentence = refusal(cross)
        assert sentence is not None, cross
        _, credit, select, objective = cross
        culprit = credit if select == "branching_pairs" else objective
        axis = "credit" if select == "branching_pairs" else "objective"
        assert f"method.select '{select}'" in sentence
        assert f"method.{axis} '{culprit}'" in sentence
        assert ("different advantages" if axis == "credit" else "weighed twice") in sentence
        assert "; use " in sentence


class Different(Verifier):
    """A fake verifier: no two texts have the same reward, for a credit that needs one best completion."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge each completion by its text alone: parity first, then a hash of it."""
        found = DigitParity().judge(answers)
        hashes = [zlib.crc32(answer.completion.encode()) for answer in answers]
        return tuple(Verdict((one.reward or 0.0) + 0.4 * at / 2**32) for one, at in zip(found, hashes, strict=True))


def parts_of(method: Method) -> Parts:
    """Return the machines of a run on a random model in float64, its adapter away from zero."""
    model = tiny("qwen2")
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
    learner = Learner(adapter, method.objective, OptimiserSpec(max_grad_norm=1e9, micro_batch_tokens=24))
    verifier = DigitParity() if method.credit.name != "pass_at_k" else Different()
    return Parts(model, learner, InProcessEngine(model), Multiplication(), verifier, method)


def gradients(adapter: Trained) -> list[np.ndarray]:
    return [matrix.grad.numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]


@pytest.mark.parametrize(
    "cross",
    [pytest.param(cross, marks=() if cross in ONCE else pytest.mark.thorough) for cross in TRIED],
    ids="-".join,
)
def test_a_training_step_equals_the_plain_computation(cross: tuple[str, ...]) -> None:
    method = MethodConfig.model_validate(block(cross)).build()
    assert tuple(getattr(method, axis).name for axis in AXES) == cross
    parts = parts_of(method)
    adapter = parts.learner.trained
    before = adapter.state()
    rollout = Rollout(
        parts.model, parts.engine, parts.verifier, PromptTemplate(), Sampling(0.5, 1.0, method.signals.entropies), 10
    )
    result = train_step(parts, rollout, PROBLEMS, Key.of(4), 1e-2, Seconds())
    found, after = gradients(adapter), adapter.state()
    assert result.stats.updated
    assert result.cost.updates == 1
    assert [len(forest) > 1 for forest in result.forests] == [cross[0] == "replay"] * len(PROBLEMS)
    assert any(not torch.equal(before[name], after[name]) for name in before)

    adapter.load_state(before)
    for matrix in adapter.matrices:
        matrix.grad = None
    loss = naive_loss(adapter, method.objective, result.forests, result.advantages, result.weights)
    loss = loss + 0.03 * torch.stack([matrix.square().sum() for matrix in adapter.matrices]).sum()
    loss.backward()
    plain = gradients(adapter)
    assert result.stats.loss == pytest.approx(loss.item(), rel=1e-10)
    assert len(found) == len(plain) == len(adapter.matrices)
    assert largest_gap(found, plain) < 1e-10
    assert min(float(np.abs(gradient).max()) for gradient in plain) > 0


def test_a_cross_survives_its_resolved_block() -> None:
    for cross in TRIED:
        config = MethodConfig.model_validate(block(cross))
        assert config.resolved().build() == config.build(), cross
        written = config.resolved().model_dump(exclude_none=True)
        assert {name: written[name] for name in block(cross)} == block(cross)
