"""What completions vote for: the answer that their verifier judged, equal where it takes them for equal."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.evaluate.at_k import majority_at_k
from creditree.problem import Problem, Verdict
from creditree.verify.choice import Choice
from creditree.verify.exact import ExactText
from creditree.verify.last_integer import LastInteger
from creditree.verify.mathematics import Mathematics
from creditree.verify.numeric import Numeric
from creditree.verify.program import Program
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer, Verifier, closing
from creditree.verify.vote import votes

OTHER = RewardFunction(lambda completions: [0.0 for _ in completions])


@pytest.fixture(scope="module")
def math() -> Iterator[Mathematics]:
    with closing(Mathematics()) as verifier:
        yield verifier


def voted(verifier: Verifier, texts: Sequence[str], *truths: str, **columns: object) -> list[str | None]:
    problem = Problem("p", "?", truths or ("0",), columns)
    answers = [Answer(problem, "", text) for text in texts]
    return votes(verifier, answers, verifier.judge(answers))


def majority(verifier: Verifier, texts: Sequence[str], truth: str) -> float:
    answers = [Answer(Problem("p", "?", (truth,)), "", text) for text in texts]
    verdicts = verifier.judge(answers)
    return majority_at_k(
        votes(verifier, answers, verdicts), [verdict.reward == 1.0 for verdict in verdicts], len(texts)
    )


class Echo(Verifier):
    """Judges the text itself; two are the same if they have one length, and 'slow' cannot be compared."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        return tuple(Verdict(1.0, answer=one.completion or None) for one in answers)

    def same(self, one: str, other: str) -> bool | None:
        self.asked.append((one, other))
        return None if "slow" in (one, other) else len(one) == len(other)


def test_equal_answers_vote_for_the_one_given_first() -> None:
    assert voted(Echo(), ["aa", "b", "cc", "", "d", "aa"]) == ["aa", "b", "aa", None, "b", "aa"]


def test_each_answer_is_compared_once_with_each_vote() -> None:
    echo = Echo()
    voted(echo, ["a", "bb", "a", "bb", "ccc"])
    assert echo.asked == [("bb", "a"), ("ccc", "a"), ("ccc", "bb")]


def test_one_comparison_in_vain_is_the_last_of_an_answer() -> None:
    echo = Echo()
    assert voted(echo, ["a", "bb", "slow", "ccc"]) == ["a", "bb", "slow", "ccc"]
    # 'ccc' equals neither 'a' nor 'bb', and is not compared further than with 'slow'.
    assert echo.asked == [("bb", "a"), ("slow", "a"), ("ccc", "a"), ("ccc", "bb"), ("ccc", "slow")]


def test_problems_vote_apart() -> None:
    answers = [Answer(Problem(name, "?", ("0",)), "", text) for name, text in (("p", "a"), ("q", "b"), ("q", "c"))]
    echo = Echo()
    assert votes(echo, answers, echo.judge(answers)) == ["a", "b", "b"]


def test_an_answer_without_end_is_no_vote() -> None:
    assert voted(Echo(), ["x" * 201, "x" * 200]) == [None, "x" * 200]


@pytest.mark.parametrize(
    ("text", "vote"),
    [("so 12 + 1 = 13.", "13"), ("1,234", "1234"), ("nothing", None), ("3.5", None), ("-4 then -5", "-5")],
)
def test_the_last_integer_votes_for_its_integer(text: str, vote: str | None) -> None:
    assert voted(LastInteger(), [text]) == [vote]


@pytest.mark.parametrize(
    ("verifier", "texts", "truth"),
    [
        (Choice(), ["The answer is C.", "(C)", "c", "C) because it is larger"], "C"),
        (ExactText(), ["The answer is Rome.", "Rome", "So, to sum up:\nRome.", r"\boxed{Rome}"], "Rome"),
        (ExactText(ignore_case=True), ["ROME", "rome", "The answer is Rome"], "Rome"),
        (Numeric(), ["0.75", "The answer is 3/4.", "75 %", r"\boxed{\frac{3}{4}}"], "0.75"),
        (Numeric(0.01), ["0.333", "1/3"], "1/3"),
        (LastInteger(), ["7", "3 + 4 = 7.0", "it is 007"], "7"),
    ],
)
def test_where_all_are_right_the_majority_is(verifier: Verifier, texts: list[str], truth: str) -> None:
    assert majority(verifier, texts, truth) == 1.0
    assert len(set(voted(verifier, texts, truth))) == 1


def test_mathematics_votes_by_its_own_equality(math: Mathematics) -> None:
    texts = ["0.75", r"\boxed{\frac34}", "The answer is 75 %.", r"\boxed{\frac14}", r"\boxed{0.25}"]
    assert voted(math, texts) == ["0.75", "0.75", "0.75", r"\frac14", r"\frac14"]
    roots = [r"\boxed{\sqrt{12}}", r"\boxed{2\sqrt{3}}", r"\boxed{\sqrt{3}}"]
    assert voted(math, roots) == [r"\sqrt{12}", r"\sqrt{12}", r"\sqrt{3}"]
    assert majority(math, texts, "3/4") == 1.0


def test_an_option_s_text_votes_with_its_letter() -> None:
    found = voted(Choice(), ["(B)", "The answer is figs.", "A"], "B", choices=["pears", "figs"])
    assert found == ["B", "B", "A"]


def test_a_program_votes_for_what_it_prints() -> None:
    texts = [f"```python\nprint({code})\n```" for code in ("5", "2 + 3", "'5 '", "6")]
    assert voted(Program(True, contain=False), texts, "5") == ["5", "5", "5", "6"]


@pytest.mark.parametrize(
    ("text", "vote"),
    [
        (r"first \boxed{3}, then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{x}", "x"),
        (r"<think>\boxed{9}</think> the answer is 7.5", "7.5"),
        (r"\boxed{ }", None),
        ("I do not know what to say about that.", None),
    ],
)
def test_what_a_function_judges_votes_for_its_final_answer(text: str, vote: str | None) -> None:
    assert voted(OTHER, [text]) == [vote]


@given(st.text(alphabet="\\boxed{}1,.$ -", max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    for verifier in (LastInteger(), Numeric(), ExactText(), Choice(), OTHER):
        (vote,) = voted(verifier, [text])
        assert vote is None or vote
