"""What reads answers: numbers, LaTeX, equations, options, and the graders that use them."""

from collections.abc import Callable

from creditree.problem import Problem
from creditree.verify.choice import Choice
from creditree.verify.equations import as_list, by_name, chain, has_unknown, named_pairs, values
from creditree.verify.exact import ExactText
from creditree.verify.final_answer import boxed, located, unboxed
from creditree.verify.last_integer import LastInteger, last_integer
from creditree.verify.latex import (
    LONGEST_ANSWER,
    base,
    fractions_written_out,
    is_bracketed,
    split_elements,
    tidy,
    without_spaces,
)
from creditree.verify.latex import mathd as canonical
from creditree.verify.number import decimal_comma, leading_number, number_words, plain_number
from creditree.verify.numeric import Numeric
from creditree.verify.options import chosen, options_of
from creditree.verify.prose import accepted_answer, final_answer, option_in
from creditree.verify.quantity import last_side, quantities_equal, quantity
from creditree.verify.reader import quickly_read
from creditree.verify.verifier import Answer, Verifier
from tests.fuzz.oracle import in_time, law

GRADERS: tuple[Verifier, ...] = (Numeric(), Numeric(1e-3), LastInteger(), ExactText(), Choice())
TEMPLATES = ("{}", "So the answer is {}.", "\\boxed{{{}}}", "<answer>{}</answer>", "#### {}")


def text_of(data: bytes) -> str:
    """Return any text, halves of characters included."""
    return data.decode("utf-8", "surrogateescape")


def number(data: bytes) -> None:
    """A number that is read is read again as it is written, and lies where it was found."""
    text = text_of(data)
    with in_time():
        found = plain_number(text)
        if found is not None:
            again = plain_number(str(found.value))
            law(again is not None and again.value == found.value, f"{found.value} is read as {again}")
        for place in (leading_number(text), number_words(text)):
            law(place is None or 0 < place[1] <= len(text), f"a number ends at {place}")
        decimal_comma(text)
        whole = last_integer(text)
        law(whole is None or last_integer(str(whole)) == whole, f"{whole} is read as another number")


def amount(data: bytes) -> None:
    """A quantity is itself."""
    text = text_of(data)
    with in_time():
        for found in (quantity(text), last_side(text)):
            law(found is None or quantities_equal(found, found), f"{found} is not itself")


def latex(data: bytes) -> None:
    """What LaTeX is made one way by, and taken apart with, of texts as long as an answer may be."""
    quickly_read(text_of(data))
    text = text_of(data)[:LONGEST_ANSWER]
    with in_time():
        plain = tidy(text)
        for step in (fractions_written_out, split_elements, is_bracketed, without_spaces, base):
            step(plain)
        canonical(text)
        quickly_read(plain)
        has_unknown(text)
        law("".join(chain(text)) != "" or not text.strip(), "a chain lost its sides")
        law(len(values(text)) in (1, 2), "a chain comes to one value, and perhaps an approximation")
        by_name(text)
        for one, other in named_pairs(text, text) or []:
            law(one == other, f"{one!r} is compared with {other!r} of the same text")
        as_list(text, text)


def answer(data: bytes) -> None:
    """Where an answer stands; that which is found in a box is found there again."""
    text = text_of(data)
    with in_time():
        place = located(text)
        law(place is None or place.text.strip() != "" or place.how != "stated", "an empty answer is stated")
        final_answer(text)
        accepted_answer(text)
        option_in(text)
        inner = boxed(text)
        if inner is not None and inner.strip() and not set(inner) & set("{}\\"):  # a bare box may hold half a pair
            law(boxed(f"\\boxed{{{inner}}}") == inner, f"{inner!r} is not found in its box again")
        law(unboxed(unboxed(text)) == unboxed(text) or "boxed" in text or "fbox" in text, "unboxing is not stable")


def options(data: bytes) -> None:
    """An option's own text chooses it, or nothing; what is chosen is an option."""
    first, _, rest = text_of(data).partition("\n")
    texts = first.split("|")[:26]
    problem = Problem("p", "?", ("A",), {"choices": texts})
    with in_time():
        known = options_of(problem)
        law(list(known.values()) == texts, "options are others than were given")
        for text in (first, rest, *texts):
            letter = chosen(text, known)
            law(letter is None or letter in known, f"{letter!r} is no option")


def graders(data: bytes) -> None:
    """A verdict is a whole one; the accepted answer itself is never wrong, wherever it stands."""
    truth, _, completion = text_of(data).partition("\n")
    problem = Problem("p", "What is it?", (truth,))
    for grader in GRADERS:
        with in_time():
            (verdict,) = grader.judge([Answer(problem, "", completion)])
            law(verdict.reward in (None, 0.0, 1.0), f"{grader} gives {verdict.reward}")
            law((verdict.reward is None) == (verdict.status == "crash"), f"{grader} says {verdict}")
            law(verdict.status != "unparsable" or verdict.reward == 0.0, f"{grader} says {verdict}")
            if verdict.answer is not None:
                law(grader.same(verdict.answer, verdict.answer) is True, f"{verdict.answer!r} is not itself")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "number": number, "quantity": amount, "latex": latex, "answer": answer, "options": options, "graders": graders,
}  # fmt: skip
SEEDS: dict[str, tuple[str, ...]] = {
    "number": ("12", "-3.50", "1,234", "12,34,567", "1\\frac12", "2^{10}", "6 \\times 10^{-5}", "5\\%",
               "0.\\overline{3}", "twenty-one", "1.234,56", "1 1/2", "$1\\,000$", "1{,}000.5e-3", "3\\text{,}000"),
    "quantity": ("12 km", "$5.00", "x = 3 \\text{ cm}", "about 5\\%", "€3,5", "1/2 hour", "12 = 3 \\cdot 4", "5 or 6"),
    "latex": ("\\frac{1}{2}", "\\left(3, \\frac{\\pi}{2}\\right)", "x=2, y=3", "x_1 = 1; x_2 = -1", "90^\\circ",
              "\\sqrt{2}+\\sqrt 3", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "[0, 1) \\cup (2, 3]", "6 \\cdot 7 = 42",
              "100,200,300", "\\text{even}", "2\\,000 \\text{ m}^2", "x^2+2x+1", "\\{1, 2\\}", "\\mathrm{e}^{i\\pi}"),
    "answer": ("So the answer is 5.", "\\boxed{5} and \\boxed{6}", "<think>3</think> 4", "<answer>2</answer>", "#### 7",
               "**Answer:** (B)", "The answer is $x=5$, not 6.", "答案：B", "So, x = 2 or x = 3"),
    "options": ("red|green|blue\n(B)", "1|2|3\nThe answer is B", "A|B\nA and B", "\\text{x}|**y**\n\\textbf{y}"),
    "graders": ("5\nThe answer is 5.", "1/2\n\\boxed{0.5}", "Paris\nIt is **Paris**.", "B\n(B) because", "-3\n= -3",
                "1,234\n1234", "5 km\n5 miles", "0.30000000000000004\n0.3"),
}  # fmt: skip
