"""Which grader is chosen for which answers, asked of the real graders."""

from collections.abc import Sequence

import pytest

from creditree.pilot.graders import NARROW, WIDE, Reading, check_reading, choose_grader, reading
from creditree.pilot.problems import PlacedProblem
from creditree.problem import Problem, Verdict
from creditree.setup.grading import build_verifier
from creditree.verify.verifier import Answer, Verifier, closing
from tests.unit.pilot.samples import problem


class Yes(Verifier):
    """Takes every answer for right."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        return tuple(Verdict(1.0) for _ in answers)


class Sloppy(Verifier):
    """Takes an answer for right that ends in the same character; without a reward for a text without any."""

    closed = 0

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        return tuple(
            Verdict(float(one.completion.rstrip(".}")[-1] == one.problem.answers[0][-1]))
            if one.problem.answers[0]
            else Verdict(None)
            for one in answers
        )

    def close(self) -> None:
        Sloppy.closed += 1


class Literal(Verifier):
    """Takes a completion for right that has the reference answer in it, letter by letter; `forms`: in these forms."""

    def __init__(self, *forms: str) -> None:
        self.forms = forms
        self.asked: list[str] = []

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        self.asked += [one.completion for one in answers]
        return tuple(Verdict(float(self.is_right(one))) for one in answers)

    def is_right(self, one: Answer) -> bool:
        truth = one.problem.answers[0]
        return one.completion in [form.format(truth) for form in self.forms] if self.forms else truth in one.completion


class Amount(Literal):
    """Takes a completion for right that has the reference's first word in it."""

    def is_right(self, one: Answer) -> bool:
        return one.problem.answers[0].split()[0] in one.completion


def problems(*answers: str) -> list[Problem]:
    return [problem(f"p{n}", f"question {n}", answer) for n, answer in enumerate(answers)]


def at(found: Sequence[Problem]) -> list[PlacedProblem]:
    return [PlacedProblem(one, f"row {one.id}") for one in found]


@pytest.mark.parametrize(
    ("answers", "grader"),
    [
        (("3", "-4", "1,200", "17", "0"), "last_integer"),
        (("3", "0.5", "7"), "numeric"),
        (("1/3", "2", "-2.25"), "numeric"),
        (("A", "B", "(C)", "d"), "choice"),
        ((r"\frac{1}{2}", "x^2+1", r"\sqrt{3}", "7"), "math"),
        (("red apple", "blue car", "the cat"), "exact"),
        (("A", "B", "all of the above"), "exact"),
        # The same said in two ways is not a wrong answer that is accepted.
        (("0.5", "1/2", "0.25", "1/4"), "numeric"),
        (("B", "(B)", "A", "(A)", "C"), "choice"),
        (("12", "12.0", "7"), "last_integer"),
    ],
)
def test_the_narrowest_grader_that_reads_every_answer(answers: tuple[str, ...], grader: str) -> None:
    found = choose_grader(problems(*answers), build_verifier)
    assert (found.grader, found.refused, found.share) == (grader, {}, 1.0)
    assert found.read == {f"p{n}" for n in range(len(answers))}


def test_graders_are_tried_in_order_and_closed() -> None:
    asked: list[str] = []

    def build(name: str) -> Verifier:
        asked.append(name)
        return Sloppy()

    Sloppy.closed = 0
    # "q1" and "r1" are taken for one another, and the second other answer is too: "s1".
    found = choose_grader(problems("q1", "r1", "s1", "t2"), build)
    assert asked == [*NARROW, *WIDE]
    assert Sloppy.closed == len(NARROW + WIDE)
    # p0 is asked about r1 and s1, p1 about s1 and t2, p2 about t2 and q1, p3 about q1 and r1: p0 accepts both.
    assert dict(found.refused) == {"p0": "'r1 or s1' is accepted for 'q1'"}
    assert found.grader == "last_integer"
    assert found.share == 3 / 4


