"""Answers without their dress, whatever a text is spared to be searched for."""

import pytest

from creditree.verify.asides import consequence
from creditree.verify.cues import undressed


@pytest.mark.parametrize(
    "dressed",
    [
        "7 :)",
        "7 :-(",
        "7 :D",
        "7 ;P",
        "7 \U0001f600",
        "**7**",
        "__7__",
        "*7*",
        "<b>7</b>",
        "7.",
        "`7`",
        '"7"',
        "**7** :)",
    ],
)
def test_whatever_is_around_it_the_answer_is_bare(dressed: str) -> None:
    assert undressed(dressed) == "7"


def test_what_follows_must_have_a_value_behind_it() -> None:
    assert consequence("He has 3 and 4, so he has 7 apples.") == "he has 7 apples."
    assert consequence("He has 3 and 4, so they are many.") is None
    assert consequence("x" * 50) is None
