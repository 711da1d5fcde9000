"""LoRA adapters: which layers, what is trained, switched off and on, saved and read again, by us and by plain PEFT."""

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from creditree.errors import ConfigError, ModelError
from creditree.models.adapter import Adapter, LoraSpec, saved_spec
from creditree.models.load import Model
from creditree.rng import Key
from tests.tiny_models import FAMILIES, random_model, tiny

IDS = (torch.arange(22).reshape(2, 11) * 7) % 60 + 2
SPEC = LoraSpec(rank=3, layers=0.5)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def logits(adapter: Adapter) -> Tensor:
    with torch.no_grad():
        found: Tensor = adapter.peft(input_ids=IDS, use_cache=False).logits
    return found


def stir(adapter: Adapter, seed: int = 1) -> Adapter:
    """Move every matrix away from where it is."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.3 * torch.randn(matrix.shape, generator=generator).to(matrix.dtype))
    return adapter


@pytest.mark.parametrize(
    ("layers", "num_layers", "expected"),
    [
        (1 / 3, 28, range(19, 28)),
        (1 / 4, 28, range(21, 28)),
        (1 / 3, 6, range(4, 6)),
        (0.5, 5, range(3, 5)),
        (1.0, 28, range(28)),
        (1.0, 1, range(1)),
        (2 / 3, 6, range(2, 6)),
        (0.01, 28, range(27, 28)),
        ((5, 2, 2), 6, (2, 5)),
        ((0,), 6, (0,)),
    ],
)
def test_adapted_layers(layers: float | tuple[int, ...], num_layers: int, expected: range | tuple[int, ...]) -> None:
    """A fraction counts from the last layer and is rounded down, to one layer at least."""
    assert LoraSpec(layers=layers).layer_indices(num_layers) == tuple(expected)


@pytest.mark.parametrize("divisor", range(1, 29))
def test_a_fraction_that_divides_the_layers_is_not_lost_to_rounding(divisor: int) -> None:
    for per_part in range(1, 5):
        found = LoraSpec(layers=1 / divisor).layer_indices(divisor * per_part)
        assert len(found) == per_part


@pytest.mark.parametrize(("layers", "wrong"), [((6,), 6), ((0, 5, 9), 9), ((-1,), -1)])
def test_a_layer_that_does_not_exist_is_refused(layers: tuple[int, ...], wrong: int) -> None:
    with pytest.raises(ConfigError) as error:
        LoraSpec(layers=layers).layer_indices(6)
    assert str(error.value) == (
        f"lora.layers names layer {wrong}, but the model has layers 0 to 5; give indices in that range."
    )


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, math.nan])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="give a fraction above 0 and at most 1, or a list of layer indices"):
        LoraSpec(layers=fraction).layer_indices(6)


@pytest.mark.parametrize(("target", "words"), [("q_prj", "Did you mean 'q_proj'?"), ("lm_head", "no projection in")])
def test_a_projection_that_the_layers_do_not_have_is_refused(target: str, words: str) -> None:
    """The head too: it is run apart from the layers."""
    with pytest.raises(ConfigError, match=f"lora.targets names '{target}'") as error:
        Adapter(tiny("llama"), LoraSpec(targets=("v_proj", target)), Key.of(0))
    assert words in str(error.value)


@pytest.mark.parametrize("spec", [LoraSpec(rank=10**12), LoraSpec(rank=10**30), LoraSpec(rank=2, alpha=1.5e308)])
def test_what_cannot_be_allocated_or_represented_is_one_sentence(spec: LoraSpec) -> None:
    with pytest.raises(ModelError, match=r"set lora\.rank or lora\.alpha to less") as error:
        Adapter(tiny(dtype=torch.float32), spec, Key.of(0))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_changes_nothing(family: str) -> None:
    model = tiny(family)
    with torch.no_grad():
        before = model.transformer.model(IDS, use_cache=False).logits
    adapter = Adapter(model, SPEC, Key.of(0))
    assert torch.equal(logits(adapter), before)
    assert not adapter.peft.training


def test_it_adapts_the_named_projections_of_the_named_layers_only() -> None:
    adapter = Adapter(tiny(), LoraSpec(rank=3, layers=(1, 3), targets=("k_proj", "up_proj")), Key.of(0))
    expected = {
        f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"
        for layer in (1, 3)
        for module in ("self_attn.k_proj", "mlp.up_proj")
        for side in "AB"
    }
    assert set(adapter.state()) == expected
    assert adapter.layer_indices == (1, 3)
    assert adapter.first_layer == 1
    assert len(adapter.matrices) == 8
    # k: 32 -> 16, up: 32 -> 48
    assert adapter.num_parameters == 2 * 3 * ((32 + 16) + (32 + 48))
    assert adapter.num_parameters == sum(tensor.numel() for tensor in adapter.state().values())


def test_a_is_kaiming_uniform_from_the_key_and_b_is_zero() -> None:
    one, same, other = (Adapter(tiny(), SPEC, Key.of(seed)).state() for seed in (0, 0, 1))
    bound = 1 / math.sqrt(32)  # PEFT's kaiming_uniform with a = sqrt(5): 1 / sqrt(inputs)
    for name, tensor in one.items():
        assert torch.equal(tensor, same[name])
        if ".lora_B." in name:
            assert not tensor.any()
        else:
            assert not torch.equal(tensor, other[name])
            assert bound / 2 < float(tensor.abs().max()) <= bound
    assert len({tuple(tensor.flatten().tolist()) for name, tensor in one.items() if ".lora_A." in name}) == 4


def test_the_global_random_state_neither_matters_nor_changes() -> None:
    model = tiny()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = Adapter(model, SPEC, Key.of(0)).state()
    assert torch.equal(torch.get_rng_state(), before)
    model = tiny()
    torch.manual_seed(4)
    other = Adapter(model, SPEC, Key.of(0)).state()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("alpha", "scale"), [(None, 2.0), (3.0, 1.0), (1.5, 0.5)])
def test_the_update_is_alpha_over_rank_times_b_a(alpha: float | None, scale: float) -> None:
    spec = LoraSpec(rank=3, alpha=alpha, layers=(3,), targets=("v_proj",))
    adapter = stir(Adapter(tiny(), spec, Key.of(0)))
    module = adapter.peft.get_submodule("base_model.model.model.layers.3.self_attn.v_proj")
    a, b = adapter.matrices
    assert a.shape == (3, 32)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        found = module(x)
        with adapter.off():
            base = module(x)
        assert torch.allclose(found - base, scale * x @ a.T @ b.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_off_is_the_base_model_and_ends_with_the_block(family: str) -> None:
    model = tiny(family)
    with torch.no_grad():
        base = model.transformer.model(IDS, use_cache=False).logits
    adapter = stir(Adapter(model, SPEC, Key.of(0)))
    adapted = logits(adapter)
    assert (adapted - base).abs().max() > 0.1
    with adapter.off():
        assert torch.equal(logits(adapter), base)
    assert torch.equal(logits(adapter), adapted)
    with pytest.raises(KeyError), adapter.off():
        raise KeyError
    assert torch.equal(logits(adapter), adapted)
    assert all(matrix.requires_grad for matrix in adapter.matrices)


def test_only_the_matrices_are_trained_and_in_float32_at_least() -> None:
    for dtype, kind in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        adapter = Adapter(tiny(dtype=dtype), SPEC, Key.of(0))
        assert {matrix.dtype for matrix in adapter.matrices} == {kind}
        assert {p.dtype for p in adapter.peft.parameters() if not p.requires_grad} == {dtype}
        trained = {name for name, p in adapter.peft.named_parameters() if p.requires_grad}
        assert all(".lora_A." in name or ".lora_B." in name for name in trained)
        assert len(trained) == len(adapter.matrices) == 8


def test_dropout_acts_in_training_mode_only() -> None:
    adapter = stir(Adapter(tiny(), LoraSpec(rank=3, layers=0.5, dropout=0.5), Key.of(0)))
    still = logits(adapter)
    assert torch.equal(logits(adapter), still)
    adapter.peft.train()
    assert not torch.equal(logits(adapter), still)


def test_state_is_a_copy_and_goes_back_in() -> None:
    adapter = stir(Adapter(tiny(), SPEC, Key.of(0)))
    saved, before = adapter.state(), logits(adapter)
    stir(adapter, 2)
    assert not torch.equal(logits(adapter), before)
    adapter.load_state(saved)
    assert torch.equal(logits(adapter), before)
    other = Adapter(tiny(), SPEC, Key.of(5))
    other.load_state(saved)
    assert torch.equal(logits(other), before)
    matrices = adapter.matrices
    adapter.load_state(saved)
    assert all(one is same for one, same in zip(matrices, adapter.matrices, strict=True))


@pytest.mark.parametrize(
    "spec",
    [
        LoraSpec(rank=4, layers=0.5),
        LoraSpec(rank=3, layers=0.25),
        LoraSpec(rank=3, layers=(0, 1)),
        LoraSpec(rank=3, layers=0.5, targets=("q_proj",)),
        LoraSpec(rank=3, layers=0.5, targets=("q_proj", "k_proj")),
    ],
    ids=str,
)
def test_a_state_of_other_matrices_is_refused_and_changes_nothing(spec: LoraSpec) -> None:
    adapter = stir(Adapter(tiny(), SPEC, Key.of(0)))
    before = adapter.state()
    with pytest.raises(ModelError, match="other matrices than this configuration's"):
        adapter.load_state(Adapter(tiny(), spec, Key.of(0)).state())
    assert all(torch.equal(before[name], tensor) for name, tensor in adapter.state().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_loads_with_plain_peft_and_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    spec = LoraSpec(rank=3, alpha=5, layers=(1, 3), targets=("q_proj", "v_proj", "down_proj"))
    adapter = stir(Adapter(tiny(family), spec, Key.of(0)))
    adapter.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".md"}
    fresh = random_model(family)
    with torch.no_grad():
        base = fresh(IDS, use_cache=False).logits
    plain = PeftModel.from_pretrained(fresh, str(tmp_path), autocast_adapter_dtype=False)
    with torch.no_grad():
        found = plain(input_ids=IDS, use_cache=False).logits
    assert torch.equal(found, logits(adapter))
    assert (found - base).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_loads_with_us(family: str, tmp_path: Path) -> None:
    adapter = stir(Adapter(tiny(family, torch.float32), SPEC, Key.of(0)))
    adapter.save(tmp_path)
    name, spec = saved_spec(tmp_path)
    assert name == f"random:{family}"
    assert spec == LoraSpec(rank=3, alpha=6, dropout=0.0, layers=(2, 3), targets=("q_proj", "v_proj"))
    other = Adapter(tiny(family, torch.float32), spec, Key.of(9))
    other.load(tmp_path)
    assert torch.equal(logits(other), logits(adapter))
    assert set(load_file(tmp_path / WEIGHTS)) == set(adapter.state())


def test_saved_spec_keeps_every_setting(tmp_path: Path) -> None:
    spec = LoraSpec(rank=5, alpha=7.5, dropout=0.25, layers=(2,), targets=("k_proj", "up_proj"))
    Adapter(tiny(), spec, Key.of(0)).save(tmp_path)
    assert saved_spec(tmp_path)[1] == spec


@pytest.mark.parametrize("family", FAMILIES)
def test_the_base_weights_are_bit_identical_after_all_of_it(family: str, tmp_path: Path) -> None:
    model = tiny(family, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.transformer.model.state_dict().items()}
    adapter = stir(Adapter(model, LoraSpec(rank=3, layers=1.0, dropout=0.1), Key.of(0)))
    adapter.peft.train()
    adapter.peft(input_ids=IDS, use_cache=False).logits.square().sum().backward()
    torch.optim.AdamW(adapter.matrices, lr=0.1).step()
    adapter.peft.eval()
    with adapter.off():
        logits(adapter)
    adapter.load_state(adapter.state())
    adapter.save(tmp_path)
    adapter.load(tmp_path)
    after = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.transformer.model.state_dict().items()
        if ".lora_" not in name
    }
    assert set(after) == set(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_directories_without_an_adapter_are_refused(tmp_path: Path) -> None:
    adapter = Adapter(tiny(), SPEC, Key.of(0))
    for ask in (adapter.load, saved_spec):
        with pytest.raises(ModelError, match=r"holds no adapter_config\.json; give the directory of a PEFT adapter"):
            ask(tmp_path)
    adapter.save(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    for ask in (adapter.load, saved_spec):
        with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors; give the directory of a PEFT adap"):
            ask(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_weights_are_refused(content: bytes | None, tmp_path: Path) -> None:
    adapter = Adapter(tiny(), SPEC, Key.of(0))
    adapter.save(tmp_path)
    weights = tmp_path / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:300] if content is None else content)
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors' is damaged"):
        adapter.load(tmp_path)


def test_published_files_are_the_same_whatever_the_order_and_readable_as_the_others(tmp_path: Path) -> None:
    texts = []
    for name, targets in (("one", ("v_proj", "q_proj", "up_proj")), ("two", ("up_proj", "v_proj", "q_proj"))):
        Adapter(tiny(), LoraSpec(rank=2, layers=0.5, targets=targets), Key.of(0)).save(tmp_path / name)
        texts.append((tmp_path / name / CONFIG).read_bytes())
        modes = {path.stat().st_mode for path in (tmp_path / name).iterdir()}
        assert len(modes) == 1
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["target_modules"] == ["q_proj", "up_proj", "v_proj"]


def test_a_directory_as_base_is_named_so_that_it_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny()
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    Adapter(Model("base", model.transformer, model.tokenizer), SPEC, Key.of(0)).save(tmp_path / "saved")
    assert saved_spec(tmp_path / "saved")[0] == str(tmp_path / "base")


def test_the_model_is_the_one_that_was_given() -> None:
    model: Model = tiny()
    assert Adapter(model, SPEC, Key.of(0)).model is model
