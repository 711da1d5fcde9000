"""What is measured of whole trees: residuals and prefix classes, against whole forward passes of each completion."""

import numpy as np
import pytest
import torch

from creditree.config.method import MethodConfig
from creditree.credit.prefix_classes import ends_of
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.ledger import Seconds
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.problem import Problem
from creditree.rng import Key
from creditree.select.adapter_residual import AdapterResidual
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.task import PromptTemplate
from creditree.train.observe import observed
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts
from creditree.tree import Forest, RolloutTree
from tests.rollouts import DigitParity, sampled_forests, train_step
from tests.tiny_models import tiny

PROBLEMS = [Problem("a", "3*4=", ("12",)), Problem("b", "7*", ("7",))]


def parts_of(method: Method, family: str = "qwen2", size: float = 0.2, micro_batch_tokens: int = 24) -> Parts:
    """Return the machines of a run on a random model in float64; its adapter is away from zero by `size`."""
    model = tiny(family)
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(size * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
    spec = OptimiserSpec(max_grad_norm=1e9, micro_batch_tokens=micro_batch_tokens)
    engine = InProcessEngine(model, keep_layer=adapter.first_layer)
    learner = Learner(adapter, method.objective, spec, trunk_store=engine)
    return Parts(model, learner, engine, Multiplication(), DigitParity(), method)


def whole_states(parts: Parts, tree: RolloutTree, leaf: int, *, base: bool) -> np.ndarray:
    """Return the last hidden state before each token of a completion, by transformers' own forward pass."""
    ids = torch.tensor(np.concatenate([tree.root_ids, tree.completion(leaf)]))[None]
    with torch.no_grad():
        if base:
            with parts.learner.trained.off():
                found = parts.model.transformer.model(ids, output_hidden_states=True, use_cache=False).hidden_states
        else:
            found = parts.model.transformer.model(ids, output_hidden_states=True, use_cache=False).hidden_states
    states: np.ndarray = found[-1][0, len(tree.root_ids) - 1 : -1].numpy()
    return states


def trees_of(forests: list[Forest]) -> list[RolloutTree]:
    return [tree for forest in forests for tree in forest]


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("explore", ["replay", "entropy"])
def test_residuals_are_those_of_whole_forward_passes(family: str, explore: str) -> None:
    method = MethodConfig(name="grpo", explore=explore, group=5, select="adapter_residual").build()
    parts = parts_of(method, family)
    forests, tokens = observed(parts, sampled_forests(parts.model, method.explore))
    assert tokens > 0
    for tree in trees_of(forests):
        for leaf in tree.leaves:
            branch = tree.branches[leaf]
            both = [whole_states(parts, tree, leaf, base=base) for base in (False, True)]
            expected = np.linalg.norm(both[0] - both[1], axis=-1)[branch.fork :]
            assert "residuals" in branch.notes
            assert branch.notes["residuals"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert expected.max() > 1e-3


def test_an_adapter_that_adds_nothing_has_no_residual_and_all_tokens_learn() -> None:
    """A fresh adapter's B is 0: exactly no residual, also in float32 and by the lean layers."""
    method = MethodConfig(name="grpo", group=4, select="adapter_residual", q=0.2).build()
    model = tiny("qwen2", torch.float32)
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5), Key.of(0))
    learner = Learner(adapter, method.objective, OptimiserSpec())
    parts = Parts(model, learner, InProcessEngine(model), Multiplication(), DigitParity(), method)
    forests, _ = observed(parts, sampled_forests(model, method.explore))
    assert all(np.all(branch.notes["residuals"] == 0.0) for tree in trees_of(forests) for branch in tree.branches)
    advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
    select = method.select.of_step(forests, advantages)
    weights = [
        select.weigh(forest, field, Key.of(0)) for forest, field in zip(forests, advantages, strict=True)
    ]  # fmt: skip
    assert all(np.all(v > 0) for forest in weights for field in forest for v in field if v is not None)


def test_hidden_states_that_agree_by_whole_forward_passes_are_one_class() -> None:
    method = MethodConfig(name="t-spmo", group=8, match="hidden", similarity=0.9).build()
    parts = parts_of(method)
    forests, tokens = observed(parts, sampled_forests(parts.model, method.explore, temperature=1.0))
    assert tokens > 0
    merged = 0
    for tree in trees_of(forests):
        leaves = tree.rewarded
        trie = tree.trie(leaves)
        classes = tree.prefix_classes(leaves, trie)
        assert classes is not None
        state_of = {}
        for row, leaf in enumerate(leaves):
            for at, state in enumerate(whole_states(parts, tree, leaf, base=False)):
                state_of[int(trie.node_of[row, at])] = state / np.linalg.norm(state)
        inner = [node for node in range(1, len(trie)) if not ends_of(trie)[node]]
        for a in inner:
            similar = [b for b in inner if trie.depth[a] == trie.depth[b] and state_of[a] @ state_of[b] >= 0.9]
            assert {int(classes[b]) for b in similar} == {int(classes[a])}
            together = [b for b in inner if classes[b] == classes[a]]
            assert len(together) == 1 or len(similar) > 1
            merged += len(together) > 1
    assert merged > 0


@pytest.mark.parametrize(
    ("block", "forwards"),
    [
        ({"name": "grpo", "select": "adapter_residual"}, True),
        ({"name": "t-spmo", "match": "hidden", "similarity": 0.95}, True),
        ({"name": "t-spmo", "match": "text"}, False),
        ({"name": "t-spmo"}, False),
        ({"name": "grpo", "select": "auto"}, False),
    ],
)
def test_the_ledger_counts_what_measuring_forwards(block: dict[str, object], forwards: bool) -> None:
    method = MethodConfig.model_validate({**block, "group": 6}).build()
    parts = parts_of(method)
    rollout = Rollout(parts.model, parts.engine, parts.verifier, PromptTemplate(), Sampling(0.8), 10)
    result = train_step(parts, rollout, PROBLEMS, Key.of(4), 1e-2, Seconds())
    assert result.stats.updated
    assert (result.cost.measured_tokens > 0) == forwards
    if forwards:
        assert result.cost.measured_tokens >= result.cost.forwarded
    assert isinstance(method.select, AdapterResidual) == any(
        "residuals" in branch.notes for tree in trees_of(result.forests) for branch in tree.branches
    )
    assert 0.0 < result.selected_share <= 1.0


def test_measuring_does_not_depend_on_how_the_skeleton_is_cut_nor_on_what_is_stored() -> None:
    method = MethodConfig(name="grpo", group=6, select="adapter_residual").build()
    forests = sampled_forests(tiny("qwen2"), method.explore)
    found = [
        [branch.notes["residuals"] for tree in trees_of(observed(parts, forests)[0]) for branch in tree.branches]
        for parts in (parts_of(method, micro_batch_tokens=size) for size in (4, 4096))
    ]
    for a, b in zip(*found, strict=True):
        assert a is not None
        assert a == pytest.approx(b, rel=1e-10, abs=1e-13)
