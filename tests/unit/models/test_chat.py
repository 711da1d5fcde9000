"""Chat templates that fail, hang or fill the memory: one sentence each, and the next one is rendered."""

import pytest

from creditree.errors import ModelError
from creditree.models import chat
from creditree.models.chat import ChatTemplate
from tests.unit.models.test_texts import CHATML, byte_level

USER = [{"role": "user", "content": "1+1?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *USER]
EVERYONE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"

FAULTS = {
    "raises": ("{{ raise_exception('roles must take turns') }}", "TemplateError: roles must take turns"),
    "undefined": ("{{ nothing.at_all }}", "UndefinedError: 'nothing' is undefined"),
    "syntax": ("{% if %}", "TemplateSyntaxError: Expected an expression"),
    "unsafe": ("{{ messages.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
    "range": ("{% for i in range(10 ** 7) %}{% endfor %}", "OverflowError: Range too big"),
    "division": ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
    "memory": ("{{ 'ab' * 4000000000 }}", "it needs too much memory"),
    "length": ("{{ messages[0]['content'] * 9000000 }}", "characters of a short conversation"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_sentence_with_the_engines_words(name: str) -> None:
    template, words = FAULTS[name]
    with pytest.raises(ModelError) as refused:
        ChatTemplate("my-model", byte_level(template)).render(USER, answer_next=True)
    sentence = str(refused.value)
    assert words in sentence
    assert sentence.startswith("the chat template of model 'my-model' cannot be rendered (")
    assert sentence.endswith("or set task.prompt.chat: false.")
    assert "\n" not in sentence


def test_a_refused_system_message_is_told_from_other_faults() -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system here') }}{% endif %}" + EVERYONE
    template = ChatTemplate("m", byte_level(refusing))
    assert template.render(USER, answer_next=True) == "1+1?"
    with pytest.raises(
        ModelError, match=r"No system here.*leave out task.prompt.system and put its text into task.prom"
    ):
        template.render(SYSTEM, answer_next=True)


@pytest.mark.parametrize("template", [5, ["a"], {"tools": CHATML}], ids=["number", "list", "no default"])
def test_what_is_no_template_is_refused(template: object) -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=r"cannot be rendered \(it (is no text|has several)"):
        ChatTemplate("m", tokenizer).render(USER, answer_next=True)


def test_a_template_that_leaves_out_the_question_is_refused() -> None:
    for template in ("", "<|im_start|>user: hello<|im_end|>"):
        with pytest.raises(ModelError, match="leaves out what the user says"):
            ChatTemplate("m", byte_level(template)).render(USER, answer_next=True)


def test_a_template_that_does_not_end_is_ended_and_the_next_one_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    own = chat._Renderer()  # the other tests' process is not ended
    monkeypatch.setattr(chat, "_renderer", lambda: own)
    monkeypatch.setattr(chat, "DEADLINE_S", 0.3)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}" + EVERYONE
    with pytest.raises(ModelError, match=r"did not end within 0\.3 s"):
        ChatTemplate("m", byte_level(loops)).render(USER, answer_next=True)
    monkeypatch.setattr(chat, "DEADLINE_S", 30.0)
    assert ChatTemplate("m", byte_level(EVERYONE)).render(SYSTEM, answer_next=True) == "Be brief.1+1?"
