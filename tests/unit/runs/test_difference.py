import pytest

from creditree.errors import RunError
from creditree.runs.difference import describe_difference


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ("a: 1", "a: 1 # comment", ""),
        ("", "{}", ""),
        ("a: .nan", "a: .nan", ""),
        ("a: 1", "a: 1.0", "a is 1 in the run and 1.0 now"),
        ("a: [1, 2]", "a: [2, 1]", "a is [1, 2] in the run and [2, 1] now"),
        ("a: {b: {c: x}}", "a: {b: {c: y}}", "a.b.c is 'x' in the run and 'y' now"),
        ("a: {b: 1}", "a: {}", "a.b is 1 in the run and not set now, a is not set in the run and {} now"),
        ("a: null", "", "a is None in the run and not set now"),
        (
            "{a: 1, b: 1, c: 1, d: 1, e: 1}",
            "{a: 2, b: 2, c: 2, d: 2, e: 2}",
            "a is 1 in the run and 2 now, b is 1 in the run and 2 now, c is 1 in the run and 2 now, and 2 more",
        ),
    ],
)
def test_says_what_differs(before: str, now: str, sentence: str) -> None:
    assert describe_difference(before, now) == sentence


@pytest.mark.parametrize(("text", "cause"), [("a: [", "it is not YAML"), ("- a", "it is not a mapping")])
def test_unreadable_configurations_are_one_sentence(text: str, cause: str) -> None:
    with pytest.raises(RunError, match=rf"^Cannot read the run's config\.yaml: {cause}"):
        describe_difference(text, "a: 1")
