"""Layer-by-layer equals the model's own forward pass; what is not such a chain is refused."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from creditree.errors import ModelError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.attention import ATTENTION, CausalPlan, grouped_attention
from creditree.models.transformer import Transformer
from creditree.rng import Key
from tests.tiny_models import FAMILIES, random_model, tiny

IDS = (torch.arange(22).reshape(2, 11) * 7) % 60 + 2
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}


@dataclass(slots=True)
class Recording:
    """A causal plan that notes what each layer hands it."""

    calls: list[tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...], float]] = field(default_factory=list)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend causally."""
        self.calls.append((layer, tuple(query.shape), tuple(key.shape), tuple(value.shape), scaling))
        return CausalPlan().attend(layer, query, key, value, scaling)


@dataclass(slots=True)
class Blocks:
    """Causal attention inside blocks of one row: tokens of different blocks never see one another."""

    block: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend inside blocks."""
        order = torch.arange(len(self.block))
        mask = (self.block[:, None] == self.block[None, :]) & (order[:, None] >= order[None, :])
        return grouped_attention(query, key, value, mask[None, None], scaling)


def chain(transformer: Transformer, ids: Tensor, cut: int = 2, positions: Tensor | None = None) -> Tensor:
    """Return the logits by hand, the layers in two goes."""
    hidden = transformer.embed(ids)
    if positions is None:
        positions = torch.arange(ids.shape[1]).expand(ids.shape)
    rope = transformer.rope(hidden, positions)
    hidden = transformer.layers(hidden, rope, CausalPlan(), 0, cut)
    hidden = transformer.layers(hidden, rope, CausalPlan(), cut)
    return transformer.logits(transformer.norm(hidden))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cut", [0, 2, 4])
def test_layer_by_layer_is_the_models_own_forward(family: str, cut: int) -> None:
    transformer = tiny(family).transformer
    with torch.no_grad():
        expected = transformer.model(IDS, use_cache=False).logits
        assert torch.allclose(chain(transformer, IDS, cut), expected, rtol=0, atol=1e-10)
    assert expected.std() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_also_under_peft_with_the_adapter_on_and_off(family: str) -> None:
    model = tiny(family)
    with torch.no_grad():
        base = model.transformer.model(IDS, use_cache=False).logits
    adapter = Adapter(model, LoraSpec(rank=3, layers=0.5, targets=("q_proj", "v_proj", "down_proj")), Key.of(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.3 * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
        adapted = adapter.peft(input_ids=IDS, use_cache=False).logits
        assert torch.allclose(chain(model.transformer, IDS), adapted, rtol=0, atol=1e-10)
        assert (adapted - base).abs().max() > 0.1
        with adapter.off():
            assert torch.allclose(chain(model.transformer, IDS), base, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plan_is_asked_once_a_layer_in_order_with_the_models_shapes(family: str) -> None:
    transformer = tiny(family).transformer
    plan = Recording()
    hidden = transformer.embed(IDS)
    rope = transformer.rope(hidden, torch.arange(11).expand(2, 11))
    size = 16 if family == "qwen3" else 8
    with torch.no_grad():
        out = transformer.layers(hidden, rope, plan, 1, 3)
    assert out.shape == hidden.shape
    assert [layer for layer, *_ in plan.calls] == [1, 2]
    for _, query, key, value, scaling in plan.calls:
        assert query == (2, 4, 11, size)
        assert key == value == (2, 2, 11, size)
        assert scaling == pytest.approx(size**-0.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_sequences_packed_in_one_row_equal_separate_ones(family: str) -> None:
    """Positions are the caller's: each block counts from 0, and the plan keeps the blocks apart."""
    transformer = tiny(family).transformer
    packed = torch.cat([IDS[0], IDS[1, :6]])[None]
    positions = torch.cat([torch.arange(11), torch.arange(6)])[None]
    plan = Blocks(torch.tensor([0] * 11 + [1] * 6))
    with torch.no_grad():
        hidden = transformer.embed(packed)
        hidden = transformer.layers(hidden, transformer.rope(hidden, positions), plan)
        logits = transformer.logits(transformer.norm(hidden))[0]
        for found, ids in ((logits[:11], IDS[:1]), (logits[11:], IDS[1:, :6])):
            expected = transformer.model(ids, use_cache=False).logits[0]
            assert torch.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_differences_of_positions_matter_and_they_do(family: str) -> None:
    transformer = tiny(family).transformer
    positions = torch.arange(11).expand(2, 11)
    with torch.no_grad():
        plain = chain(transformer, IDS)
        # the angles are computed in float32
        assert torch.allclose(chain(transformer, IDS, positions=positions + 50), plain, rtol=0, atol=1e-3)
        stretched = chain(transformer, IDS, positions=positions * 2)
        assert (stretched[:, 1:] - plain[:, 1:]).abs().max() > 0.1
        assert torch.allclose(stretched[:, 0], plain[:, 0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("family", "kv_width"), [("qwen2", 2 * 8 * 2), ("qwen3", 2 * 16 * 2), ("llama", 2 * 8 * 2)])
def test_sizes(family: str, kv_width: int) -> None:
    transformer = tiny(family, torch.float32).transformer
    assert transformer.num_layers == 4
    assert transformer.hidden_size == 32
    assert transformer.vocab_size == 64
    assert transformer.max_positions == 128
    assert transformer.kv_width == kv_width
    assert transformer.dtype == torch.float32
    assert transformer.device == torch.device("cpu")


def test_wrapping_registers_the_attention_and_leaves_the_mode() -> None:
    model = random_model()
    model.set_attn_implementation("eager")
    model.train()
    transformer = Transformer(model)
    assert model.training
    assert model.config._attn_implementation == ATTENTION
    model.eval()
    with torch.no_grad():
        expected = model(IDS, use_cache=False).logits
        assert torch.allclose(chain(transformer, IDS), expected, rtol=0, atol=1e-10)


def test_bfloat16_is_accepted() -> None:
    assert Transformer(random_model(dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_another_layout_is_refused() -> None:
    config = GPT2Config(
        n_layer=1, n_embd=16, n_head=2, vocab_size=64, n_positions=32, bos_token_id=None, eos_token_id=None
    )
    with pytest.raises(ModelError, match=r"GPT2LMHeadModel is not laid out as .* use a Qwen2, Qwen3 or Llama"):
        Transformer(GPT2LMHeadModel(config).eval())


def test_layers_with_a_sliding_window_are_refused() -> None:
    config = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=64, max_window_layers=2)
    with pytest.raises(ModelError, match="has layers of type sliding_attention, and not of full attention"):
        Transformer(Qwen2ForCausalLM(config).eval())


@pytest.mark.parametrize("window", [4, 64])
def test_a_window_over_all_layers_is_refused_however_long(window: int) -> None:
    """Longer than the few tokens on which the chain is compared, too."""
    config = MistralConfig(**SIZES, sliding_window=window)
    with pytest.raises(ModelError, match=f"MistralForCausalLM attends to the last {window} tokens only"):
        Transformer(MistralForCausalLM(config).eval())


@pytest.mark.parametrize("window", [None, 128])
def test_no_window_or_one_of_the_whole_context_is_accepted(window: int | None) -> None:
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=window)).eval()
    transformer = Transformer(model)
    ids = torch.arange(100)[None] % 60
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits
        assert torch.allclose(chain(transformer, ids), expected, rtol=0, atol=1e-3 * float(expected.abs().max()))


class Scaled(LlamaForCausalLM):
    """A model whose forward pass does more than the chain: it scales its logits."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the logits, halved."""
        out = super().forward(*arguments, **keywords)
        out.logits = 0.5 * out.logits
        return out


class Embedded(LlamaForCausalLM):
    """A model that does something to its embeddings before the first layer."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the layers on doubled embeddings."""
        return super().forward(inputs_embeds=2 * self.model.embed_tokens(arguments[0]), **keywords)


@pytest.mark.parametrize("kind", [Scaled, Embedded])
def test_a_forward_that_does_more_is_refused(kind: type[LlamaForCausalLM]) -> None:
    plain = random_model("llama", torch.float32)
    other = kind(plain.config).eval()  # type: ignore[arg-type]
    other.load_state_dict(plain.state_dict())
    with pytest.raises(ModelError, match=f"{kind.__name__} does more than embedding, layers, norm and head"):
        Transformer(other)
    Transformer(plain)
