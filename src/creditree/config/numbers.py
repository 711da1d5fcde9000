"""The numbers of a piece as a configuration sets them: their types are checked here, their ranges by the piece."""

from collections.abc import Hashable, Mapping
from functools import cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Any, Union, cast, get_args, get_origin

from pydantic import ValidationError, create_model

from creditree.config.block import Block, Real, Whole, mistake
from creditree.errors import ConfigError
from creditree.piece import Piece, types_of


def checked_numbers(kind: type[Piece], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the numbers of a piece that are given, as its types have them.

    `where` is the block that sets them. Raises ConfigError for a value of another type.
    """
    try:
        checked = _block_of(cast(Hashable, kind)).model_validate(given)
    except ValidationError as error:
        raise ConfigError(mistake(error, where)) from None
    return {name: getattr(checked, name) for name in given}


@cache
def _block_of(kind: Any) -> type[Block]:
    keys: dict[str, Any] = {name: (_strict(hint) | None, None) for name, hint in types_of(kind).items()}
    return create_model(f"{kind.__name__}Numbers", __base__=Block, **keys)


def _strict(hint: Any) -> Any:
    """Return a number's type as configurations check it: true is no number."""
    if hint in (int, float):
        return Whole if hint is int else Real
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return reduce(or_, (_strict(part) for part in inner))
    if origin is tuple:
        own: Any = tuple(part if part is ... else _strict(part) for part in inner)
        return GenericAlias(tuple, own)
    return hint
