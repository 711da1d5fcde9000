"""Lean layers against transformers' own, forward and backward; and what they leave to these."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from creditree.models import products
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.attention import ATTENTION, CausalPlan, one_by_one
from creditree.models.family import read_layer
from creditree.models.lean import LeanLayer, turn_of
from creditree.models.lean_weights import lean_layer
from creditree.models.transformer import Transformer
from creditree.rng import Key
from tests.each_once import each_once
from tests.tiny_models import FAMILIES, random_model, tiny

FOUR = (*FAMILIES, "mistral")
QV = ("q_proj", "v_proj")
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
IDS = (torch.arange(22).reshape(2, 11) * 7) % 60 + 2


class LastRows:
    """A causal plan that may be asked for some positions only."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend causally."""
        if query.shape[2] == key.shape[2]:
            return CausalPlan().attend(layer, query, key, value, scaling)
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        mask = torch.arange(key.shape[2]) <= self.rows[:, None]
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)


def adapted(family: str, spec: LoraSpec, dtype: torch.dtype = torch.float64, seed: int = 0) -> Adapter:
    """An adapter whose matrices are all away from zero."""
    adapter = Adapter(tiny(family, dtype, seed), spec, Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.3 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64).to(matrix.dtype))
    return adapter


def lean_forms(transformer: Transformer) -> list[LeanLayer | None]:
    return transformer._lean


def run(transformer: Transformer, start: int, rows: Tensor | None, *, lean: bool) -> tuple[Tensor, list[Tensor]]:
    """Return outputs of the layers from `start`, and gradients of their input and of all trained matrices."""
    held, norm = transformer._lean, transformer._norm
    if not lean:
        transformer._lean, transformer._norm = [None] * transformer.num_layers, None
    hidden = transformer.embed(IDS).detach()
    rope = transformer.rope(hidden, torch.arange(11).expand(2, 11))
    hidden.requires_grad_()
    out = transformer.norm(
        transformer.layers(hidden, rope, LastRows(torch.arange(11) if rows is None else rows), start, rows=rows)
    )
    generator = torch.Generator().manual_seed(5)
    direction = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
    trained = [p for p in transformer.model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(out, [hidden, *trained], direction)
    transformer._lean, transformer._norm = held, norm
    return out.detach(), list(grads)


@pytest.mark.parametrize(
    ("family", "targets", "some"),
    each_once(FOUR, [QV, ALL, ("o_proj", "down_proj"), ("gate_proj",)], [False, True]),
)
def test_outputs_and_gradients_are_those_of_the_modules(family: str, targets: tuple[str, ...], some: bool) -> None:
    adapter = adapted(family, LoraSpec(rank=3, layers=(0, 2, 3), targets=targets))
    rows = torch.tensor([2, 7, 10]) if some else None
    transformer = adapter.model.transformer
    assert all(lean_forms(transformer))
    ours, our_grads = run(transformer, 0, rows, lean=True)
    theirs, their_grads = run(transformer, 0, rows, lean=False)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))
    assert len(our_grads) == len(their_grads) == 1 + 2 * 3 * len(targets)
    for one, other in zip(our_grads, their_grads, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11 * float(other.abs().max()))


