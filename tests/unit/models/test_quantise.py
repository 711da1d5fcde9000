"""Bases in int8 and nf4: what the codes stand for, what layers compute, and how such models are loaded."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.errors import ModelError
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Dtype, Model, load_model
from creditree.models.quantise import Int8Linear, Nf4Linear, Quantisation, QuantisedLinear, bitsandbytes, quantise
from creditree.models.transformer import Transformer
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.everything import Everything
from tests.each_once import each_once
from tests.rollouts import credited, largest_gap, sampled_forests
from tests.tiny_models import FAMILIES, char_tokenizer, random_model

KINDS: tuple[Quantisation, ...] = ("int8", "nf4")
IDS = (torch.arange(22).reshape(2, 11) * 7) % 60 + 2
SPEC = LoraSpec(rank=3, layers=0.5)
METHOD = Method("grpo", "", Group(5), GroupRelative(), Everything(), PolicyGradient(kl=0.3))
SHAPES = [(7, 64), (32, 128), (33, 32), (96, 48), (5, 34), (300, 1024), (6, 96), (1, 2)]
"""(outputs, inputs): whole blocks a row and not; an odd number of rows; more weights than are quantised at once."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(kind: Quantisation, weight: Tensor, bias: Tensor | None = None) -> QuantisedLinear:
    return Int8Linear.of(weight, bias) if kind == "int8" else Nf4Linear.of(weight, bias)


def quantised(kind: Quantisation, family: str = "qwen2", dtype: torch.dtype = torch.bfloat16) -> Model:
    """A tiny model over quantised weights, its other tensors and its activations in `dtype`."""
    inner = random_model(family, dtype)
    quantise(inner, kind, "cpu")
    for parameter in inner.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.to(dtype)
    return Model(f"random:{family}", Transformer(inner), char_tokenizer())


def dequantised(model: Model, family: str, dtype: torch.dtype) -> Model:
    """The plain model whose weights are what the codes of `model` stand for."""
    inner = random_model(family, dtype)
    held = {n.replace(".base_layer", ""): p for n, p in model.transformer.model.named_parameters()}
    layers = layers_of(model)
    with torch.no_grad():
        for name, parameter in inner.named_parameters():
            layer = layers.get(name.removesuffix(".weight"))
            parameter.copy_(held[name] if layer is None else layer.matrix(dtype))
    return Model(model.name, Transformer(inner), char_tokenizer())


def adapted(model: Model) -> Adapter:
    """An adapter whose matrices are all away from zero."""
    adapter = Adapter(model, SPEC, Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator).to(matrix.dtype))
    return adapter


def batch_of(model: Model) -> Batch:
    forests = sampled_forests(model, METHOD.explore, problems=3)
    batch = pack(forests, *credited(METHOD, forests), keep_zero_advantage=True)
    assert batch.advantage.any()  # a step without signal updates nothing
    return batch


def through_modules(adapter: Adapter) -> list[Any]:
    """Gradients of a loss of the model as peft and transformers run it, by autograd."""
    for matrix in adapter.matrices:
        matrix.grad = None
    adapter.peft(input_ids=IDS, use_cache=False).logits.log_softmax(-1)[..., 3].sum().backward()
    return [matrix.grad.double().numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]


def loss_and_gradients(adapter: Adapter, batch: Batch) -> tuple[float, list[Any]]:
    loss = Learner(adapter, METHOD.objective, OptimiserSpec()).gradient(batch, Key.of(1))
    return loss, [matrix.grad.double().numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]


