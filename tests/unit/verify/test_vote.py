import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.last_integer import LastInteger
from creditree.verify.reward_function import RewardFunction
from creditree.verify.vote import vote_of

OTHER = RewardFunction(lambda completions: [0.0 for _ in completions])


class Half(RewardFunction):
    """Says itself what was answered."""

    def answer_of(self, completion: str) -> str | None:
        return completion[: len(completion) // 2] or None


@pytest.mark.parametrize(
    ("text", "vote"),
    [("so 12 + 1 = 13.", "13"), ("1,234", "1234"), ("nothing", None), ("3.5", None), ("-4 then -5", "-5")],
)
def test_the_last_integer_votes_for_its_integer(text: str, vote: str | None) -> None:
    assert vote_of(LastInteger(), text) == vote


@pytest.mark.parametrize(
    ("text", "vote"),
    [
        (r"first \boxed{3}, then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 1,234 }", "1234"),
        (r"\boxed{$\dfrac12$}", r"\frac12"),
        (r"\fbox{x}", "x"),
        (r"<think>\boxed{9}</think> it is 7.5", "7.5"),
        ("about 1,000, or so", "1000"),
        (r"\boxed{ }", None),
        (r"never closed \boxed{1", "1"),
        ("no answer", None),
    ],
)
def test_others_vote_by_box_or_number(text: str, vote: str | None) -> None:
    assert vote_of(OTHER, text) == vote


def test_a_verifier_can_say_itself_what_was_answered() -> None:
    assert vote_of(Half(OTHER.function), "abcd") == "ab"


def test_a_hundred_thousand_open_boxes_are_read_in_no_time() -> None:
    assert vote_of(OTHER, r"\boxed{" * 100_000) is None


@given(st.text(alphabet="\\boxed{}1,.$ -", max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    for verifier in (LastInteger(), OTHER):
        vote = vote_of(verifier, text)
        assert vote is None or vote
