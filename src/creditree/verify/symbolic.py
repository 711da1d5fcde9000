"""Comparing two answers as formulas. Only worker processes import this module: it brings sympy and math-verify.

DeepScaleR's rules come first (mathd form, tuples split, unreduced fractions literal, integers exact, else
simplify(a - b) == 0), then math-verify, whose yes is looked at a second time (`second_look`). No text is ever evaluated
as Python: formulas are read by the grammar of latex2sympy, common ones by a quicker reader of the same language.
"""

import logging
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify

from creditree.problem import Status
from creditree.verify.latex import (
    assigned_letter,
    base,
    closing,
    fractions_written_out,
    is_bracketed,
    mathd,
    opening,
    split_elements,
    tidy,
)
from creditree.verify.reader import quickly_read
from creditree.verify.second_look import contradicted

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)

MOST_UNKNOWNS = 2
"""DeepScaleR's grader does not simplify differences with more letters than this."""
LARGEST_EXPONENT = 10_000
LARGEST_FACTORIAL = 5_000
MOST_DIGITS = 50_000
"""Of a number that is written out."""
LARGE_BINOMIAL = re.compile(r"\\[dt]?binom\s*\{?\s*[0-9]{5}")
"""latex2sympy evaluates it as it reads."""
DEEPEST = 20
IMAGINARY = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath|\\operatorname")
NORMAL_FORM = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an answer is right, and how the comparison went."""

    correct: bool
    status: Status = "ok"
    detail: str = ""


def compare(answer: str, truths: list[str], use_math_verify: bool = True) -> Finding:
    """Return whether `answer` equals one of `truths`; ``unparsable`` where it is no formula and no equal text.

    The second look comes before the rest: it finds most differences at once, where a simplification may take seconds.
    """
    truths = [truth for truth in truths if not labels_differ(answer, truth)]
    if any(mathd(answer) == mathd(truth) for truth in truths):
        return Finding(True)
    formula = read(answer)
    for truth in truths:
        expected = read(truth)
        both = formula is not None and expected is not None
        if both and contradicted(expected, formula, _brackets(tidy(truth)), _brackets(tidy(answer))):
            continue
        if both and use_math_verify and verify([expected], [formula], timeout_seconds=None):
            return Finding(True)
        if deepscaler_equal(answer, truth):
            return Finding(True)
    if formula is None:
        return Finding(False, "unparsable", "the answer is not a formula that can be read.")
    return Finding(False)


def deepscaler_equal(answer: str, truth: str) -> bool:
    """Return what DeepScaleR's two graders, mathd and sympy, say together."""
    if mathd(answer) == mathd(truth):
        return True
    answer, truth = (fractions_written_out(tidy(text)).casefold() for text in (answer, truth))
    if not answer:
        return False
    given, wanted = split_elements(answer), split_elements(truth)
    if len(given) != len(wanted):
        return False
    if len(wanted) > 1 and (_brackets(answer) != _brackets(truth)):
        return False
    return all(_element_equal(one, other) for one, other in zip(given, wanted, strict=True))


def labels_differ(answer: str, truth: str) -> bool:
    """Return whether both assign to a letter, or both name a base, and not the same one."""
    return any(of(answer) and of(truth) and of(answer) != of(truth) for of in (assigned_letter, base))


def read(text: str) -> Any:
    """Return the formula that `text` is, as a sympy object, or None where it is none or is too large to work with."""
    return _read(fractions_written_out(tidy(text)))


@lru_cache(maxsize=512)
def _read(text: str) -> Any:
    if not text or _depth(text) > DEEPEST or LARGE_BINOMIAL.search(text):
        return None
    try:
        normal = normalize_latex(text, NORMAL_FORM)
        formula = quickly_read(normal)
        if formula is None:
            formula = latex2sympy(
                normal, is_real=not IMAGINARY.search(normal), convert_degrees=False, normalization_config=None
            )
    except Exception:  # whatever a grammar makes of what a model wrote
        return None
    return None if formula is None or is_too_large(formula) else _with_imaginary_unit(formula)


def _with_imaginary_unit(formula: Any) -> Any:
    """Return a formula with the letter i, which latex2sympy reads as an unknown, as the root of -1."""
    letters = getattr(formula, "free_symbols", ())
    return formula.subs({letter: sympy.I for letter in letters if letter.name == "i"}) if letters else formula


def is_too_large(formula: Any) -> bool:
    """Return whether evaluating a formula would write out a number of a size that no answer has."""
    try:
        return any(_is_large(node) for node in sympy.preorder_traversal(formula))
    except (AttributeError, TypeError):
        return False


def _is_large(node: Any) -> bool:
    if isinstance(node, sympy.Pow):
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


def _element_equal(answer: str, truth: str) -> bool:
    if answer.replace(" ", "") == truth.replace(" ", ""):
        return True
    answer_fraction, truth_fraction = _is_fraction(answer), _is_fraction(truth)
    if answer_fraction and truth_fraction:
        return False
    if _is_integer(answer) or _is_integer(truth):
        return _integer(answer) is not None and _integer(answer) == _integer(truth)
    return _simplified_equal(answer, truth)


def _simplified_equal(answer: str, truth: str) -> bool:
    one, other = read(answer), read(truth)
    if not isinstance(one, sympy.Expr) or not isinstance(other, sympy.Expr):
        return False
    if len(one.free_symbols | other.free_symbols) > MOST_UNKNOWNS:
        return False
    try:
        return bool(sympy.simplify(one.doit() - other.doit()) == 0)
    except Exception:  # sympy raises many kinds for what is no ordinary expression
        return False


def _is_fraction(text: str) -> bool:
    return re.fullmatch(r"-?\\frac\{-?[0-9]+\}\{-?[0-9]+\}|-?[0-9]+\s*/\s*[0-9]+", text) is not None


def _is_integer(text: str) -> bool:
    return _integer(text) is not None


def _integer(text: str) -> int | None:
    match = re.fullmatch(r"(-?\s*[0-9]{1,640})(?:\.0*)?", text.strip())
    return int(match[1].replace(" ", "")) if match else None


def _brackets(text: str) -> str:
    return opening(text) + closing(text) if is_bracketed(text) else ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
