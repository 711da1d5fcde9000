"""A completion has one answer: whatever it says of two, no grader pays it for both."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.problem import Problem
from creditree.verify.choice import Choice
from creditree.verify.exact import ExactText
from creditree.verify.last_integer import LastInteger
from creditree.verify.mathematics import Mathematics
from creditree.verify.numeric import Numeric
from creditree.verify.verifier import Answer, Verifier

NUMBERS = ("12", "-7", "305", "0.5", "2/3", "1,200")
ANSWERS: dict[str, tuple[Verifier, Sequence[str]]] = {
    "exact": (ExactText(), ("yes", "no", "St. Gallen", "A. B. Yehoshua", "not sure", "x = 5", "12", "B")),
    "exact, capitals aside": (ExactText(ignore_case=True), ("Yes", "no", "perhaps")),
    "choice": (Choice(), ("A", "B", "C", "D")),
    "last_integer": (LastInteger(), ("12", "-7", "305", "1,200")),
    "numeric": (Numeric(), NUMBERS),
    "numeric within a hundredth": (Numeric(0.01), NUMBERS),
    "math": (Mathematics(), NUMBERS),
}
FORMS = (
    "{}", "({})", "**{}**", "`{}`", "${}$", "\\boxed{{{}}}", "\\boxed{{\\text{{{}}}}}", "<answer>{}</answer>",
    "#### {}", "The answer is {}.", "the answer is {}", "Answer: {}", "The final answer is ${}$ because it fits.",
    "答案是{}。", "So it is {}.", "Therefore, {}.", "Option {} is right.", "I think {}, not more.",
    "<think>{}</think>", "<think>{}",
)  # fmt: skip
JOINTS = ("\n", "\n\n", " ", " or ", ", ", ". ", "; ", "\nWait, no.\n", "</think>", " and ")


@pytest.mark.parametrize("grader", ANSWERS)
@given(data=st.data())
def test_no_completion_is_paid_for_two_answers(grader: str, data: st.DataObject) -> None:
    verifier, kinds = ANSWERS[grader]
    first, second = data.draw(st.permutations(kinds))[:2]
    parts = [
        data.draw(st.sampled_from(FORMS)).format(one) for one in (first, second, data.draw(st.sampled_from(kinds)))
    ]
    text = data.draw(st.sampled_from(JOINTS)).join(data.draw(st.permutations(parts[: data.draw(st.integers(2, 3))])))
    verdicts = verifier.judge([Answer(Problem(truth, "?", (truth,)), "", text) for truth in (first, second)])
    assert [verdict.reward for verdict in verdicts] != [1.0, 1.0], text
    assert len({verdict.answer for verdict in verdicts}) == 1


@pytest.mark.parametrize("grader", ANSWERS)
@given(data=st.data())
def test_a_thought_that_was_cut_off_has_no_answer(grader: str, data: st.DataObject) -> None:
    verifier, kinds = ANSWERS[grader]
    truth = data.draw(st.sampled_from(kinds))
    text = (
        f"{data.draw(st.sampled_from(('', 'Well. ', '<think>3</think>')))}<think>\n{data.draw(st.sampled_from(FORMS))}"
    )
    text = text.replace("</think>", "") if text.count("<think>") == 1 else text
    (verdict,) = verifier.judge([Answer(Problem("p", "?", (truth,)), "", text.format(truth).removesuffix("</think>"))])
    assert (verdict.reward, verdict.status) == (0.0, "unparsable")