def layers_of(model: Model) -> dict[str, QuantisedLinear]:
    modules = model.transformer.model.named_modules()
    return {n.removesuffix(".base_layer"): m for n, m in modules if isinstance(m, QuantisedLinear)}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_are_those_of_bitsandbytes(shape: tuple[int, int]) -> None:
    """Which quantises a whole matrix at once."""
    functional, weight = bitsandbytes().functional, normal(*shape)
    codes, absmax, _ = functional.int8_vectorwise_quant(weight.half())
    eight = Int8Linear.of(weight, None)
    assert torch.equal(eight.weight, codes)
    assert torch.equal(eight.scale, absmax / 127)
    codes, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    four = Nf4Linear.of(weight, None)
    assert torch.equal(four.weight, codes)
    assert torch.equal(four.state.absmax, state.absmax)
    assert torch.equal(four.state.state2.absmax, state.state2.absmax)
    assert torch.equal(four.state.offset, state.offset)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_nf4_codes_stand_for(shape: tuple[int, int]) -> None:
    """By hand. bitsandbytes 0.50 by itself is wrong on AVX512 CPUs where there are 32 or 96 inputs."""
    layer = Nf4Linear.of(normal(*shape), None)
    state = layer.state
    scale = state.state2.code[state.absmax.long()] * state.state2.absmax.repeat_interleave(256)[: len(state.absmax)]
    scale = (scale + state.offset).repeat_interleave(64)[: shape[0] * shape[1]]
    packed = layer.weight.flatten()
    code = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    expected = (state.code[code] * scale).view(shape)
    assert torch.allclose(layer.matrix(torch.float32), expected, rtol=2**-8, atol=0)  # rounded to bfloat16


