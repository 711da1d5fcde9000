"""Native products at sizes that no tile divides: exact sums, and the same bits whatever is computed beside a row."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native import library as library_module
from creditree.engines.native.compiler import ISA, compiler_path, flags
from creditree.engines.native.decoder import NativeDecoder
from creditree.errors import ConfigError
from creditree.models.attention import ATTENTION
from creditree.models.load import Model
from creditree.models.quantise import QuantisedLinear, quantise
from creditree.models.transformer import Transformer
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import char_tokenizer

pytestmark = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler here: torch decodes")
TOKENS = 3
KINDS = ("float32", "bfloat16", "int8", "nf4")
ALL = [
    pytest.param(isa, kind, marks=[] if isa == "native" else [pytest.mark.slow])
    for isa in ("native", "avx512", "avx2")
    for kind in KINDS
]
CODES = [one for one in ALL if one.values[1] in ("int8", "nf4")]


@pytest.fixture
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The instructions that native code is compiled for in this test."""
    monkeypatch.setenv(ISA, request.param)
    try:
        flags()
    except ConfigError:
        pytest.skip(f"this processor has no {request.param}")
    library_module.forget()
    yield request.param
    library_module.forget()


def odd(kind: str) -> Model:
    """A model whose widths are no multiples of a vector or a tile, an MLP wider than what is summed in one go.

    Its blocks of nf4 run on from row to row. The vocabulary is so large that two threads share the head.
    """
    return made(kind, 56, 1106)


def whole(kind: str) -> Model:
    """A model of whole blocks of codes in every row. Its keys have fewer outputs than are taken at a time."""
    return made(kind, 64, 1152)


def made(kind: str, hidden: int, intermediate: int) -> Model:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=9401, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.1, tie_word_embeddings=False,
        eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    config._attn_implementation = ATTENTION
    network: Any = Qwen2ForCausalLM(config).eval().requires_grad_(False)
    if kind in ("int8", "nf4"):
        quantise(network, kind, "cpu")  # type: ignore[arg-type]
    else:
        network = network.to(getattr(torch, kind))
    return Model("random:odd", Transformer(network), char_tokenizer())


def prompt(index: int) -> list[int]:
    return [3 + index, 5 + 7 * index % 50, 40]


def sampled(model: Model, rows: list[int]) -> list[Sample]:
    """Return a completion of each row's own prompt."""
    engine = InProcessEngine(model)
    assert isinstance(engine._decoder(), NativeDecoder)
    asked = [SampleRequest(token_array(prompt(row)), (Key.of(row),), TOKENS) for row in rows]
    groups, _ = engine.sample(asked, Sampling(1.0))
    return [sample for group in groups for sample in group]


def exact(model: Model) -> Any:
    """The same weights, dequantised where they are codes, in a plain float64 model of transformers."""
    network: Any = copy.deepcopy(model.transformer.model)
    for name, module in list(network.named_modules()):
        if isinstance(module, QuantisedLinear):
            plain = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
            plain.weight.data = module.matrix(torch.float32)
            if module.bias is not None:
                plain.bias.data = module.bias.float()
            network.set_submodule(name, plain)
    network.set_attn_implementation("eager")
    return network.double().eval().requires_grad_(False)


@pytest.mark.parametrize(("isa", "kind"), ALL, indirect=["isa"])
def test_log_probabilities_are_those_of_exact_arithmetic(isa: str, kind: str) -> None:
    """float32: sums of 1106 products are off by at most 1106 * 2^-24 = 7e-5 of their size.

    Otherwise activations are rounded to 8 bits, by 2^-9 = .002 of their size, at five places of two layers and before
    the head; logits are of size 1 here, so errors of .01 are usual, and one of .06 would take a mistake.
    """
    check_against_exact(odd(kind), 1e-4 if kind == "float32" else 0.06)


@pytest.mark.parametrize(("isa", "kind"), CODES, indirect=["isa"])
def test_log_probabilities_of_whole_blocks_of_codes_are_those_of_exact_arithmetic(isa: str, kind: str) -> None:
    check_against_exact(whole(kind), 0.06)


def check_against_exact(model: Model, bound: float) -> None:
    reference = exact(model)
    for row, sample in enumerate(sampled(model, list(range(9)))):
        ids = torch.tensor([[*prompt(row), *sample.token_ids.tolist()]])
        logprobs = reference(ids).logits.double().log_softmax(-1)[0, len(prompt(row)) - 1 : -1]
        expected = logprobs.gather(1, ids[0, len(prompt(row)) :, None])[:, 0]
        assert sample.logprobs == pytest.approx(expected.numpy(), abs=bound)


@pytest.mark.parametrize(("isa", "kind"), ALL, indirect=["isa"])
def test_a_row_has_the_same_bits_beside_any_number_of_others_and_on_any_number_of_threads(isa: str, kind: str) -> None:
    check_bits(odd(kind))


@pytest.mark.parametrize(("isa", "kind"), CODES, indirect=["isa"])
def test_a_row_of_whole_blocks_of_codes_has_the_same_bits_beside_any_number_of_others(isa: str, kind: str) -> None:
    check_bits(whole(kind))


def check_bits(model: Model) -> None:
    before = torch.get_num_threads()
    together = sampled(model, list(range(65)))
    try:
        for count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64):
            torch.set_num_threads(2 if count in (1, 5, 64) else 1)
            for one, other in zip(sampled(model, list(range(count))), together, strict=False):
                assert one.token_ids.tolist() == other.token_ids.tolist()
                assert np.array_equal(one.logprobs, other.logprobs)
    finally:
        torch.set_num_threads(before)


def test_instructions_that_nobody_knows_are_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA, "avx3")
    with pytest.raises(ConfigError, match="CREDITREE_ISA is 'avx3'; set native, avx512, avx2, or none"):
        flags()


def test_instructions_that_the_processor_does_not_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.engines.native.compiler._processor", lambda: "flags : fpu avx")
    monkeypatch.setenv(ISA, "avx2")
    with pytest.raises(ConfigError, match="which this processor does not have"):
        flags()
