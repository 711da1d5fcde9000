"""The ready rewards: golden numbers, and what each cannot say."""

import pytest

from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.rewards import READY
from creditree.rewards.cosine_length import CosineLength
from creditree.rewards.format import Format
from creditree.rewards.overlong import Overlong
from creditree.rewards.repetition import Repetition
from creditree.verify.verifier import Answer

PROBLEM = Problem("p", "1+1=", ("2",))


def answer(text: str = "2", num_tokens: int | None = None, max_tokens: int | None = 100) -> Answer:
    return Answer(PROBLEM, "1+1=\n", text, num_tokens, max_tokens)


def test_they_are_found_in_their_folder() -> None:
    assert set(READY) == {"format", "cosine_length", "repetition", "overlong"}
    assert all(kind.paper for kind in READY.values())


def test_golden_format() -> None:
    thought = "<think>1 and 1\nare 2</think>\n 2 \n"
    assert [Format().of(answer(text), None) for text in (thought, "2", "so " + thought)] == [1.0, 0.0, 0.0]
    assert Format(r"\d+").of(answer(" 42\n"), True) == 1.0
    assert Format(r"\d+").of(answer("42."), True) == 0.0


def test_a_pattern_that_would_search_for_ever_does_not_match() -> None:
    assert Format(r"(a|aa)+\d").of(answer("a" * 5000), None) == 0.0


def test_a_malformed_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^reward.format.pattern is no regular expression \(.*\); mend it"):
        Format("(")


def test_golden_cosine_length() -> None:
    reward = CosineLength()
    # right: 2 at the start, 1 + (2 - 1) (1 + cos(pi / 3)) / 2 = 1.75 at a third, 1.5 half way
    lengths = ((0, True), (30, True), (45, True), (0, False), (45, False))
    found = [reward.of(answer(num_tokens=length, max_tokens=90), right) for length, right in lengths]
    # wrong: -10 at the start, 0 - 10 (1 + cos(pi / 2)) / 2 = -5 half way
    assert found == pytest.approx([2.0, 1.75, 1.5, -10.0, -5.0])
    assert reward.of(answer(num_tokens=89, max_tokens=90), False) == pytest.approx(0.0, abs=0.01)
    assert [reward.of(answer(num_tokens=90, max_tokens=90), right) for right in (True, False)] == [-10.0, -10.0]


def test_golden_repetition() -> None:
    reward = Repetition(ngram=2, penalty=0.5)
    # 6 words, 5 pairs: the cat, cat the, the cat, cat the, the cat; 2 different: -0.5 (1 - 2 / 5)
    assert reward.of(answer("The cat the cat THE\ncat"), None) == pytest.approx(-0.3)
    assert [reward.of(answer(text), None) for text in ("", "one", "one two three")] == [0.0, 0.0, 0.0]


def test_golden_overlong() -> None:
    reward = Overlong(cache=0.2)
    # L = 100, C = 20: nothing up to 80, (80 - 85) / 20 at 85, -1 at the limit and beyond
    found = [reward.of(answer(num_tokens=length), None) for length in (1, 80, 85, 90, 100, 120)]
    assert found == pytest.approx([0.0, 0.0, -0.25, -0.5, -1.0, -1.0], abs=1e-12)
    assert found[4] == -1.0


@pytest.mark.parametrize("reward", [CosineLength(), Overlong()])
def test_without_a_length_there_is_no_reward_for_it(reward: CosineLength | Overlong) -> None:
    assert reward.of(answer(), True) is None
    assert reward.of(answer(num_tokens=3, max_tokens=None), True) is None


def test_where_right_is_not_known_length_is_worth_nothing_known() -> None:
    assert CosineLength().of(answer(num_tokens=3), None) is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Overlong(cache=0.0), r"reward.overlong.cache is 0.0: set a number above 0 and at most 1."),
        (lambda: Repetition(ngram=0), r"reward.repetition.ngram is 0: set 1 or more."),
    ],
)
def test_numbers_out_of_range_are_refused(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        make()
