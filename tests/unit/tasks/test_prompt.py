"""The prompt's wording: fields, special tokens, chat format, and what is refused."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.tasks import PromptTemplate

PROBLEM = Problem("p", "1+1?", ("2",), {"level": 3})
BEGIN, END = 1, 2


@dataclass
class Letters:
    """A tokenizer of characters that may begin and close every text with a special token."""

    begins: bool = False
    closes: bool = False
    chat_template: object = None
    eos_token_id: int | None = END
    conversations: list[list[dict[str, str]]] = field(default_factory=list)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids = [END if letter == "$" else ord(letter) for letter in text]
        before = [BEGIN] if self.begins and add_special_tokens else []
        return [*before, *ids, *([END] if self.closes and add_special_tokens else [])]

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, add_generation_prompt: bool, tokenize: bool, return_dict: bool
    ) -> list[int]:
        assert add_generation_prompt
        assert tokenize
        assert not return_dict
        self.conversations.append(conversation)
        return [7, 8, 9]


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_the_question_and_columns_are_filled_in_and_doubled_braces_stay() -> None:
    template = PromptTemplate("{{level {level}}} {question}\n")
    assert template.render(PROBLEM) == "{level 3} 1+1?\n"
    assert template.fields == ("level", "question")


def test_a_column_named_question_does_not_replace_the_question() -> None:
    problem = Problem("p", "real", ("2",), {"question": "raw"})
    assert PromptTemplate().render(problem) == "real"


@given(st.text(), st.text())
def test_braces_in_a_question_are_plain_text(question: str, before: str) -> None:
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert PromptTemplate(escaped + "{question}").render(Problem("p", question, ())) == before + question


def test_special_tokens_at_the_start_stay_and_the_end_token_goes() -> None:
    template = PromptTemplate("{question}")
    assert template.encode(PROBLEM, Letters()) == letters("1+1?")
    assert template.encode(PROBLEM, Letters(begins=True)) == [BEGIN, *letters("1+1?")]
    assert template.encode(PROBLEM, Letters(begins=True, closes=True)) == [BEGIN, *letters("1+1?")]


def test_an_end_token_that_the_text_itself_ends_with_is_kept() -> None:
    assert PromptTemplate("{question}$").encode(PROBLEM, Letters()) == [*letters("1+1?"), END]


def test_chat_makes_one_user_message_after_the_system_message() -> None:
    tokenizer = Letters(chat_template="a template")
    assert PromptTemplate("Solve: {question}", chat=True, system="Be brief.").encode(PROBLEM, tokenizer) == [7, 8, 9]
    PromptTemplate(chat=True).encode(PROBLEM, tokenizer)
    assert tokenizer.conversations == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Solve: 1+1?"}],
        [{"role": "user", "content": "1+1?"}],
    ]


def test_chat_without_a_chat_template_is_refused() -> None:
    with pytest.raises(ConfigError, match="no chat template: set chat to false"):
        PromptTemplate(chat=True).encode(PROBLEM, Letters())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no field"),
        ("Solve it.", "has no field"),
        ("{question} {", "malformed"),
        ("}", "malformed"),
        ("{}", "not a plain name"),
        ("{0}", "not a plain name"),
        ("{question.answers}", "not a plain name"),
        ("{question[0]}", "not a plain name"),
    ],
)
def test_malformed_text_is_refused_when_it_is_written(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        PromptTemplate(text)


def test_a_system_message_without_chat_is_refused() -> None:
    with pytest.raises(ConfigError, match="set chat to true"):
        PromptTemplate(system="Be brief.")


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"asks for \{levle\}.*Did you mean 'level'\?"):
        PromptTemplate("{question} {levle}").check(("level",))
    with pytest.raises(ConfigError, match=r"problem p has no such column"):
        PromptTemplate("{question} {levle}").render(PROBLEM)
