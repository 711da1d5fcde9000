"""What every regular expression of the graders keeps to."""

import re
from pathlib import Path

import pytest

import creditree

SOURCES = sorted(Path(creditree.__file__).parent.rglob("*.py"))
POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\{?[0-9,]*\}?\})\+")


@pytest.mark.parametrize(
    ("pattern", "is_one"),
    [(r"(?:,[0-9]{3})++", True), (r"(?:a){2,}+", True), (r"(?>(?:,[0-9]{3})+)", False), (r"[0-9]++\)*+", False)],
)
def test_possessive_groups_are_seen(pattern: str, is_one: bool) -> None:
    assert bool(POSSESSIVE_GROUP.search(pattern)) == is_one


def test_no_pattern_has_a_possessive_group() -> None:
    # Before Python 3.11.5 `(?:...)++` forgets where a group that itself backtracks ended; `(?>(?:...)+)` does not.
    found = [path.name for path in SOURCES if POSSESSIVE_GROUP.search(path.read_text(encoding="utf-8"))]
    assert found == []