def test_math_is_not_asked_where_few_answers_are_formulas() -> None:
    asked: list[str] = []

    def build(name: str) -> Verifier:
        asked.append(name)
        return Yes()

    choose_grader(problems("red", "green", "x^2"), build)
    assert asked == [name for name in (*NARROW, *WIDE) if name != "math"]


def test_a_grader_that_accepts_another_problem_s_answer_is_refused() -> None:
    found = reading("yes", Yes(), problems("red", "green", "blue"))
    assert found.read == frozenset()
    assert found.refused["p0"] == "'green or blue' is accepted for 'red'"
    assert found.share == 0.0
    (said,) = check_reading(found, at(problems("red", "green", "blue")), asked=True)[1][1:]
    assert said.severity == "blocker"
    # Where there is no other answer, none can be accepted wrongly.
    assert reading("yes", Yes(), problems("red", " RED")).share == 1.0


def test_answers_that_cannot_be_read_are_left_out_and_named() -> None:
    asked = problems(*(str(n) for n in range(18)), "unknown", "see text")
    with_places = at(asked)
    found = reading("last_integer", build_verifier("last_integer"), asked)
    assert found.share == 0.9
    assert set(found.refused) == {"p18", "p19"}
    kept, (note, said) = check_reading(found, with_places, asked=False)
    assert [one.problem.id for one in kept] == [f"p{n}" for n in range(18)]
    assert note.text == "answers are graded by last_integer, chosen by the answers"
    assert (said.kind, said.severity, said.places) == ("unreadable_answers", "caution", ("row p18", "row p19"))
    assert said.text == (
        "last_integer cannot read 2 of 20 reference answers; the first, row p18: 'unknown' is not accepted as its own "
        "answer (crash); these problems are left out"
    )
    kept, (note, said) = check_reading(found, with_places, asked=True, drops=False)
    assert kept == with_places
    assert note.text.endswith("as asked")
    assert said.severity == "caution"
    assert "left out" not in said.text


def test_below_90_percent_it_is_a_blocker() -> None:
    asked = problems(*(str(n) for n in range(8)), "unknown")
    found = reading("last_integer", build_verifier("last_integer"), asked)
    said = check_reading(found, at(asked), asked=True)[1][-1]
    # 8 of 9 are 89 %.
    assert said.severity == "blocker"
    assert said.text.endswith("; name another grader, or your own function, with `reward`")


def test_only_the_first_accepted_answer_is_asked_for() -> None:
    one = Problem("p", "q", ("about 5", "5"))
    found = reading("last_integer", build_verifier("last_integer"), [one])
    assert set(found.refused) == {"p"}


def test_everything_read_leaves_one_note() -> None:
    found = Reading("exact", frozenset({"p0", "p1"}), {})
    kept, said = check_reading(found, at(problems("a", "b")), asked=False)
    assert len(kept) == 2
    assert [one.kind for one in said] == ["grader"]


def test_a_few_words_among_numbers_are_left_out_not_compared_as_texts() -> None:
    # 19 of 20 are whole numbers: 95 %, at least 90. Of 17 of 20, 85 %, a wide grader reads all, and is taken.
    numbers = [str(number) for number in range(10, 29)]
    few = choose_grader(problems(*numbers, "as many as Ann"), build_verifier)
    assert (few.grader, list(few.refused)) == ("last_integer", ["p19"])
    many = choose_grader(problems(*numbers[:17], "some cat", "some dog", "some cow"), build_verifier)
    assert many.grader in WIDE
    assert not many.refused


def test_a_grader_that_refuses_the_number_alone_misses_plausible_answers() -> None:
    asked = problems("31 tents", "42 cups", "57 hats")
    found = reading("literal", Literal(), asked)
    assert (found.share, found.understood, found.refused) == (1.0, 0.0, {})
    assert found.missed["p1"] == "'42' is not accepted for '42 cups'"
    kept, said = check_reading(found, at(asked), asked=True)
    assert len(kept) == 3
    assert (said[-1].kind, said[-1].severity) == ("missed_answers", "caution")
    assert said[-1].text.startswith(
        "literal refuses plausible answers to 3 of 3 problems; the first, row p0: '31' is not accepted for '31 tents'; "
        "a model that answers so is never right"
    )
    assert reading("amount", Amount(), asked).missed == {}


