"""A stricter look at two formulas that math-verify took for equal: with many digits, and at several points.

math-verify compares numbers to 15 digits of their difference and decimals to 6 places, so that 1/2004! equals 1/2006!,
and it ignores the order of brackets. Imported by worker processes only.
"""

from collections.abc import Iterator
from typing import Any

import sympy
from sympy.core.relational import Relational

DIGITS = 60
TOLERANCE = sympy.Float("1e-40", DIGITS)
"""Largest relative difference of two equal formulas without a decimal."""
DECIMAL_TOLERANCE = sympy.Float("2e-6", DIGITS)
"""The same where one has a decimal, which may be rounded: 0.333333 is 1/3."""
POINTS = (sympy.Rational(37, 29), sympy.Rational(101, 67), sympy.Rational(53, 89))
"""Positive values for unknowns: math-verify takes letters for real, and roots for those of positive numbers."""
ORDERED = ("()", "[]", "(]", "[)")


def contradicted(expected: Any, given: Any, expected_brackets: str = "", given_brackets: str = "") -> bool:
    """Return whether two formulas are surely different.

    They are where an ordered pair meets a set, where elements, ends or sides differ, or where both can be evaluated and
    differ relatively by more than 1e-40 (2e-6 with a decimal in one). What cannot be evaluated contradicts nothing.
    """
    if _mixed(expected_brackets, given_brackets):
        return True
    return _different(expected, given)


def evaluated(formula: Any) -> float | None:
    """Return the real value of a formula without unknowns, or None."""
    try:
        value = _number(formula.doit())
        return None if value is None or not value.is_real else float(value)
    except Exception:  # sympy raises many kinds for what has no value
        return None


def _mixed(one: str, other: str) -> bool:
    """Return whether one has the brackets of a tuple or interval, and the other of a set or of another interval."""
    if "\\{\\}" in (one, other):
        return one in ORDERED or other in ORDERED
    return one in ORDERED and other in ORDERED and one != other


def _different(one: Any, other: Any) -> bool:
    if isinstance(one, Relational) and isinstance(other, Relational):
        return _relations_differ(one, other)
    ours, theirs = _parts(one), _parts(other)
    if ours is not None and theirs is not None:
        return _collections_differ(one, ours, other, theirs)
    if isinstance(one, sympy.MatrixBase) and isinstance(other, sympy.MatrixBase):
        return one.shape != other.shape or any(map(_different, one.flat(), other.flat()))
    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        return _numbers_differ(one, other)
    return False


def _parts(formula: Any) -> tuple[Any, ...] | None:
    """Return the elements of a tuple or finite set and the ends of an interval; None for anything else."""
    if isinstance(formula, sympy.Interval):
        return (formula.start, formula.end)
    if isinstance(formula, sympy.Tuple | sympy.FiniteSet):
        return tuple(formula.args)
    return None


def _collections_differ(one: Any, ours: tuple[Any, ...], other: Any, theirs: tuple[Any, ...]) -> bool:
    if isinstance(one, sympy.FiniteSet) or isinstance(other, sympy.FiniteSet):
        return any(all(_different(mine, their) for their in theirs) for mine in ours) or any(
            all(_different(mine, their) for mine in ours) for their in theirs
        )
    return len(ours) != len(theirs) or any(map(_different, ours, theirs))


def _relations_differ(one: Relational, other: Relational) -> bool:
    """Return whether two assignments to one letter have different sides; other relations are not looked at."""
    if isinstance(one, sympy.Eq) and isinstance(other, sympy.Eq) and one.lhs == other.lhs and one.lhs.is_Symbol:
        return _different(one.rhs, other.rhs)
    return False


def _numbers_differ(one: Any, other: Any) -> bool:
    has_decimal = one.has(sympy.Float) or other.has(sympy.Float)
    tolerance = DECIMAL_TOLERANCE if has_decimal else TOLERANCE
    compared = 0
    for values in _values(one, other):
        if values is None:
            continue
        compared += 1
        first, second = values
        scale = max(abs(first), abs(second))
        if abs(first - second) > tolerance * scale:
            return True
    return False


def _values(one: Any, other: Any) -> Iterator[tuple[Any, Any] | None]:
    """Yield both formulas evaluated at each point, None where one has no finite value there."""
    unknowns = sorted(one.free_symbols | other.free_symbols, key=str)
    for shift in range(len(POINTS) if unknowns else 1):
        at = {letter: POINTS[(index + shift) % len(POINTS)] + index // 3 for index, letter in enumerate(unknowns)}
        yield _evaluated(one, at, other)


def _evaluated(one: Any, at: dict[Any, Any], other: Any) -> tuple[Any, Any] | None:
    try:
        first, second = (_number(formula.subs(at).doit()) for formula in (one, other))
    except Exception:  # sympy raises many kinds for what has no value
        return None
    return None if first is None or second is None else (first, second)


def _number(formula: Any) -> Any:
    value = formula.evalf(DIGITS, maxn=10 * DIGITS)
    real, imaginary = value.as_real_imag()
    return value if real.is_Float or (real.is_Number and real.is_finite and imaginary.is_finite) else None
