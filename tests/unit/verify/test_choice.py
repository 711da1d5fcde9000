"""Which option a completion chooses, in the ways in which models say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.problem import Problem
from creditree.verify.choice import Choice
from creditree.verify.verifier import Answer

FRUIT = {"choices": ["plums", "limes", "dates"]}


def choice(text: str, **columns: object) -> str | None:
    (verdict,) = Choice().judge([Answer(Problem("p", "?", ("A",), columns), "", text)])
    assert verdict.reward == float(verdict.answer == "A")
    assert verdict.status == ("unparsable" if verdict.answer is None else "ok")
    return verdict.answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("c", "C"),
        ("(c)", "C"),
        ("c) seven", "C"),
        ("C!", "C"),
        ("'C'", "C"),
        ("**C**", "C"),
        ("Answer C", "C"),
        ("The answer is **C**.", "C"),
        ("**Answer:** C", "C"),
        ("THE ANSWER IS C", "C"),
        ("The answer is $\\mathbf{C}$.", "C"),
        ("My answer: Choice C, since it is larger", "C"),
        ("The answer is C because 3 is odd", "C"),
        ("The answer is A because 3 is odd", "A"),
        ("The answer is A, since it is odd.", "A"),
        ("The answer is a", "A"),
        ("The answer is option c: 7", "C"),
        ("So the answer must be C", "C"),
        ("\\boxed{\\text{(C)}}", "C"),
        ("<answer>C</answer> (not D)", "C"),
        ("<answer>The right option is C</answer>", "C"),
        ("C. 7", "C"),
        ("First I add.\nC) 7", "C"),
    ],
)
def test_a_marked_choice(text: str, letter: str) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The correct option is C.", "C"),
        ("The best choice is D because it is last", "D"),
        ("Hence the correct choice: (D)", "D"),
        ("Correct: C", "C"),
        ("Correct answer - C", "C"),
        ("Therefore, C.", "C"),
        ("Therefore A", "A"),
        ("Hence, option (C) is the answer.", "C"),
        ("So it's C", "C"),
        ("That makes it C.", "C"),
        ("It must be D.", "D"),
        ("C it is!", "C"),
        ("Choice C it is", "C"),
        ("C is correct", "C"),
        ("I think A is right.", "A"),
        ("Option A is right.", "A"),
        ("OPTION C IS CORRECT", "C"),
        ("So C should be right", "C"),
        ("A: 7 is correct", "A"),
        ("I pick option A here", "A"),
        ("I would go with C.", "C"),
        ("C, because it is larger", "C"),
        ("Only option C remains", "C"),
        ("(C) works, not (D).", "C"),
        ("D is not correct, so C.", "C"),
        ("(A) is wrong and (C) is right", "C"),
        ("Option A is wrong. Option C fits.", "C"),
        ("(A) 3 m is too short, (B) 4 m fits, so (B)", "B"),
        ("Statement I is true, so C.", "C"),
        ("(B) (D)", "D"),
        ("Ans. C", "C"),
        ("C is the only option that fits", "C"),
        ("C should be chosen", "C"),
        ("Only C works", "C"),
        ("I'd say C", "C"),
        ("Definitely C.", "C"),
        ("The answer is clearly C", "C"),
        ("Not A. C.", "C"),
        ("Eliminating A, B and D leaves C", "C"),
        ("C\n\nBecause 3 is odd, and not (D).", "C"),
        ("C) 7\n\nI compared with (A) and (B) first.", "C"),
        ("$\\boxed{\\textbf{(C)}\\ 14}$", "C"),
        ("C - 14", "C"),
    ],
)
def test_a_choice_in_prose(text: str, letter: str) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("（Ｃ）", "C"),
        ("Ｃ", "C"),
        ("答案：C", "C"),
        ("答案是（C）。", "C"),
        ("正确答案是C，因为更大。", "C"),
        ("故选：D", "D"),
        ("正确选项是C", "C"),
        ("C项正确", "C"),
        ("答えはCです。", "C"),
        ("정답은 C입니다.", "C"),
        ("La respuesta es C.", "C"),
        ("Die Antwort ist (C).", "C"),
        ("Ответ: C", "C"),
    ],
)
def test_a_choice_in_other_scripts_and_languages(text: str, letter: str) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    "text",
    [
        "A lone wolf runs to town.",
        "It is a car. A cat sat.",
        "The answer is a car",
        "A is a letter",
        "I picked A card.",
        "The answer is A and C",
        "The answer is (A) or (C)",
        "\\boxed{A, C}",
        "\\boxed{7}, so (C)",
        "",
        "**",
        "$$",
        "<think>It is (C). Let me",
        "A) 7\nB) 8\nC) 9\nD) 10",
        "A. seven\nB. eight",
        "A) 7 B) 8 C) 9 D) 10",
        "The options are (A) 7 (B) 8 (C) 9.",
    ],
)
def test_no_choice(text: str) -> None:
    assert choice(text) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A) 7\nB) 8\nC) 9\nD) 10\nB", "B"),
        ("A) 7\nB) 8\nC) 9\nD) 10\n\nB) 8", "B"),
        ("A. 7\nB. 8\n\nSo A is the right answer.", "A"),
        ("(A) 7 (B) 8 (C) 9 (D) 10. Therefore (B).", "B"),
    ],
)
def test_a_choice_behind_the_restated_options(text: str, letter: str) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize("truth", ["A", "(A)", "A) 7", r"\boxed{A}", "The answer is A.", "3 + 4 = 7\n#### A"])
def test_references_are_read_as_completions_are(truth: str) -> None:
    (verdict,) = Choice().judge([Answer(Problem("p", "?", (truth,)), "", "Therefore, A.")])
    assert verdict.reward == 1.0


def test_options_by_their_text() -> None:
    assert choice("The answer is dates", **FRUIT) == "C"
    assert choice("I count.\nLimes.", **FRUIT) == "B"
    assert choice("plums\nlimes\ndates", **FRUIT) is None
    assert choice("(A) plums (B) limes", choices=["plums", "limes"]) is None
    assert choice("The answer is D", **FRUIT) is None
    assert choice("So I.", choices=[str(n) for n in range(9)]) == "I"


PIECES = [
    "A",
    "B",
    "(C)",
    "option ",
    "answer is ",
    r"\boxed{",
    "}",
    "<answer>",
    "</answer>",
    "$",
    "**",
    "\n",
    ". ",
    "7",
]


@given(st.lists(st.sampled_from(PIECES) | st.characters(), max_size=12).map("".join))
def test_no_text_makes_it_raise(text: str) -> None:
    assert choice(text) in (None, *map(chr, range(ord("A"), ord("Z") + 1)))
    choice(text, options=["a", text])


@pytest.mark.parametrize(
    "piece", ["A", "(", "A) ", " ", "Option ", "so ", "is ", "A\n", "not ", "(A", "A) B) C) ", "A is "]
)
def test_long_texts_are_read_in_time(piece: str) -> None:
    choice(piece * (40_000 // len(piece)) + "(B)")  # the square of this would take minutes
