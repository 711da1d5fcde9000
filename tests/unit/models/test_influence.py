"""Influence by column sums against the dense definition, golden numbers, and what memory it takes."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.allocator import allocator_peak
from creditree.models import influence as module
from creditree.models.attention import ATTENTION, CausalPlan
from creditree.models.influence import InfluencePlan, StepTable, first_query, influence, whole_steps
from creditree.models.load import Model
from creditree.models.transformer import Transformer
from creditree.signals import InfluenceSpec
from creditree.steps import Step
from creditree.tree import FloatArray, IntArray
from tests.each_once import each_once
from tests.naive import dense_attention, dense_influence, dense_map, dense_scores
from tests.tiny_models import FAMILIES, char_tokenizer, random_model, tiny


def cut(lengths: Sequence[int]) -> list[Step]:
    """Steps of these lengths, one after the other."""
    ends = np.cumsum(lengths).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def some_ids(length: int, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(3, 60, length)


def dense(model: Model, ids: IntArray, steps: list[Step], spec: InfluenceSpec) -> FloatArray:
    """The definition, over prompt and steps."""
    prompt = steps[0][1]
    return dense_influence(model, ids, prompt, [(start - prompt, stop - prompt) for start, stop in steps[1:]], spec)


SEQUENCES = [cut([5, 4, 1, 10, 2, 8, 10]), cut([3, 6, 1, 10, 11]), cut([7]), cut([2, 1, 1, 1, 1, 1, 1, 9, 1])]


@pytest.mark.parametrize(("family", "delta", "block_bytes"), each_once(FAMILIES, [0, 1, 4], [8 << 20, 3000, 1]))
def test_sums_of_columns_are_the_dense_definition(
    family: str, delta: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four sequences in one pass, of other lengths and steps; the last block may hold one query only."""
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    model, spec = tiny(family), InfluenceSpec(delta=delta)
    ids = [some_ids(steps[-1][1], seed) for seed, steps in enumerate(SEQUENCES)]
    found = influence(model.transformer, ids, SEQUENCES, spec)
    for one, steps, scores in zip(ids, SEQUENCES, found, strict=True):
        assert scores.attention is None
        assert scores.influence == pytest.approx(dense(model, one, steps, spec), abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_own_attention_gives_the_same(family: str) -> None:
    """`output_attentions` of the eager implementation, whose softmax is float32."""
    model, steps = tiny(family), SEQUENCES[0]
    ids, spec = some_ids(40), InfluenceSpec(delta=2, layers=(0, 1, 3), heads=(1, 2))
    (found,) = influence(model.transformer, [ids], [steps], spec)
    network = random_model(family)
    network.set_attn_implementation("eager")
    attention = torch.cat(network(torch.tensor(ids)[None], output_attentions=True).attentions)
    own = [(start - 5, stop - 5) for start, stop in steps[1:]]
    assert found.influence == pytest.approx(dense_scores(attention, 5, own, spec), abs=1e-6)
    assert network.config._attn_implementation != ATTENTION


@pytest.mark.parametrize(("delta", "block_bytes"), each_once([1, 2, 4], [8 << 20, 3000]))
def test_maps_are_the_dense_definition_and_their_columns_the_influence(
    delta: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four sequences in one pass; the longest of them is none of the two."""
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    model, spec = tiny("qwen2"), InfluenceSpec(delta=delta, layers=(0, 1, 3), heads=(1, 2))
    ids = [some_ids(steps[-1][1], seed) for seed, steps in enumerate(SEQUENCES)]
    found = influence(model.transformer, ids, SEQUENCES, spec, mapped=(0, 1))
    assert [scores.attention is None for scores in found] == [False, False, True, True]
    for one, steps, scores in zip(ids[:2], SEQUENCES, found, strict=False):
        expected = dense_map(dense_attention(model, one), steps, spec)
        assert scores.attention is not None
        assert scores.attention == pytest.approx(expected, abs=1e-12)
        assert scores.attention.sum(axis=0) == pytest.approx(scores.influence, abs=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.05)])
def test_lower_precision(dtype: torch.dtype, tolerance: float) -> None:
    model, spec = tiny("qwen2", dtype), InfluenceSpec(delta=2)
    ids, steps = some_ids(40), SEQUENCES[0]
    (found,) = influence(model.transformer, [ids], [steps], spec)
    assert found.influence.dtype == np.float64
    assert found.influence == pytest.approx(dense(model, ids, steps, spec), rel=tolerance, abs=tolerance)


def test_layers_that_have_no_lean_form_go_through_the_registered_function(monkeypatch: pytest.MonkeyPatch) -> None:
    from creditree.models import transformer as transformer_module

    monkeypatch.setattr(transformer_module, "lean_layer", lambda module: None)
    plain = Model("random:qwen2", Transformer(random_model("qwen2")), char_tokenizer())
    assert plain.transformer.lean_layers == (None,) * 4
    ids, steps, spec = some_ids(40), SEQUENCES[0], InfluenceSpec(delta=2)
    (found,) = influence(plain.transformer, [ids], [steps], spec)
    assert found.influence == pytest.approx(dense(tiny("qwen2"), ids, steps, spec), abs=1e-12)


def test_uniform_attention_golden() -> None:
    """A prompt of 3 tokens, then 7 steps of 2, delta 4; A[i, t] = 1 / (i + 1) for t <= i.

    Step j holds the tokens 2j + 1 and 2j + 2, so the mean of its rows is (1 / (2j + 2) + 1 / (2j + 3)) / 2 in every
    earlier column: step 4 (1/10 + 1/11) / 2 = .095455, step 5 (1/12 + 1/13) / 2 = .080128, step 6
    (1/14 + 1/15) / 2 = .069048, step 7 (1/16 + 1/17) / 2 = .060662. Summed from step k + 4 on:
    y_3 = .060662;  y_2 = .060662 + .069048 = .129709;  y_1 = .129709 + .080128 = .209838;  y_0 = .305292.
    """
    steps, flat = cut([3, *[2] * 7]), torch.zeros(1, 4, 17, 8, dtype=torch.float64)
    table = StepTable.of([steps], 4, flat.device, flat.dtype)
    plan = InfluencePlan(table, None, None, maps=table.maps({0: 8}))
    plan.attend(0, flat, flat[:, :2], flat[:, :2], 1.0)
    expected = [0.305292, 0.209838, 0.129709, 0.060662, 0, 0, 0, 0]
    assert plan.scores[0, :8].tolist() == pytest.approx(expected, abs=1e-6)
    assert plan.maps is not None
    (found,) = plan.maps.maps()
    by_step = {4: 0.095455, 5: 0.080128, 6: 0.069048, 7: 0.060662}
    rows = [[by_step[j] if k <= j - 4 else 0.0 for k in range(8)] if j >= 4 else [0.0] * 8 for j in range(8)]
    assert found == pytest.approx(np.array(rows), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=8), min_size=1, max_size=4),
    delta=st.integers(0, 5),
    block_bytes=st.sampled_from([1, 2000, 1 << 20]),
    first=st.integers(0, 5),
)
def test_any_steps(lengths: list[list[int]], delta: int, block_bytes: int, first: int) -> None:
    """Outputs are those of causal attention; scores those of the definition, from stored keys and values too."""
    steps = [cut(one) for one in lengths]
    allowed = [first_query(one, delta) for one in steps]
    first = min([first, *(one[-1][1] - 1 for one in steps), *(query for query in allowed if query is not None)])
    longest = max(one[-1][1] for one in steps)
    generator = torch.Generator().manual_seed(longest)
    query, both = (
        torch.randn(len(steps), heads, longest, 4, generator=generator, dtype=torch.float64) for heads in (6, 4)
    )
    key, value = both[:, :2], both[:, 2:]
    table = StepTable.of(steps, delta, query.device, query.dtype)
    past = (lambda layer, heads: (key[:, :, :first], value[:, :, :first])) if first else None
    plan = InfluencePlan(table, None, (0, 1, 2, 5), past)
    original, module.BLOCK_BYTES = module.BLOCK_BYTES, block_bytes
    try:
        out = plan.attend(0, query[:, :, first:], key[:, :, first:], value[:, :, first:], 0.7)
    finally:
        module.BLOCK_BYTES = original
    assert torch.allclose(out, CausalPlan().attend(0, query, key, value, 0.7)[:, :, first:])
    for row, one in enumerate(steps):
        length, prompt = one[-1][1], one[0][1]
        scores = 0.7 * query[row, :, :length] @ key[row, :, :length].repeat_interleave(3, dim=0).mT
        share = torch.softmax(scores + torch.full((length, length), -torch.inf).triu(1), dim=-1)
        own = [(start - prompt, stop - prompt) for start, stop in one[1:]]
        spec = InfluenceSpec(delta=delta, heads=(0, 1, 2, 5))
        assert plan.scores[row, : len(one)].tolist() == pytest.approx(dense_scores(share[None], prompt, own, spec))


def test_steps_of_prompt_and_completion() -> None:
    steps = whole_steps(3, [(0, 2), (2, 5)])
    assert steps == [(0, 3), (3, 5), (5, 8)]
    assert [first_query(steps, delta) for delta in range(4)] == [0, 3, 5, None]


def test_a_layer_of_8192_tokens_takes_less_than_64_mb() -> None:
    """12 heads, 2 of keys and values; A alone would take 12 * 8192^2 * 4 bytes = 3.2 GB."""
    length = 8192
    query, key = torch.randn(1, 12, length, 16), torch.randn(1, 2, length, 16)
    table = StepTable.of([cut([512] * 16)], 4, query.device, query.dtype)
    with allocator_peak() as found:
        InfluencePlan(table, None, None).attend(0, query, key, key, 0.25)
    assert found.peak - query.nbytes <= 64e6  # the outputs are the model's own