@pytest.mark.parametrize("shape", [(33, 32), (96, 64), (64, 96), (300, 1024)], ids=str)
@pytest.mark.parametrize(("kind", "low", "high"), [("int8", 0.004, 0.009), ("nf4", 0.08, 0.11)])
def test_codes_are_close_to_the_weights(shape: tuple[int, int], kind: Quantisation, low: float, high: float) -> None:
    """Relative error of a normal matrix: 127 steps up to its largest of 32 to 1024 weights; or 16 quantiles."""
    weight = normal(*shape)
    error = (layer_of(kind, weight).matrix(torch.float32) - weight).norm() / weight.norm()
    assert low < float(error) < high


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_the_linear_map_of_its_matrix(shape: tuple[int, int], kind: Quantisation) -> None:
    bias = normal(shape[0], seed=1).double()
    layer = layer_of(kind, normal(*shape), bias)
    matrix = layer.matrix(torch.float64)
    x = normal(2, 3, shape[1], seed=2).double().requires_grad_()
    direction = normal(2, 3, shape[0], seed=3).double()
    out = layer(x)
    out.backward(direction)
    assert torch.allclose(out, x @ matrix.T + bias, rtol=0, atol=1e-6)
    assert x.grad is not None
    assert torch.allclose(x.grad, direction @ matrix, rtol=0, atol=1e-6)
    assert (layer.in_features, layer.out_features) == (shape[1], shape[0])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_differences(kind: Quantisation) -> None:
    layer = layer_of(kind, normal(5, 64), normal(5, seed=1))
    x = normal(3, 64, seed=2).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,), eps=1e-4, atol=1e-7)
    assert not any(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_zero_rows_stay_zero(kind: Quantisation) -> None:
    weight = normal(4, 64)
    weight[1] = 0
    matrix = layer_of(kind, weight).matrix(torch.float32)
    assert not matrix[1].any()
    assert torch.isfinite(layer_of(kind, weight)(normal(2, 64))).all()


@pytest.mark.parametrize(("family", "kind"), each_once(FAMILIES, KINDS))
def test_loss_and_adapter_gradients_equal_those_over_the_dequantised_weights(family: str, kind: Quantisation) -> None:
    """In float64. GRPO with KL: the policy with its adapter and the reference without."""
    model = quantised(kind, family, torch.float64)
    adapter, plain = adapted(model), adapted(dequantised(model, family, torch.float64))
    batch = batch_of(plain.model)
    loss, found = loss_and_gradients(adapter, batch)
    expected_loss, expected = loss_and_gradients(plain, batch)
    assert len(found) == len(expected) == 8
    assert all(abs(gradient).max() > 1e-6 for gradient in expected)
    assert loss == pytest.approx(expected_loss, rel=1e-8)
    assert largest_gap(found, expected) < 1e-8
    assert largest_gap(through_modules(adapter), through_modules(plain)) < 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_they_differ_by_rounding(kind: Quantisation) -> None:
    """As models are loaded. Compared with the float64 computation on the same weights: 8 bits of mantissa, 4 layers."""
    model = quantised(kind)
    adapter, plain = adapted(model), adapted(dequantised(model, "qwen2", torch.float64))
    batch = batch_of(plain.model)
    loss, found = loss_and_gradients(adapter, batch)
    expected_loss, expected = loss_and_gradients(plain, batch)
    assert loss == pytest.approx(expected_loss, rel=0.05, abs=0.05)
    cosines = [
        float((a * b).sum() / (abs(a * a).sum() * abs(b * b).sum()) ** 0.5)
        for a, b in zip(found, expected, strict=True)
    ]
    assert min(cosines) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_before_learning_leaves_the_gradients(kind: Quantisation) -> None:
    """bitsandbytes' own 4-bit layer repacks its weights at the first pass without gradient, and has none afterwards."""
    adapter = adapted(quantised(kind))
    batch = batch_of(quantised(kind))
    _, before = loss_and_gradients(adapter, batch)
    codes = {name: layer.weight.clone() for name, layer in layers_of(adapter.model).items()}
    sampled_forests(adapter.model, METHOD.explore)
    _, after = loss_and_gradients(adapter, batch)
    assert largest_gap(before, after) == 0
    stats = Learner(adapter, METHOD.objective, OptimiserSpec(1e-2)).step(batch, Key.of(1))
    assert stats.updated
    assert all(torch.equal(codes[name], layer.weight) for name, layer in layers_of(adapter.model).items())
    assert {matrix.dtype for matrix in adapter.matrices} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_batch(kind: Quantisation) -> None:
    """LLM.int8 takes any column out in which any row of the batch is above 6."""
    layer = layer_of(kind, normal(16, 64))
    rows = normal(3, 64, seed=1).double()
    loud = torch.cat([rows, 100 * normal(1, 64, seed=2).double()])
    assert torch.allclose(layer(loud)[:3], layer(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("family", "kind"), each_once(FAMILIES, KINDS))
def test_adapters_load_in_plain_peft(family: str, kind: Quantisation, tmp_path: Path) -> None:
    """On the dequantised base they give the same logits; on the plain float32 base they load and act."""
    model = quantised(kind, family, torch.float64)
    adapter = adapted(model)
    adapter.save(tmp_path)
    same = PeftModel.from_pretrained(
        dequantised(model, family, torch.float64).transformer.model, str(tmp_path), autocast_adapter_dtype=False
    )
    base = random_model(family, torch.float32)
    with torch.no_grad():
        ours = adapter.peft(input_ids=IDS, use_cache=False).logits
        assert torch.allclose(same(input_ids=IDS, use_cache=False).logits, ours, rtol=0, atol=1e-7)
        before = base(IDS, use_cache=False).logits
        plain = PeftModel.from_pretrained(base, str(tmp_path))
        assert {p.dtype for n, p in plain.named_parameters() if ".lora_" in n} == {torch.float32}
        assert (plain(input_ids=IDS, use_cache=False).logits - before).abs().max() > 0.1


def saved(path: Path, family: str = "qwen2", dtype: torch.dtype = torch.float32, **change: int) -> Path:
    """Write a whole model directory."""
    inner: Any = random_model(family, dtype)
    if change:
        config = type(inner.config)(**(inner.config.to_dict() | change))
        inner = type(inner)(config).to(dtype)
    inner.save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("family", "kind", "dtype"), each_once(FAMILIES, KINDS, [torch.float32, torch.bfloat16]), ids=str
)
def test_loading(family: str, kind: Quantisation, dtype: torch.dtype, tmp_path: Path) -> None:
    """The seven projections of each layer are quantised from the file's own weights; the rest is bfloat16."""
    model = load_model(str(saved(tmp_path, family, dtype)), kind)
    again = load_model(str(tmp_path), kind)
    plain = dict(random_model(family, dtype).named_parameters())
    layers = layers_of(model)
    assert len(layers) == 4 * 7
    for name, layer in layers.items():
        assert torch.equal(layer.matrix(torch.float32), layer_of(kind, plain[f"{name}.weight"]).matrix(torch.float32))
        assert torch.equal(layer.weight, layers_of(again)[name].weight)
    inner = model.transformer.model
    rest = {n: p for n, p in inner.named_parameters() if n.removesuffix(".weight") not in layers}
    assert {p.dtype for p in rest.values()} == {torch.bfloat16}
    assert all(torch.equal(p, plain[n].to(torch.bfloat16)) for n, p in rest.items())
    assert type(inner.lm_head) is torch.nn.Linear
    assert {b.dtype for n, b in inner.named_buffers() if "inv_freq" in n} == {torch.float32}
    assert model.transformer.dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.isfinite(inner(IDS, use_cache=False).logits).all()


def test_tied_embeddings_stay_tied(tmp_path: Path) -> None:
    inner: Any = load_model(str(saved(tmp_path)), "nf4").transformer.model
    assert inner.lm_head.weight is inner.model.embed_tokens.weight


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_are_quantised_too(kind: Quantisation, monkeypatch: pytest.MonkeyPatch) -> None:
    from creditree.models.shapes import PUBLIC_SHAPES, Shape

    monkeypatch.setitem(PUBLIC_SHAPES, "us/Tiny", Shape(2, 32, 4, 2, 8, 48, 64, 128, qkv_bias=True))
    model = load_model("random:tiny", kind)
    assert len(layers_of(model)) == 2 * 7
    assert model.transformer.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*CPU.*:UserWarning")
def test_a_checkpoint_that_is_saved_quantised(kind: Quantisation, tmp_path: Path) -> None:
    source, target = saved(tmp_path / "plain"), tmp_path / "quantised"
    options: dict[str, Any] = {"load_in_8bit": True}
    if kind == "nf4":
        options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    theirs = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16, quantization_config=BitsAndBytesConfig(**options), device_map={"": "cpu"}
    )
    theirs.save_pretrained(target)
    char_tokenizer().save_pretrained(target)
    model = load_model(str(target), kind)
    expected = {n: p for n, p in theirs.named_parameters() if p.dtype in (torch.int8, torch.uint8)}
    layers = layers_of(model)
    assert {f"{name}.weight" for name in layers} == set(expected)
    assert all(torch.equal(layers[n.removesuffix(".weight")].weight, p) for n, p in expected.items())
    original = dict(random_model("qwen2", torch.float32).named_parameters())
    for name, layer in layers.items():
        weight = original[f"{name}.weight"]
        assert (layer.matrix(torch.float32) - weight).norm() < 0.15 * weight.norm()
    assert all(matrix.dtype == torch.float32 for matrix in adapted(model).matrices)
    for wrong in ("float32", "int8" if kind == "nf4" else "nf4"):
        with pytest.raises(ModelError, match=f"are saved in {kind}, which cannot be used in {wrong}; set model.dtype"):
            load_model(str(target), wrong)