@pytest.mark.parametrize(("family", "instructions"), each_once(FOUR, [False, True]))
def test_bfloat16_is_as_near_to_the_truth_as_the_modules_are(
    family: str, instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The truth: the same rounded weights in float64. Errors are random; over all tensors they are as large.

    On processors with instructions for bfloat16, and on those where products are widened.
    """
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: instructions)
    ratios = []
    for seed in range(3):
        adapter = adapted(family, LoraSpec(rank=3, layers=(2, 3), targets=ALL), torch.bfloat16, seed)
        exact = Adapter(tiny(family), adapter.spec, Key.of(0))
        exact.peft.load_state_dict({name: held.double() for name, held in adapter.peft.state_dict().items()})
        truths = _flat(run(exact.model.transformer, 0, None, lean=False))
        ours, theirs = (_flat(run(adapter.model.transformer, 0, None, lean=lean)) for lean in (True, False))
        assert [one.dtype for one in ours] == [other.dtype for other in theirs]
        gaps = [(_gap(one, truth), _gap(other, truth)) for one, other, truth in zip(ours, theirs, truths, strict=True)]
        ratios += [math.log(one / other) for one, other in gaps]
    assert math.exp(sum(ratios) / len(ratios)) < 1.25


def _flat(found: tuple[Tensor, list[Tensor]]) -> list[Tensor]:
    return [found[0], *found[1]]


def _gap(one: Tensor, truth: Tensor) -> float:
    return float((one.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize(("family", "dropout"), each_once(["qwen2", "qwen3"], [0.0, 0.4]))
def test_the_backward_pass_is_the_derivative(family: str, dropout: float) -> None:
    """Central differences of one layer, adapters on all projections; with the same dropout masks each time."""
    adapter = adapted(family, LoraSpec(rank=2, layers=(1,), targets=ALL, dropout=dropout))
    transformer = adapter.model.transformer
    lean = lean_forms(transformer)[1]
    assert lean is not None
    adapter.peft.train(dropout > 0)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 3, 32, generator=generator, dtype=torch.float64, requires_grad=True)
    turn = turn_of(*(t.double() for t in transformer.rope(hidden, torch.arange(3)[None])))

    def layer(hidden: Tensor, *matrices: Tensor) -> Tensor:
        torch.manual_seed(7)
        out: Tensor = lean(hidden, turn, CausalPlan())
        return out

    with torch.random.fork_rng():
        assert torch.autograd.gradcheck(layer, (hidden, *adapter.matrices), fast_mode=True, atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    adapter = adapted("llama", LoraSpec(rank=3, layers=0.5, dropout=0.5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fixed = [run(adapter.model.transformer, 0, None, lean=True)[0] for _ in range(2)]
        adapter.peft.train()
        random = [run(adapter.model.transformer, 0, None, lean=True)[0] for _ in range(2)]
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.equal(random[0], random[1])
    assert not torch.equal(random[0], fixed[0])


def test_an_adapter_that_is_off_leaves_the_base_alone() -> None:
    base, _ = run(tiny("qwen2").transformer, 0, None, lean=True)
    adapter = adapted("qwen2", LoraSpec(rank=3, layers=0.5, targets=ALL))
    with adapter.off():
        off, grads = run(adapter.model.transformer, 0, None, lean=True)
    assert torch.equal(off, base)
    assert len(grads) == 1
    assert not torch.allclose(run(adapter.model.transformer, 0, None, lean=True)[0], base, atol=0.1)


def test_a_fresh_adapter_is_as_it_was_drawn() -> None:
    adapter = Adapter(tiny(), LoraSpec(rank=3, targets=ALL), Key.of(0))
    assert all(float(matrix.detach().abs().max()) == 0 for matrix in adapter.matrices[1::2])
    assert all(float(matrix.detach().abs().min()) > 0 for matrix in adapter.matrices[::2])


def test_no_weight_is_held_twice_and_none_changes() -> None:
    model = random_model("qwen2")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
    transformer = Transformer(model)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in after.values()}
    assert sum(storages.values()) == sum(held.values())
    layer = model.model.layers[1].self_attn
    lean = lean_forms(transformer)[1]
    assert lean is not None
    weight: Any = lean.heads.projection.frozen
    assert weight.weight.data_ptr() == layer.q_proj.weight.data_ptr()
    layer.v_proj.weight.data[0, 0] = 5.0
    assert weight.weight[48, 0] == 5.0


def test_reading_a_layer_again_moves_nothing() -> None:
    model = random_model("qwen3")
    Transformer(model)
    places = [p.data_ptr() for p in model.parameters()]
    Transformer(model)
    assert [p.data_ptr() for p in model.parameters()] == places


def _hook(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_hook(lambda module, inputs, out: 2 * out)


def _other_activation(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = torch.nn.GELU()


def _other_linear(model: Any) -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    made = Doubled(32, 48, bias=False, dtype=torch.float64).requires_grad_(False)
    model.model.layers[1].mlp.up_proj = made


def _other_norm(model: Any) -> None:
    model.model.layers[1].input_layernorm = torch.nn.LayerNorm(32, dtype=torch.float64)


def _learning_base(model: Any) -> None:
    model.model.layers[1].mlp.up_proj.weight.requires_grad_(True)


@pytest.mark.parametrize("change", [_hook, _other_activation, _other_linear, _other_norm, _learning_base])
def test_whatever_else_a_layer_is_runs_as_its_module(change: Callable[[Any], None]) -> None:
    model = random_model("llama")
    change(model)
    transformer = Transformer(model)
    assert [lean is None for lean in lean_forms(transformer)] == [False, True, False, False]
    with torch.no_grad():
        hidden = transformer.embed(IDS)
        rope = transformer.rope(hidden, torch.arange(11).expand(2, 11))
        logits = transformer.logits(transformer.norm(transformer.layers(hidden, rope, CausalPlan())))
        assert torch.allclose(logits, model(IDS, use_cache=False).logits, rtol=0, atol=1e-10)


def test_a_layer_that_looks_right_and_computes_something_else_runs_as_its_module() -> None:
    model = random_model("llama")

    class LlamaDecoderLayer(type(model.model.layers[1])):  # type: ignore[misc]
        def forward(self, *arguments: Any, **keywords: Any) -> Tensor:
            out: Tensor = 1.5 * super().forward(*arguments, **keywords)
            return out

    model.model.layers[1].__class__ = LlamaDecoderLayer
    assert lean_layer(model.model.layers[1]) is not None
    assert [lean is None for lean in lean_forms(Transformer(model))] == [False, True, False, False]


HOOKS: dict[str, Callable[[torch.nn.Module], object]] = {
    "forward": lambda module: module.register_forward_hook(lambda *_: None),
    "before forward": lambda module: module.register_forward_pre_hook(lambda *_: None),
    "backward": lambda module: module.register_full_backward_hook(lambda *_: None),
    "before backward": lambda module: module.register_full_backward_pre_hook(lambda *_: None),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_layer_that_somebody_hooks_into_is_read_by_neither(hook: str) -> None:
    """Neither for torch nor for native code: both ask the same question."""
    layer = random_model("qwen2").model.layers[1]
    assert lean_layer(layer) is not None
    assert read_layer(layer) is not None
    HOOKS[hook](layer.mlp.up_proj)
    assert lean_layer(layer) is None
    assert read_layer(layer) is None


class InFloat32:
    """A layer whose sums are rounded once, at its end: another order of sums, as on another device."""

    def __init__(self, module: Any, factor: float = 1.0) -> None:
        self._module, self._factor = copy.deepcopy(module).float(), factor

    def __call__(self, hidden: Tensor, turn: Any, plan: Any, rows: Tensor | None = None) -> Tensor:
        before = hidden.float()
        cos, signed_sin = (part.float().squeeze(-2) for part in turn)
        half = cos.shape[-1] // 2
        sin = torch.cat([-signed_sin[..., :half], signed_sin[..., half:]], dim=-1)
        with one_by_one():
            out: Tensor = self._module(before, attention_mask=None, position_embeddings=(cos, sin), plan=plan)
        return (before + self._factor * (out - before)).to(hidden.dtype)


@pytest.mark.parametrize(("factor", "is_lean"), [(1.0, True), (1.2, False)])
def test_rounding_of_large_states_is_not_taken_for_another_layer(
    factor: float, is_lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pretrained models hold states of a thousand, which bfloat16 rounds to multiples of 8; a layer adds less than that
    model = random_model("llama", torch.bfloat16)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 3] = 1030.0
    monkeypatch.setattr("creditree.models.transformer.lean_layer", lambda module: InFloat32(module, factor))
    assert [lean is not None for lean in lean_forms(Transformer(model))] == [is_lean] * 4


@pytest.mark.parametrize("extra", [{"use_dora": True}, {"lora_bias": True}, {"use_rslora": True}])
def test_other_adapters_run_as_their_modules_unless_they_only_scale(extra: Any) -> None:
    model = tiny("qwen2", torch.float32)
    config = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[1], task_type="CAUSAL_LM", **extra)
    get_peft_model(model.transformer.model, config)
    model.transformer.link()
    is_plain = "use_rslora" in extra
    assert [lean is None for lean in lean_forms(model.transformer)] == [False, not is_plain, False, False]


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_quantised_matrices(kind: Any) -> None:
    pytest.importorskip("bitsandbytes")
    from creditree.models import quantise

    base = random_model("qwen2", torch.bfloat16)
    quantise.quantise(base, kind, "cpu")
    transformer = Transformer(base)
    assert base.config._attn_implementation == ATTENTION
    assert all(lean_forms(transformer))
    for rows in (None, torch.tensor([3, 10])):
        ours, our_grads = run(transformer, 0, rows, lean=True)
        theirs, their_grads = run(transformer, 0, rows, lean=False)
        for one, other in zip([ours, *our_grads], [theirs, *their_grads], strict=True):
            assert (one.float() - other.float()).norm() / other.float().norm() < 0.05
