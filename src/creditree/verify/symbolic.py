"""Comparing two answers as formulas. Only worker processes import this module: it brings sympy and math-verify.

DeepScaleR's rules come first (mathd form, tuples split, unreduced fractions literal, integers exact, else
simplify(a - b) == 0), then math-verify, whose yes is looked at a second time (`second_look`). No text is ever evaluated
as Python: formulas are read by the grammar of latex2sympy, common ones by a quicker reader of the same language.
"""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify

from creditree.problem import Status
from creditree.verify.equations import as_list, by_name, chain, named_pairs, values
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
    unit_behind,
    without_spaces,
)
from creditree.verify.quantity import quantities_equal, quantity
from creditree.verify.reader import quickly_read
from creditree.verify.second_look import contradicted, evaluated
from creditree.verify.size import is_too_large
from creditree.verify.units import differ

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)

MOST_UNKNOWNS = 2
"""DeepScaleR's grader does not simplify differences with more letters than this."""
LARGE_BINOMIAL = re.compile(r"\\[dt]?binom\s*\{?\s*[0-9]{5}")
"""latex2sympy evaluates it as it reads."""
WORDS = re.compile(r"[^\W\d_]{2,}(?>(?:[-' ][^\W\d_]+)*)")
ALTERNATIVES = re.compile(r"\\text\s*\{\s*or\s*\}|(?<![A-Za-z])or(?![A-Za-z])")
INEQUALITY = re.compile(r"[<>]|\\[lg]eq(?![A-Za-z])")
UNEVALUATED = re.compile(r"\\(?:sum|prod|i?int|lim)(?![A-Za-z])")
DOTS = re.compile(r"\\[cl]?dots(?![A-Za-z])|\.\.\.|…")
DEGREE_NAMES = frozenset({"°", "degree", "degrees", "deg"})
DEEPEST = 20
IMAGINARY = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath|\\operatorname")
NORMAL_FORM = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an answer is right, and how the comparison went."""

    correct: bool
    status: Status = "ok"
    detail: str = ""


def compare(answer: str, truths: list[str], use_math_verify: bool = True) -> Judgement:
    """Return whether `answer` equals one of `truths`; ``unparsable`` where it is no formula and no equal text."""
    truths = [truth for truth in truths if not labels_differ(answer, truth)]
    given = mathd(answer)
    if any(_same_text(given, mathd(truth)) and not _units_differ(answer, truth) for truth in truths):
        return Judgement(True)
    if _is_false_equation(answer):
        return Judgement(False, "ok", "the two sides of the answer are not equal.")
    exact, *rounded = values(answer)
    for truth in truths:
        wanted = values(truth)[0]
        if _equal(exact, wanted, use_math_verify) or any(_rounds(text, exact, wanted) for text in rounded):
            return Judgement(True)
    if read(exact) is None:
        return Judgement(False, "unparsable", "the answer is not a formula that can be read.")
    return Judgement(False)


def _same_text(one: str, other: str) -> bool:
    """Return whether two texts are the same; of words capitals do not count."""
    return one == other or (WORDS.fullmatch(one) is not None and one.casefold() == other.casefold())


def _equal(answer: str, truth: str, use_math_verify: bool) -> bool:
    """Return whether two answers are equal, named and listed values one by one."""
    if _unevaluated(answer, truth) or _units_differ(answer, truth):
        return False
    pairs = named_pairs(answer, truth) if use_math_verify else None
    if pairs is not None:
        return all(_equal(one, other, use_math_verify) for one, other in pairs)
    answer, truth = as_list(answer, truth), as_list(truth, answer)
    one, other = quantity(answer), quantity(truth)
    if use_math_verify and one is not None and other is not None and quantities_equal(one, other):
        return True
    return _formulas_equal(*_in_radians(answer, truth), use_math_verify)


def _formulas_equal(answer: str, truth: str, use_math_verify: bool) -> bool:
    """Return what the rules and math-verify say of two formulas.

    The second look comes before the rest: it finds most differences at once, where a simplification may take seconds.
    """
    formula, expected = read(answer), read(truth)
    both = formula is not None and expected is not None
    if both and contradicted(expected, formula, _brackets(tidy(truth)), _brackets(tidy(answer))):
        return False
    if both and use_math_verify and verify([expected], [formula], allow_set_relation_comp=True, timeout_seconds=None):
        return True
    return deepscaler_equal(answer, truth)


def _is_false_equation(text: str) -> bool:
    """Return whether an answer is an equation of two numbers that are not equal, such as 5 = 6."""
    sides = [] if DOTS.search(text) else chain(text)
    return len(sides) == 2 and _surely_differ(*sides)


def _rounds(rounded: str, exact: str, wanted: str) -> bool:
    """Return whether the accepted answer is the rounded value that an answer gives beside its exact one, rightly."""
    one, other = quantity(rounded), quantity(wanted)
    if one is None or other is None or not other.number.is_decimal or not quantities_equal(one, other):
        return False
    formula = read(exact)
    value = None if formula is None else evaluated(formula)
    places = len(wanted.partition(".")[2].rstrip("0 "))
    return value is not None and abs(value - float(other.number.value)) <= 0.51 * 10.0**-places


def _surely_differ(one: str, other: str) -> bool:
    first, second = read(one), read(other)
    return first is not None and second is not None and contradicted(first, second)


def _unevaluated(answer: str, truth: str) -> bool:
    """Return whether a sum, product, integral or limit is left to do where the accepted answer is a number."""
    return UNEVALUATED.search(answer) is not None and quantity(truth) is not None


def _units_differ(answer: str, truth: str) -> bool:
    """Return whether both have units behind a formula that are known to be different ones."""
    one, other = unit_behind(answer), unit_behind(truth)
    return bool(one and other and differ(one, other) not in (False, 1))


def _in_radians(answer: str, truth: str) -> tuple[str, str]:
    """Return both answers, one in degrees as a part of pi where the other has pi and no degrees."""
    return _radians(answer, truth), _radians(truth, answer)


def _radians(text: str, other: str) -> str:
    angle = quantity(text)
    if angle is None or angle.unit not in DEGREE_NAMES or "pi" not in other.replace("π", "pi"):
        return text
    share = angle.number.value / 180
    return f"\\frac{{{share.numerator}\\pi}}{{{share.denominator}}}"


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
    """Return whether both assign to a letter, or both name a base, and not the same one; lists have their own names."""
    if by_name(answer) is not None or by_name(truth) is not None:
        return False
    return any(of(answer) and of(truth) and of(answer) != of(truth) for of in (assigned_letter, base))


def read(text: str) -> Any:
    """Return the formula that `text` is, as a sympy object, or None where it is none or is too large to work with."""
    return _read(fractions_written_out(tidy(text)))


@lru_cache(maxsize=512)
def _read(text: str) -> Any:
    if not text or _depth(text) > DEEPEST or LARGE_BINOMIAL.search(text):
        return None
    parts = ALTERNATIVES.split(text)
    if len(parts) > 1 and all(map(INEQUALITY.search, parts)):
        return _either([_read(part.strip()) for part in parts])
    try:
        normal = normalize_latex(text, NORMAL_FORM)
        formula = quickly_read(normal)
        if formula is None:
            formula = latex2sympy(
                normal, is_real=not IMAGINARY.search(normal), convert_degrees=False, normalization_config=None
            )
    except Exception:  # whatever a grammar makes of what a model wrote
        return None
    return None if formula is None or is_too_large(formula) else _with_real_roots(_with_imaginary_unit(formula))


def _either(inequalities: list[Any]) -> Any:
    """Return the set of numbers that satisfy one of several inequalities, None where they are not such."""
    try:
        return sympy.Or(*inequalities).as_set() if all(inequality is not None for inequality in inequalities) else None
    except Exception:  # of several letters, or of none
        return None


def _with_real_roots(formula: Any) -> Any:
    """Return a formula with odd roots of negative numbers as the real ones: the cube root of -8 is -2."""
    if not isinstance(formula, sympy.Basic) or not formula.has(sympy.Pow):
        return formula
    return formula.replace(_is_odd_root, lambda root: -sympy.Pow(-root.base, root.exp, evaluate=False))


def _is_odd_root(node: Any) -> bool:
    if not isinstance(node, sympy.Pow) or not node.base.is_number or not node.exp.is_Rational:
        return False
    return bool(node.exp.q % 2 and node.exp.q > 1 and node.exp.p == 1 and node.base.is_negative)


def _with_imaginary_unit(formula: Any) -> Any:
    """Return a formula with the letter i, which latex2sympy reads as an unknown, as the root of -1."""
    letters = getattr(formula, "free_symbols", ())
    return formula.subs({letter: sympy.I for letter in letters if letter.name == "i"}) if letters else formula


def _element_equal(answer: str, truth: str) -> bool:
    if without_spaces(answer) == without_spaces(truth):
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