@pytest.mark.parametrize("dtype", ["float32", "nf4"])
def test_a_checkpoint_in_another_quantisation_is_refused(dtype: Dtype, tmp_path: Path) -> None:
    config = saved(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(ModelError, match=f"are saved in gptq, which cannot be used in {dtype}") as error:
        load_model(str(tmp_path), dtype)
    assert "\n" not in str(error.value)


def test_inputs_that_nf4_cannot_pack(tmp_path: Path) -> None:
    path = str(saved(tmp_path, intermediate_size=47))
    with pytest.raises(ModelError) as error:
        load_model(path, "nf4")
    assert str(error.value) == (
        "layer model.layers.0.mlp.down_proj has 47 inputs, and nf4 packs two weights of a row in a byte; set "
        "model.dtype to int8."
    )
    assert len(layers_of(load_model(path, "int8"))) == 4 * 7


@pytest.mark.parametrize("kind", KINDS)
def test_without_bitsandbytes(kind: Quantisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"run pip install 'creditree\[quant\]'") as error:
        load_model(str(tmp_path), kind)
    assert "\n" not in str(error.value)
    assert load_model(str(tmp_path)).transformer.dtype == torch.float32


def test_two_layers_share_their_tables() -> None:
    one, other = (Nf4Linear.of(normal(8, 64, seed=seed), None) for seed in (0, 1))
    shared = {tensor.data_ptr() for tensor in one.held()} & {tensor.data_ptr() for tensor in other.held()}
    assert shared == {one.state.code.data_ptr(), one.state.state2.code.data_ptr()}
