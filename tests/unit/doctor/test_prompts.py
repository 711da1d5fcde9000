"""How the model is asked: chat formats that are mangled, letters that are lost, tokens that change."""

from typing import Any

import pytest

from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis
from creditree.doctor.prompts import chat_template, missing_header, prompt_tokens
from creditree.models.texts import Texts
from creditree.tasks.task import PromptTemplate
from tests import tiny_models
from tests.unit.doctor.cases import Listed, config, questions

USER, ANSWER = "<eos>", "<pad>"
"""Special tokens that stand behind a question and before an answer."""
TURNS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}<eos>"
    "{% else %}<pad>{{ m['content'] }}<eos>{% endif %}{% endfor %}"
)
SOUND = TURNS + "{% if add_generation_prompt %}<pad>{% endif %}"
THINKING = TURNS.replace("<pad>{{", "<pad>(){{") + "{% if add_generation_prompt %}<pad>{% endif %}"
"""A conversation has an empty thought before an answer, as Qwen3's has: no special token is missing."""
PLAIN = PromptTemplate(chat=False)


def texts(template: str | None = None, **of: Any) -> Texts:
    tokenizer = tiny_models.char_tokenizer()
    tokenizer.chat_template = template
    for name, value in of.items():
        setattr(tokenizer, name, value)
    return Texts("tiny", tokenizer)


def case(side: Texts, prompt: PromptTemplate = PLAIN, *asked: str) -> Case:
    task = Listed(questions(*(asked or ("how much is 2 + 2?",))), questions("how much is 3 + 3?", name="test"), prompt)
    return Case(config=config(), task=task, texts=side)


def said(diagnosis: Diagnosis | None) -> tuple[str, str]:
    assert diagnosis is not None
    assert diagnosis.evidence
    return diagnosis.severity, diagnosis.text


def test_a_template_that_does_not_begin_the_answer() -> None:
    assert missing_header(texts(TURNS)) == ANSWER
    severity, text = said(chat_template(case(texts(TURNS), PromptTemplate())))
    assert severity == "problem"
    assert f"leaves out '{ANSWER}'" in text


@pytest.mark.parametrize("template", [SOUND, THINKING])
def test_a_sound_template_has_no_diagnosis(template: str) -> None:
    side = texts(template)
    assert missing_header(side) is None
    assert chat_template(case(side, PromptTemplate())) is None


def test_a_template_in_a_template() -> None:
    wording = PromptTemplate(f"{{question}}{USER}{ANSWER}")
    diagnosis = chat_template(case(texts(SOUND), wording))
    severity, text = said(diagnosis)
    assert severity == "problem"
    assert "a template in a template" in text
    assert diagnosis is not None
    assert diagnosis.settings == {"task.prompt.chat": False}


def test_a_chat_format_that_is_left_out_is_a_note() -> None:
    assert said(chat_template(case(texts(SOUND))))[0] == "note"
    assert chat_template(case(texts())) is None  # there is none to be left out


def test_letters_that_the_tokenizer_cannot_write() -> None:
    diagnosis = prompt_tokens(case(texts(), PLAIN, "HOW much is 2 + 2?", "what is 3?"))
    severity, text = said(diagnosis)
    assert severity == "problem"
    assert "1 of 3 questions" in text  # the third is the held-out one
    assert diagnosis is not None
    assert diagnosis.evidence["letters"] == "HOW"
    assert "'HOW much is 2 + 2?' becomes '<unk><unk><unk> much" in diagnosis.example


def test_a_prompt_that_begins_twice() -> None:
    side = texts(bos_token="<pad>")
    severity, text = said(prompt_tokens(case(side, PromptTemplate("<pad><pad>{question}", chat=False))))
    assert (severity, "begin with <pad> twice" in text) == ("problem", True)


def test_tokens_that_a_round_trip_changes_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_models, "ALPHABET", tiny_models.ALPHABET + "<>")
    diagnosis = prompt_tokens(case(texts(), PLAIN, "what does <eos> mean?"))
    severity, text = said(diagnosis)
    assert severity == "note"
    assert "1 of 2 prompts would be read as other tokens" in text
    assert diagnosis is not None
    assert diagnosis.evidence["first_place"] == len("what does ")  # "<", which data may write, and no end token
    assert diagnosis.example == "token 10 of problem 'q0': '<eo' becomes '<eos> m'"


def test_a_prompt_that_comes_back_as_it_was_has_no_diagnosis() -> None:
    assert prompt_tokens(case(texts())) is None
    assert prompt_tokens(case(texts(SOUND), PromptTemplate())) is None
