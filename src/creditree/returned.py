"""What functions of pieces return: anybody may write a piece, so it is looked at before it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from creditree.errors import ConfigError
from creditree.fields import TokenField
from creditree.piece import Piece
from creditree.text import shown
from creditree.tree import FloatArray, Forest, RolloutTree

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Returned:
    """The `value` that a `function` of a piece returned.

    Each check returns it as it is used, or raises ConfigError: which piece and function, what it gave, and what it has
    to give. Numbers in lists or of another type become arrays of float64 with the same values.
    """

    piece: Piece
    function: str
    value: Any

    def refused(self, given: str, wanted: str) -> ConfigError:
        """Return the error that says what was `given`, and what is `wanted`."""
        piece = f"method.{self.piece.axis} '{self.piece.name}'"
        return ConfigError(f"{piece}: {self.function}() gave {given}; it has to give {wanted}.")

    def numbers(self, count: int, of: str) -> FloatArray:
        """Return one finite number for each of `count` things; `of` says which these are."""
        wanted = f"a finite number for each of the {count} {of}"
        array = self._array(count, wanted)
        wrong = count - int(np.count_nonzero(np.isfinite(array)))
        if wrong:
            raise self.refused(f"NaN or infinity as {wrong} of {count} numbers", wanted)
        return np.asarray(array, dtype=np.float64)

    def flags(self, count: int, of: str) -> NDArray[np.bool_]:
        """Return True or False for each of `count` things; 1 and 0 may stand for these, but no other numbers."""
        wanted = f"True or False for each of the {count} {of}"
        array = self._array(count, wanted)
        if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
            raise self.refused("numbers other than 0 and 1", wanted)
        return np.asarray(array, dtype=np.bool_)

    def forest_field(self, forest: Forest) -> tuple[TokenField, ...]:
        """Return a token field for every tree of `forest`: for a branch one finite number for each token, or None."""
        problem = f"problem '{forest[0].problem.id}'"
        trees = self.items(len(forest), f"a tuple with a token field for each of the {len(forest)} trees of {problem}")
        return tuple(self._of(value).field(tree) for tree, value in zip(forest, trees, strict=True))

    def field(self, tree: RolloutTree) -> TokenField:
        """Return a token field of `tree`: for a branch one finite number for each token, or None."""
        size, problem = len(tree.branches), f"problem '{tree.problem.id}'"
        values = self.items(size, f"a tuple with an array, or None, for each of the {size} branches of {problem}")
        return tuple(
            None if own is None else self._of(own).numbers(len(branch.token_ids), f"tokens of a branch of {problem}")
            for branch, own in zip(tree.branches, values, strict=True)
        )

    def items(self, count: int | None, wanted: str) -> Sequence[Any]:
        """Return a list or tuple, of `count` items; None: of any number."""
        if not isinstance(self.value, list | tuple):
            raise self.refused(shown(self.value), wanted)
        if count is not None and len(self.value) != count:
            raise self.refused(f"{len(self.value)} of them", wanted)
        return self.value

    def whole(self, least: int) -> int:
        """Return a whole number, `least` or more."""
        if not isinstance(self.value, int | np.integer) or isinstance(self.value, bool) or self.value < least:
            raise self.refused(shown(self.value), f"a whole number, {least} or more")
        return int(self.value)

    def above_zero(self) -> float:
        """Return a finite number above 0."""
        number = self.value if isinstance(self.value, int | float | np.number) else np.nan
        if not 0.0 < number < np.inf:
            raise self.refused(shown(self.value), "a finite number above 0")
        return float(number)

    def state(self) -> dict[str, Any]:
        """Return what is remembered: values by name."""
        if not isinstance(self.value, Mapping) or not all(isinstance(name, str) for name in self.value):
            raise self.refused(shown(self.value), "a dictionary of values by name")
        return dict(self.value)

    def same_axis(self) -> Any:
        """Return a piece that answers the same question."""
        if not isinstance(self.value, Piece) or self.value.axis != self.piece.axis:
            raise self.refused(shown(self.value), f"a piece for method.{self.piece.axis}, itself or another")
        return self.value

    def a(self, kind: type[T], what: str) -> T:
        """Return what is of a class; `what`: in words."""
        if not isinstance(self.value, kind):
            raise self.refused(shown(self.value), what)
        return self.value

    def _of(self, part: Any) -> "Returned":
        return Returned(self.piece, self.function, part)

    def _array(self, count: int, wanted: str) -> NDArray[Any]:
        try:
            array = np.asarray(self.value)
        except Exception:  # lists of different lengths, tensors with a gradient or of another device
            raise self.refused(shown(self.value), wanted) from None
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise self.refused(shown(self.value), wanted)
        if array.shape != (count,):
            size = f"{len(array)} numbers" if array.ndim == 1 else f"an array of shape {array.shape}"
            raise self.refused(size, wanted)
        return array