@pytest.mark.parametrize(
    ("forms", "written"),
    [(("The answer is {}.", "{}"), r"\boxed{}"), (("The answer is {}.", r"\boxed{{{}}}"), "that alone")],
)
def test_a_grader_that_knows_one_form_only_misses_the_others(forms: tuple[str, ...], written: str) -> None:
    found = reading("literal", Literal(*forms), problems("red", "blue"))
    assert (found.share, found.understood) == (1.0, 0.0)
    assert found.missed["p0"] == f"'red' is not accepted as its own answer written as {written} (ok)"


def test_one_that_understands_is_taken_before_one_that_only_reads() -> None:
    made = {
        "last_integer": Literal("7"),
        "numeric": Literal(),
        "choice": Literal("7"),
        "math": Amount(),
        "exact": Literal(),
    }
    found = choose_grader(problems("31 tents", "42 cups", "57 hats"), lambda name: made[name])
    assert (found.grader, found.understood) == ("math", 1.0)
    # Where none understands, the first that reads is taken, and what it misses is said.
    made["math"] = Literal()
    found = choose_grader(problems("31 tents", "42 cups", "57 hats"), lambda name: made[name])
    assert (found.grader, found.share, found.understood) == ("numeric", 1.0, 0.0)


def test_a_function_is_asked_about_another_form_only_where_it_refused() -> None:
    function = Literal(r"\boxed{{{}}}")
    found = reading("mine.py:score", function, problems("red", "blue"), thorough=False)
    assert (found.share, found.missed) == (1.0, {})
    assert [text for text in function.asked if "boxed" in text] == [r"\boxed{red}", r"\boxed{blue}"]
    assert "red" not in function.asked


def test_a_decimal_comma_is_named() -> None:
    asked = problems("54,50", "3,5", "1,234", "17")
    said = check_reading(Reading("exact", frozenset(one.id for one in asked), {}), at(asked), asked=False)[1][-1]
    assert (said.kind, said.severity, said.places) == ("decimal_commas", "caution", ("row p0", "row p1"))
    assert said.text.startswith("reference answers that seem to have a decimal comma: 2 of 4, such as '54,50'")


def test_an_answer_of_several_lines_is_no_part_of_a_sentence() -> None:
    found = reading("exact", build_verifier("exact"), problems("red\nblue", "green\nblack"))
    assert (found.share, found.understood) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (["{} tents", "{} km", "{} Äpfel"], "{}"),
        (["${}", "€{}", "{} USD"], "{}"),
        (["{} %"], "{}"),
        (["{},50", "{},5 €"], "{}.5"),
        (["{}個", "{} 개"], "{}"),
        (["x = {}"], "{}"),
    ],
)
def test_tables_whose_numbers_have_something_around_them(kind: list[str], plain: str) -> None:
    asked = problems(*(kind[n % len(kind)].format(n) for n in range(31, 43)))
    found = choose_grader(asked, build_verifier)
    assert (found.grader, found.understood) == ("numeric", 1.0)
    with closing(build_verifier(found.grader)) as verifier:
        number = plain.format(31)
        (verdict,) = verifier.judge([Answer(asked[0], "", f"I add. The answer is {number}.")])
    assert verdict.reward == 1.0


@pytest.mark.parametrize("digits", ["０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩"])
@pytest.mark.parametrize("sign", ["", "\u2013", "\u2212"])
def test_tables_in_digits_and_signs_of_other_scripts(digits: str, sign: str) -> None:
    asked = problems(*(sign + "".join(digits[int(d)] for d in str(n)) for n in range(31, 43)))
    found = choose_grader(asked, build_verifier)
    assert (found.grader, found.understood) == ("last_integer", 1.0)
