"""Models that are run by their own forward pass: as they are loaded, in every precision, with their ends."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from creditree.batch import pack
from creditree.credit.group_relative import GroupRelative
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.whole import engine_for
from creditree.errors import ConfigError, ModelError
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.layout import NotLayeredError
from creditree.models.load import Dtype, load_model
from creditree.models.quantise import QuantisedLinear
from creditree.models.transformer import Transformer
from creditree.models.whole import WholeModel
from creditree.objective.clipped import Clipped
from creditree.rng import Key
from creditree.select.everything import Everything
from creditree.tree import token_array
from tests.naive import naive_loss
from tests.rollouts import credited, sampled_forests
from tests.tiny_models import char_tokenizer, other, other_model, random_model

METHOD = Method("grpo", "", Group(5), GroupRelative(), Everything(), Clipped(kl=0.1))


def saved(path: Path, kind: str, **changes: Any) -> Path:
    """Write a whole model directory."""
    other_model(kind, torch.float32, **changes).save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("kind", "dtype"), [("phi3", "int8"), ("gemma3_text", "nf4"), ("opt", "nf4"), ("gpt2", "bfloat16")]
)
def test_it_learns_in_every_precision(kind: str, dtype: Dtype, tmp_path: Path) -> None:
    model = load_model(str(saved(tmp_path, kind, **({"word_embed_proj_dim": 32} if kind == "opt" else {}))), dtype)
    assert model.whole is not None
    quantised = [one for one in model.network.model.modules() if isinstance(one, QuantisedLinear)]
    assert bool(quantised) == (dtype != "bfloat16")
    assert model.network.dtype == torch.bfloat16
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.05)
    learner = Learner(adapter, METHOD.objective, OptimiserSpec(learning_rate=1e-3))
    forests = sampled_forests(model, METHOD.explore, temperature=1.0)
    advantages, weights = credited(METHOD, forests)
    batch = learner.with_old_logprobs(pack(forests, advantages, weights, keep_zero_advantage=True))
    assert np.abs(batch.old_logprob - batch.sampler_logprob).max() < 0.1  # rounded to 8 bits, in batches or not
    plain = naive_loss(adapter, METHOD.objective, forests, advantages, weights).item()
    assert learner.loss(batch) == pytest.approx(plain, abs=0.05)
    before = adapter.state()
    assert learner.step(batch, Key.of(1)).updated
    assert any(not torch.equal(tensor, before[name]) for name, tensor in adapter.state().items())


@pytest.mark.parametrize(("kind", "share"), [("gpt2", "0%"), ("qwen3_moe", "33%")])
def test_what_would_be_no_smaller_is_not_quantised(kind: str, share: str, tmp_path: Path) -> None:
    """GPT-2 has no linear layers, and the experts of a mixture lie in tensors: 6,144 numbers beside 3,072 a layer."""
    with pytest.raises(ModelError) as error:
        load_model(str(saved(tmp_path, kind)), "int8")
    assert f"has {share} of its weights in linear layers, so quantised it would be no smaller" in str(error.value)


def test_every_end_that_the_model_names_ends_a_completion(tmp_path: Path) -> None:
    saved(tmp_path, "gpt2")
    ends = [1, *range(20, 35)]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    model = load_model(str(tmp_path))
    assert model.eos_ids == tuple(ends)
    request = SampleRequest(token_array([5, 9]), tuple(Key.of(0).at(n) for n in range(12)), 20)
    found, _ = engine_for(model).sample([request], Sampling(1.0))
    stopped = [sample for sample in found[0] if sample.finish_reason == "stop"]
    assert len({int(sample.token_ids[-1]) for sample in stopped}) > 1
    for sample in found[0]:
        assert not set(sample.token_ids[:-1].tolist()) & set(ends)
    # ids from 50 on are rows without a token: they may be drawn, as by every way to sample, and are no text
    assert model.text([5, 60, 6, ends[0]]) == model.text([5, 6])


def test_projections_go_by_llamas_names_or_by_their_own() -> None:
    adapter = Adapter(other("gpt2"), LoraSpec(layers=(1, 3)), Key.of(0))
    assert {name.split(".lora_")[0] for name in adapter.state()} == {
        f"base_model.model.transformer.h.{layer}.attn.c_attn" for layer in (1, 3)
    }
    assert adapter.description.endswith("in layers 1 to 3 (c_attn)")
    with pytest.raises(ConfigError, match=r"names 'wte', which is no projection in this model's layers\..*c_attn"):
        Adapter(other("gpt2"), LoraSpec(targets=("wte",)), Key.of(0))
    moe = Adapter(other("qwen3_moe"), LoraSpec(targets=("q_proj",), layers=(2,)), Key.of(0))
    assert len(moe.matrices) == 2


def test_a_cache_that_does_not_go_on_as_the_sequence_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = other_model("gpt2")
    forward = model.forward

    def off_by_one(*inputs: Any, **more: Any) -> Any:
        caches = (more.get(name) for name in ("cache", "past_key_values"))  # transformers 5.24 renames it
        if any(cache is not None for cache in caches) and "position_ids" in more:
            more["position_ids"] = more["position_ids"] + 1
        return forward(*inputs, **more)

    off_by_one.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(model, "forward", off_by_one)
    with pytest.raises(ModelError, match="GPT2LMHeadModel predicts other tokens on rows with a cache"):
        WholeModel(model, "")


def test_rows_that_may_not_be_padded_are_of_one_length_each() -> None:
    """Attention of the model's own gives NaN before a row's first token in float64, and no more in float32."""
    assert [one.whole.pads for one in (other("gemma2"), other("gemma2", torch.float32)) if one.whole] == [False, True]


def test_layers_that_only_their_weights_show_to_be_no_chain_are_run_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_model("qwen2", torch.float32).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    request = SampleRequest(token_array([5, 9]), tuple(Key.of(0).at(n) for n in range(4)), 12)
    layered, _ = engine_for(load_model(str(tmp_path))).sample([request], Sampling(1.0))

    def refused(self: Transformer) -> None:
        raise NotLayeredError("its weights say no")

    monkeypatch.setattr(Transformer, "_check", refused)
    model = load_model(str(tmp_path))
    assert model.whole is not None
    assert model.texts.notes[-1].endswith("slower than layer by layer: its weights say no")
    found, _ = engine_for(model).sample([request], Sampling(1.0))
    assert [one.token_ids.tolist() for one in found[0]] == [one.token_ids.tolist() for one in layered[0]]
