"""A piece is the only place that knows itself: the machinery asks for no class of a piece and for no method's name."""

import ast
from collections.abc import Iterator
from dataclasses import fields

import pytest

from creditree.methods import AXES, METHODS
from creditree.piece import Piece, numbers_of, types_of
from creditree.pieces import BASES, PIECES, all_numbers
from tests.sources import FILES, SOURCE, tree_of

NAMED = {"methods.py", *(f"{axis}/" for axis in AXES)}
"""Where pieces and methods may be named: the compositions, and the pieces themselves."""
SUITE = ("evaluate/suite.py", "attnrl")
"""The benchmarks that AttnRL's paper reports: a suite of that name."""
SHOWN = ("cli/examples.py", "t-spmo")
"""What the help of `show` has as its example."""


def _trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield every file of the package but those that may name pieces."""
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        if not any(name.startswith(place) for place in NAMED):
            yield name, tree_of(path)


def _all_kinds() -> set[str]:
    def below(kind: type[Piece]) -> set[str]:
        return {kind.__name__}.union(*(below(sub) for sub in kind.__subclasses__() if "creditree." in sub.__module__))

    return set().union(*(below(base) for base in BASES.values()))


def _asked(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a file compares classes with: in isinstance, issubclass, ``type(x) is Name`` and match."""
    for node in ast.walk(tree):
        compared: list[ast.AST] = []
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            compared = list(node.args[1:])
        elif isinstance(node, ast.Compare):
            compared = list(node.comparators)
        elif isinstance(node, ast.MatchClass):
            compared = [node.cls]
        for part in compared:
            yield from (inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name))


def test_nothing_outside_asks_which_piece_it_holds() -> None:
    kinds = _all_kinds()
    assert {"Replay", "Branching", "Clipped", "Masked", "Adaptive", "Credit"} <= kinds
    asked = {name: kinds.intersection(_asked(tree)) for name, tree in _trees()}
    assert {name: found for name, found in asked.items() if found} == {}


def test_nothing_outside_knows_a_method_by_name() -> None:
    found = {
        (name, node.value)
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in METHODS
    }
    assert found == {SUITE, SHOWN}


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(x, Replay)",
        "isinstance(x, Group | Replay)",
        "isinstance(x, (Group, Replay))",
        "type(x) is Replay",
        "issubclass(x, Replay)",
        "match x:\n    case Replay():\n        pass",
    ],
)
def test_the_walk_sees_every_way_of_asking(line: str) -> None:
    assert "Replay" in set(_asked(ast.parse(line)))


def _kinds() -> list[type[Piece]]:
    return [kind for known in PIECES.values() for kind in known.values()]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.name)
def test_a_piece_of_ours_says_where_it_is_from_and_what_its_numbers_are(kind: type[Piece]) -> None:
    assert kind.__doc__
    assert kind.paper or kind.name in ("fixed",)
    assert set(types_of(kind)) == {item.name for item in numbers_of(kind)}
    for item in numbers_of(kind):
        assert item.metadata.get("help"), f"{kind.name}.{item.name} has no help"
        assert "range" in item.metadata


def test_numbers_of_one_name_mean_one_thing() -> None:
    """A configuration has one key for both: where pieces of two axes share a name, they share type and range."""
    seen: dict[str, tuple[object, object]] = {}
    for kind in _kinds():
        for item in numbers_of(kind):
            said = (types_of(kind)[item.name], item.metadata["range"])
            assert seen.setdefault(item.name, said) == said, item.name
    assert set(seen) == all_numbers()


def test_what_is_fitted_is_no_number() -> None:
    fitted = {item.name for kind in _kinds() for item in fields(kind) if item.metadata.get("fitted")}
    assert fitted == {"separators", "least", "rule", "progress", "share", "levels"}
    assert not fitted & all_numbers()
