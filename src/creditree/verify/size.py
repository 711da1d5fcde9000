"""How large the numbers are that a formula would write out, without evaluating it. Imported by workers only."""

import math
from typing import Any

import sympy

LARGEST_EXPONENT = 10_000
LARGEST_FACTORIAL = 5_000
MOST_DIGITS = 50_000
"""Of a number that is written out."""


def is_too_large(formula: Any) -> bool:
    """Return whether evaluating a formula would write out a number of a size that no answer has, or divide by zero."""
    try:
        return any(_is_large(node) for node in sympy.preorder_traversal(formula))
    except (AttributeError, TypeError):
        return False


def _is_large(node: Any) -> bool:
    if isinstance(node, sympy.Pow):
        if node.base == 0 and node.exp.is_negative:
            return True  # a division by zero has no value
        return digits(node.exp) > math.log10(LARGEST_EXPONENT) or digits(node) > MOST_DIGITS
    if isinstance(node, sympy.factorial | sympy.binomial):
        return any(digits(argument) > math.log10(LARGEST_FACTORIAL) for argument in node.args)
    if isinstance(node, sympy.Sum | sympy.Product):
        ends = (end for limits in node.limits for end in limits[1:] if end.is_finite)
        return any(digits(end) > math.log10(LARGEST_FACTORIAL) for end in ends)
    return False


def digits(formula: Any) -> float:
    """Return log10 of about how large a number is, without evaluating it; 0 below 1 and for what is not understood."""
    if formula.is_Rational:
        return max(0.0, float(abs(formula.p).bit_length() - formula.q.bit_length()) * math.log10(2))
    if formula.is_Float:
        return max(0.0, math.log10(abs(float(formula)) or 1.0))
    parts = [digits(part) for part in formula.args]
    if isinstance(formula, sympy.Mul):
        return sum(parts)
    if isinstance(formula, sympy.Pow):
        base, exponent = parts
        return math.inf if base and exponent > 9 else float(base * 10.0**exponent)
    if isinstance(formula, sympy.factorial):
        return math.inf if parts[0] > 9 else float(parts[0] * 10.0 ** parts[0])
    return max(parts, default=0.0)
