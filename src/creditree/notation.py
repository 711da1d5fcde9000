"""Values as people write them: YAML without its traps, and of a size that can be shown and checked."""

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from creditree.text import shortened, shown

DEEPEST = 50
"""Levels of a value."""
MOST_NODES = 100_000
"""Values in a text, each counted as often as aliases repeat it."""
LONGEST = 500_000
"""Characters of a text."""
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-9][0-9_]*)+(\.[0-9_]*)?")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


class NotationError(Exception):
    """Text that is not YAML, or holds what is surely not meant; says where, and why, in words for a sentence."""


def read_values(text: str) -> Any:
    """Return the value of YAML `text`, made of None, bool, int, float, str, dates, lists and dictionaries.

    Raises NotationError where it is no YAML, and for a key that is given twice, a number to the base 60 or 8 (``1:30``,
    ``010``), nesting below 50 levels, and more than 100,000 values, with what aliases repeat.
    """
    if len(text) > LONGEST:
        raise NotationError(f": it has {len(text):,} characters, and more than {LONGEST:,} are not read")
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = error.character if isinstance(error.character, str) else chr(error.character)
        raise NotationError(f" at line {line}: it holds the character {character!a}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line_text = f" at line {mark.line + 1}" if mark else ""
        raise NotationError(f"{line_text}: {shortened(str(getattr(error, 'problem', None) or error), 300)}") from None


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, or refuse what nests too deep: each level is a call."""
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refusal(f"it is nested more than {DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_document(self) -> yaml.Node | None:
        """Return the whole, or refuse what would be too large once every alias stands for its copy."""
        node = super().compose_document()
        if node is not None:
            _check_size(node)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; PyYAML leaves what goes wrong in a scalar to Python."""
        written = node.value if isinstance(node, yaml.ScalarNode) else ""
        if node.tag in _NUMBERS:
            _check_number(written, node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, ValueError) and len(written) > 1000:
                raise _refusal(f"it holds a number of {len(written):,} characters", node.start_mark) from None
            raise _refusal(f"{shown(written)} is no value of its kind", node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a dictionary; a key that is given twice is refused, of which YAML would silently keep the last."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _refusal(f"the key '{shortened(key.value)}' is given twice; keep one", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _refusal(problem: str, mark: yaml.Mark) -> ConstructorError:
    return ConstructorError(None, None, problem, mark)


def _check_number(written: str, mark: yaml.Mark) -> None:
    if _BASE_60.fullmatch(written):
        raise _refusal(f"{shown(written)} would be a number to the base 60, so write it in full", mark)
    if _OCTAL.fullmatch(written):
        raise _refusal(f"{shown(written)} would be a number to the base 8, so leave out the zero before it", mark)


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that unfold to too many values, or to themselves; each node is looked at once."""
    sizes: dict[int, int] = {}
    entered: set[int] = set()
    stack: list[yaml.Node] = [root]
    while stack:
        node = stack[-1]
        parts = _parts(node)
        if id(node) not in entered:
            entered.add(id(node))
            for part in parts:
                if id(part) in entered and id(part) not in sizes:
                    raise _refusal("an alias stands within what it repeats", node.start_mark)
            stack += [part for part in parts if id(part) not in sizes]
            continue
        stack.pop()
        sizes[id(node)] = 1 + sum(sizes.get(id(part), 0) for part in parts)
        if sizes[id(node)] > MOST_NODES:
            raise _refusal(f"it holds more than {MOST_NODES:,} values, with what aliases repeat", node.start_mark)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
