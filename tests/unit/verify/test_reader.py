"""The quick reader and latex2sympy's grammar read the same formula, or the reader leaves it."""

import json
from pathlib import Path

import pytest
import sympy
from latex2sympy2_extended import latex2sympy

from creditree.verify.latex import fractions_written_out, tidy
from creditree.verify.reader import quickly_read

X, Y = sympy.Symbol("x", real=True), sympy.Symbol("y", real=True)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("2x+3", 2 * X + 3),
        ("-x^2", -(X**2)),
        ("(-x)^{2}", X**2),
        ("-2^2", -4),
        ("3-2-1", 0),
        ("8/4/2", 1),
        ("x^{2}y - 3xy", X**2 * Y - 3 * X * Y),
        ("\\frac{3\\sqrt{5}}{7}", 3 * sympy.sqrt(5) / 7),
        ("2\\pi\\cdot e", 2 * sympy.pi * sympy.E),
        ("2(3)(4)", 24),
        (".5", sympy.Float("0.5")),
    ],
)
def test_what_is_read(text: str, formula: object) -> None:
    read = quickly_read(text)
    assert read is not None
    assert sympy.simplify(read.doit() - formula) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "2 3",
        "2\\frac{1}{2}",
        "1/2x",
        "x^12",
        "x^2^3",
        "f(x)",
        "i",
        "(1,2)",
        "(",
        ")",
        "2x}",
        "\\sin x",
        "x=1",
        "(" * 5000,
        "\\sqrt{" * 3000,
        "\\frac{1}",
        "x" * 5000,  # longer than any answer
        "9" * 700,  # Python may be set to refuse such a number
    ],
)
def test_what_is_left_to_the_grammar(text: str) -> None:
    assert quickly_read(text) is None


def test_both_read_the_references_alike(shared_data: Path) -> None:
    rows = (shared_data / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {fractions_written_out(tidy(answer)) for row in rows for answer in json.loads(row)["answers"]}
    read = {text: formula for text in sorted(texts) if (formula := quickly_read(text)) is not None}
    read = {text: formula for text, formula in read.items() if not formula.is_Integer}
    assert len(read) > 60
    for text, formula in read.items():
        grammars = latex2sympy(text, is_real=True, convert_degrees=False)
        assert formula.free_symbols == grammars.free_symbols, text
        assert abs(sympy.simplify(formula.doit() - grammars.doit())) < 1e-12, text
