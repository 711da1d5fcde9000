"""What every piece of a method is: a frozen dataclass whose numbers are declared once, with their range and help."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, get_args, get_origin, get_type_hints

from creditree.errors import ConfigError, check_choice
from creditree.problem import Problem
from creditree.signals import Ask, Seen
from creditree.steps import Separators
from creditree.tree import RolloutTree


@dataclass(frozen=True, slots=True)
class Range:
    """Where a number may lie: `least` and `most` are allowed themselves, `above` and `below` are not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""

    def holds(self, value: float) -> bool:
        """Return whether a value lies inside; NaN never does where there is a bound."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """Return it in words that go on after "set"."""
        low = None if self.above is None else f"a number above {self.above:g}"
        high = None if self.below is None else f"below {self.below:g}"
        if self.least is not None:
            low = f"{self.least:g} or more"
        if self.most is not None:
            high = f"at most {self.most:g}"
        if self.least is not None and self.most is not None:
            return f"a number between {self.least:g} and {self.most:g}"
        return " and ".join(words for words in (low, high) if words)


def number(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    why: str = "",
    quiet: bool = False,
) -> Any:
    """Declare a number of a piece: its default, one line of help, and its range.

    The field's annotation says what else it can be: ``bool``, ``int``, ``float``, a ``Literal`` of choices, a tuple of
    these, or one of them or None. `least`, `most`, `above`, `below`: of `Range`; `why` says in a few words what
    is wrong outside. `quiet`: a configuration that is written out leaves it out where it has its default.
    """
    bounds = Range(least, most, above, below, why)
    return field(default=default, metadata={"help": help, "range": bounds, "quiet": quiet})


def again(base: type["Piece"], name: str, default: Any) -> Any:
    """Declare a number of a base class with another default."""
    old = next(item for item in fields(base) if item.name == name)
    return field(default=default, kw_only=bool(old.kw_only), metadata={**old.metadata, "again": True})


def fitted(default: Any) -> Any:
    """Declare what a piece is fitted with later, by a model or a step: no configuration sets it."""
    return field(default=default, kw_only=True, repr=False, metadata={"fitted": True})


def numbers_of(piece: Any) -> tuple[Field[Any], ...]:
    """Return the fields of a piece, or of its class, that a configuration may set: not those that are fitted."""
    return tuple(item for item in fields(piece) if not item.metadata.get("fitted"))


def types_of(kind: type["Piece"]) -> Mapping[str, Any]:
    """Return the type of each number of a piece."""
    return _types_of(cast(Hashable, kind))


@cache
def _types_of(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in numbers_of(kind)}


def default_of(item: Field[Any]) -> Any:
    """Return the default of a number. Raises ConfigError where there is none: a configuration may leave it out."""
    if item.default is not MISSING:
        return item.default
    if item.default_factory is not MISSING:
        return item.default_factory()
    raise ConfigError(f"the number '{item.name}' of a piece has no default; give it one: {item.name} = number(...).")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a piece may find impossible: the sampling of a run, and whether an adapter learns or all weights."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    adapter: bool = True


@dataclass(frozen=True)
class Piece:
    """One answer to one question. It alone knows what it is: its numbers, its needs, what it cannot work with.

    `name` is that in configurations; the class's own where a piece does not say. `axis`: which question it answers.
    `paper`: where it is from.
    `looks_at_steps`: it wants the tokenizer's separators (`fitted`). `needs_solution`: it works on training problems
    that come with a worked solution (`RolloutTree.solution_ids`, for an explorer).
    """

    name: ClassVar[str] = ""
    axis: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    looks_at_steps: ClassVar[bool] = False
    needs_solution: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Name a piece by its class where it has no name of its own."""
        super().__init_subclass__(**arguments)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        hints = types_of(type(self))
        for item in numbers_of(self):
            value = getattr(self, item.name)
            check_number(f"{self.key}.{item.name}", value, hints[item.name], item.metadata.get("range"))

    @property
    def key(self) -> str:
        """The block of a configuration that sets its numbers, as messages say it."""
        return "method"

    @property
    def asks(self) -> frozenset[Ask]:
        """What it wants to know of whole trees, which takes the model or its tokenizer to find out (`observe`)."""
        return frozenset()

    def observe(self, tree: RolloutTree, seen: Seen) -> RolloutTree:
        """Return a tree with what this piece wants to remember of what it asked for."""
        return tree

    def fitted(self, separators: Separators) -> Self:
        """Return this piece with the separators of the tokenizer at hand, where it looks at steps."""
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the training problems that it reads (`of_problems`): none, unless it says so."""
        return ()

    def of_problems(self, problems: Sequence[Problem]) -> Self:
        """Return this piece with what it takes from all training problems, where it reads columns of theirs.

        Raises DataError for a column that it cannot use.
        """
        return self

    def check(self, run: Circumstances) -> None:
        """Raise ConfigError, cause first and then cure, for a run that makes no sense with this piece."""


def check_number(key: str, value: Any, hint: Any, bounds: Range | None) -> None:
    """Raise ConfigError where a number is none of its choices or lies out of its range."""
    if get_origin(hint) is Literal:
        check_choice(key, value, get_args(hint))
    if bounds is None or value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not bounds.holds(value):
        cause = f"{bounds.why}; " if bounds.why else ""
        raise ConfigError(f"{key} is {value}: {cause}set {bounds}.")


P = TypeVar("P", bound=Piece)


def _below(kind: type[P]) -> Iterator[type[P]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _below(sub)


def ours(folder: str, base: type[P]) -> dict[str, type[P]]:
    """Return the pieces in a folder, where a new one is a new file; those that others build on first."""
    package = import_module(f"creditree.{folder}")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    kinds = (kind for kind in _below(base) if not isabstract(kind))
    own = {kind.name: kind for kind in kinds if kind.__module__.startswith(f"{package.__name__}.")}
    return dict(sorted(own.items(), key=lambda item: (len(item[1].__mro__), item[0])))
