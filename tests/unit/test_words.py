"""One word a thing: no two classes share a name, and words that say nothing to a newcomer stay out."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "creditree"
SHARED = {
    "Attention": {"engines/static/kernels/launch.py", "explore/attention.py"},
    "Parts": {"engines/static/kernels/scratch.py", "train/settings.py"},
}
"""Names that two classes have: one of the kernels, beside one that nobody meets there."""
DIALECT = {
    "harvest": r"[Hh]arvest",
    "landed": r"\b[Ll]anded\b",
    "flying": r"\b[Ff]lying\b(?!\")",
}
"""Words of no field: explored, stored and in flight are what is meant. (Checkpoints have the key "flying".)"""
FILES = sorted(SOURCE.rglob("*.py"))


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path.relative_to(SOURCE).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == SHARED


@pytest.mark.parametrize("word", DIALECT)
def test_words_that_were_put_out_stay_out(word: str) -> None:
    pattern = re.compile(DIALECT[word])
    assert [path.name for path in FILES if pattern.search(path.read_text(encoding="utf-8"))] == []
