"""What equals signs and commas in an answer mean."""

import pytest

from creditree.verify.equations import as_list, by_name, chain, named_pairs, values


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("9 \\cdot 7 = 63", ["9 \\cdot 7", "63"]),
        ("x = 9 \\cdot 7 = 63", ["x", "9 \\cdot 7", "63"]),
        ("y = 2x", ["y = 2x"]),
        ("x = 5", ["x = 5"]),
        ("x = 5, y = 6", ["x = 5, y = 6"]),
        ("\\sum_{k=1}^{3} k", ["\\sum_{k=1}^{3} k"]),
        ("1 < x = 3", ["1 < x = 3"]),
    ],
)
def test_the_sides_of_a_chain(text: str, sides: list[str]) -> None:
    assert chain(text) == sides


def test_an_approximation_stands_beside_the_exact_value() -> None:
    assert values("x = \\sqrt{8} = 2\\sqrt{2} \\approx 2.83") == ["2\\sqrt{2}", " 2.83"]
    assert values("7") == ["7"]


def test_values_by_their_names() -> None:
    assert by_name("x_{1} = 4, x_2=5") == {"x_1": "4", "x_2": "5"}
    assert by_name("x = 4, x = 5") is None
    assert by_name("4, 5") is None


def test_names_decide_and_else_the_order() -> None:
    assert named_pairs("b=5, a=4", "a=4,b=5") == [("4", "4"), ("5", "5")]
    assert named_pairs("(5, 4)", "a=4,b=5") == [("5", "4"), ("4", "5")]
    assert named_pairs("a=4,c=5", "a=4,b=5") == [("0", "1")]
    assert named_pairs("5, 4", "x_1=4, x_2=5") is None
    assert named_pairs("5, 4", "4, 5") is None


def test_commas_are_those_of_a_list_where_the_other_is_one() -> None:
    assert as_list("100,200", "200, 100") == "100, 200"
    assert as_list("100,200", "100200") == "100,200"
    assert as_list("100,200", "1, 2, 3") == "100,200"
