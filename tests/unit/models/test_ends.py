"""What ends a completion: everything that the model says, wherever it says it, in every decoder."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import GenerationConfig

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ModelError
from creditree.models.ends import not_applied, not_applied_note
from creditree.models.load import Model
from creditree.models.texts import Texts
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import tiny
from tests.unit.models.test_texts import CHATML, byte_level

TEMPLATES = {
    "chatml": (CHATML, "<|im_end|>"),
    "gemma-like": (
        "<s>{% for m in messages %}<answer>{{ m['role'] }}\n{{ m['content'] }}</answer>\n{% endfor %}", "</answer>"
    ),
    "space before the end": ("{% for m in messages %}{{ m['content'] }} <|endoftext|>{% endfor %}", "<|endoftext|>"),
    "two tokens": ("{% for m in messages %}{{ m['content'] }}<|im_end|>\n{% endfor %}<|endoftext|>", "<|im_end|>"),
    "no token": ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", None),
    "answer left out": ("{{ messages[0]['content'] }}<|im_end|>", None),
    "broken": ("{% for m in messages %}{{ m['content'] }}", None),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_of_a_turn_is_read_off_any_template(name: str) -> None:
    template, token = TEMPLATES[name]
    tokenizer = byte_level(template)
    ends = Texts("m", tokenizer).ends
    turn = None if token is None else tokenizer.convert_tokens_to_ids(token)
    assert ends.turn == turn
    assert set(ends.ids) == {tokenizer.eos_token_id, turn} - {None}
    assert ends.closing(chat=False) == tokenizer.eos_token_id
    assert ends.closing(chat=True) == (tokenizer.eos_token_id if turn is None else turn)


def test_every_place_counts_and_is_named() -> None:
    config, generation = SimpleNamespace(eos_token_id=65), GenerationConfig(eos_token_id=[66, 65, 300])
    ends = Texts("m", byte_level(), config, generation, 280).ends
    assert ends.ids == (65, 66, 256, 300)
    assert [one.sources for one in ends.found] == [
        ("generation_config.json", "config.json"), ("generation_config.json",), ("tokenizer",),
        ("generation_config.json",),
    ]  # fmt: skip
    several, lost = ends.notes
    assert several.startswith("completions end at 'b' (65: generation_config.json, config.json), ")
    assert "'<|endoftext|>' (256: tokenizer) or " in several
    assert lost.startswith("the model has no row for 'not in the tokenizer' (300: generation_config.json), so it can")
    assert "every completion" not in lost


def test_one_end_that_is_in_reach_needs_no_word_and_one_that_is_not_does() -> None:
    assert Texts("m", byte_level(), rows=300).ends.notes == ()
    (note,) = Texts("m", byte_level(), rows=256).ends.notes
    assert note.endswith("ends no completion, and no other does: every completion goes on to its limit")


def test_without_any_end_a_model_is_refused() -> None:
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        _ = Texts("m", tokenizer).ends
    assert Texts("m", tokenizer, SimpleNamespace(eos_token_id=7)).ends.ids == (7,)


@pytest.mark.parametrize("value", ["x", [1, "x"], True, -1, 1.5, [None]])
def test_an_id_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ModelError, match=r"eos_token_id in config.json of model 'm' holds .*, which is no token id"):
        _ = Texts("m", byte_level(), SimpleNamespace(eos_token_id=value)).ends


def test_what_a_generation_configuration_says_besides_is_told_and_not_applied() -> None:
    said = GenerationConfig(eos_token_id=1, temperature=0.6, top_k=20, repetition_penalty=1.05, use_cache=True)
    assert not_applied(said) == {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.05}
    (note,) = not_applied_note(not_applied(said))
    assert note.startswith("not applied, of the model's generation_config.json: ")
    assert "repetition_penalty 1.05" in note
    assert not_applied_note(not_applied(GenerationConfig(eos_token_id=1))) == ()
    assert not_applied(None) == {}


@pytest.mark.parametrize("decoder", ["torch", "native", "static"])
def test_completions_end_at_every_end_in_every_decoder(decoder: str) -> None:
    model = tiny()
    network: Any = model.transformer.model
    network.generation_config.eos_token_id = [9, 12, 17]
    model = Model(model.name, model.transformer, model.tokenizer)
    assert model.eos_ids == (1, 9, 12, 17)
    engine = InProcessEngine(model, native=decoder == "native", static=decoder == "static")
    request = SampleRequest(token_array([5, 9]), tuple(Key.of(3).at(i) for i in range(60)), 30)
    (samples,), _ = engine.sample([request], Sampling(1.0))
    last = {int(sample.token_ids[-1]) for sample in samples if sample.finish_reason == "stop"}
    assert last == {1, 9, 12, 17}
    for sample in samples:
        assert not np.isin(sample.token_ids[:-1], model.eos_ids).any()
        assert (sample.finish_reason == "stop") == (int(sample.token_ids[-1]) in model.eos_ids)
