"""The prompt's wording: fields, special tokens, chat format, and what is refused."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.tasks import PromptTemplate
from creditree.tasks.task import Pieces

PROBLEM = Problem("p", "1+1?", ("2",), {"level": 3})


@dataclass
class Letters:
    """A text side with a token for each letter, that notes what is asked of it."""

    has_chat_template: bool = False
    conversations: list[tuple[Pieces, str | None]] = field(default_factory=list)

    def encode(self, pieces: Pieces) -> list[int]:
        return [ord(letter) for text, _ in pieces for letter in text]

    def encode_chat(self, pieces: Pieces, system: str | None) -> list[int]:
        self.conversations.append((pieces, system))
        return [7, 8, 9]


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


def test_what_comes_from_the_row_is_told_apart_from_the_wording() -> None:
    template = PromptTemplate("{{level {level}}} {question}\n")
    assert "".join(text for text, _ in template.pieces(PROBLEM)) == template.render(PROBLEM)
    assert [text for text, is_data in template.pieces(PROBLEM) if is_data] == ["3", "1+1?"]


def test_the_prompt_is_one_user_message_where_the_model_has_a_chat_format() -> None:
    plain, chat = Letters(), Letters(has_chat_template=True)
    template = PromptTemplate("{question}")
    assert template.encode(PROBLEM, plain) == [ord(letter) for letter in "1+1?"]
    assert template.encode(PROBLEM, chat) == [7, 8, 9]
    assert PromptTemplate("{question}", chat=False).encode(PROBLEM, chat) == [ord(letter) for letter in "1+1?"]
    assert PromptTemplate("Solve: {question}", chat=True, system="Be brief.").encode(PROBLEM, chat) == [7, 8, 9]
    assert chat.conversations == [
        ([("1+1?", True)], None),
        ([("Solve: ", False), ("1+1?", True)], "Be brief."),
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
        ("{question:>5d}", "{question:>5d}, which is not a plain name"),
        ("{question!a}", "{question!a}, which is not a plain name"),
        ("{question!s:>999999999}", "not a plain name"),
        ("{question:{level}}", "not a plain name"),
        ("{question:{question.__class__}}", "not a plain name"),
        ("{question!}", "malformed"),
    ],
)
def test_malformed_text_is_refused_when_it_is_written(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PromptTemplate(text)
    assert reason in str(refused.value)


def test_a_system_message_without_chat_is_refused() -> None:
    with pytest.raises(ConfigError, match="set chat to true"):
        PromptTemplate(chat=False, system="Be brief.")


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"asks for \{levle\}.*Did you mean 'level'\?"):
        PromptTemplate("{question} {levle}").check(("level",))
    with pytest.raises(ConfigError, match=r"problem p has no such column"):
        PromptTemplate("{question} {levle}").render(PROBLEM)
