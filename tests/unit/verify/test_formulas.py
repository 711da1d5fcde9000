"""Formulas in a text, and amounts of money that are none."""

import pytest

from creditree.verify.formulas import formulas


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so $x + 1$ and $y$", ["x + 1", "y"]),
        ("$$a$$ \\(b\\) \\[c\\]", ["a", "b", "c"]),
        ("$ 9 $", ["9"]),
        ("$\\$4 + \\$5$", ["\\$4 + \\$5"]),
        ("it costs $4 each, so he pays $20.", []),
        ("$60 - $15 = $45 after that", []),
        ("she had $7 left. Then $x$ is", ["x"]),
        ("$x \\text{ if it rains tomorrow}$", ["x \\text{ if it rains tomorrow}"]),
        ("$a\n\nb$", []),
        ("\\[\n9\n\\]", ["9"]),
        ("\\( \\( 5 \\)", ["5"]),
        ("$", []),
        ("\\(", []),
    ],
)
def test_what_is_a_formula(text: str, found: list[str]) -> None:
    inner = formulas(text)
    assert [formula.text for formula in inner] == found
    assert all(formula.text in text[formula.start : formula.end] for formula in inner)
