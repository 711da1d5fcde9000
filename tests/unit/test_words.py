"""One word a thing: no two classes share a name, and words that say nothing to a newcomer stay out."""

import ast
import re
from collections import Counter, defaultdict

import pytest

from tests.sources import FILES, SOURCE, tree_of

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
AREAS = {
    "the doors and procedures": (
        [
            "cli",
            "config",
            "doctor",
            "evaluate",
            "measure",
            "monitor",
            "pilot",
            "plan",
            "report",
            "runs",
            "setup",
            "sweep",
        ],
        {"found": 0, "held": 0, "asked": 1, "one": 1},
    ),
    "training and the models": (
        ["train", "learner", "models"],
        {"found": 1, "held": 2, "asked": 2, "one": 0},
    ),
    "the engines": (
        ["engines"],
        {"found": 1, "held": 1, "asked": 0, "one": 2},
    ),
    "the pieces and their texts": (
        ["credit", "explore", "objective", "rewards", "schedule", "select", "tasks", "verify"],
        {"found": 0, "held": 0, "asked": 0, "one": 27},
    ),
    "the modules of the package itself": (["*.py"], {"found": 0, "held": 0, "asked": 0, "one": 1}),
}
"""Local names that say "a thing": for each group of folders or modules, how often they may be bound there, and no more
often. `one` is mostly the first of a pair that is compared, beside `other`."""


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path.relative_to(SOURCE).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == SHARED


@pytest.mark.parametrize("word", DIALECT)
def test_words_that_were_put_out_stay_out(word: str) -> None:
    pattern = re.compile(DIALECT[word])
    assert [path.name for path in FILES if pattern.search(path.read_text(encoding="utf-8"))] == []


def _bound_names(tree: ast.Module) -> Counter[str]:
    """Count the names that are bound as variables, of comprehensions too, and as parameters."""
    nodes = list(ast.walk(tree))
    stored = (node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return Counter(stored) + Counter(node.arg for node in nodes if isinstance(node, ast.arg))


@pytest.mark.parametrize("area", AREAS)
def test_a_local_name_says_what_it_is(area: str) -> None:
    places, limits = AREAS[area]
    patterns = [place if place.endswith(".py") else f"{place}/**/*.py" for place in places]
    counts: Counter[str] = Counter()
    for path in (path for pattern in patterns for path in SOURCE.glob(pattern)):
        counts += _bound_names(tree_of(path))
    assert {word: counts[word] for word, limit in limits.items() if counts[word] > limit} == {}


def test_bound_names_are_those_of_variables_comprehensions_and_parameters() -> None:
    source = "def f(found): held = [one for one in found.asked]; return held"
    assert _bound_names(ast.parse(source)) == {"found": 1, "held": 1, "one": 1}
