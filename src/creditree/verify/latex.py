"""Writing an answer in LaTeX one way: units, degrees, spacing and short forms of fractions do not count."""

import re

SPELLINGS = (
    ("\\left", ""), ("\\right", ""), ("\\bigl", ""), ("\\bigr", ""), ("\\Bigl", ""), ("\\Bigr", ""), ("\\big", ""),
    ("\\displaystyle", ""), ("\\limits", ""), ("\\tfrac", "\\frac"), ("\\dfrac", "\\frac"), ("\\cfrac", "\\frac"),
    ("\\mbox", "\\text"), ("\\textbf", "\\text"), ("\\textit", "\\text"), ("\\textrm", "\\text"),
    ("\\mathbf", "\\mathrm"), ("\\bm", ""), ("\\leqslant", "\\leq"), ("\\geqslant", "\\geq"), ("\\neq", "\\ne"),
    ("\\infin", "\\infty"), ("\\inftyty", "\\infty"), ("−", "-"), ("–", "-"), ("×", "\\times "), ("·", "\\cdot "),
    ("÷", "/"), ("π", "\\pi "), ("∞", "\\infty "), ("°", "^\\circ "), ("≤", "\\leq "), ("≥", "\\geq "), ("≠", "\\ne "),
    ("±", "\\pm "), ("∪", "\\cup "), ("∩", "\\cap "), ("∈", "\\in "), ("∅", "\\emptyset "), ("²", "^2"), ("³", "^3"),
    ("½", "\\frac{1}{2}"), ("¼", "\\frac{1}{4}"), ("¾", "\\frac{3}{4}"), ("\u00a0", " "), ("\\nolinebreak", ""),
)  # fmt: skip
COMMAND_END = r"(?![A-Za-z])"
SPACING = re.compile(r"(?<!\\)\\[!,;: ]|\\quad|\\qquad|~|\\(?:big|small|med)?skip" + COMMAND_END)
THOUSANDS = re.compile(r"(?<![0-9.])([0-9]{1,3})((?:(?:,|\{,\})(?:\\[!,] ?)*[0-9]{3})+)(?![0-9])")
SPACED_THOUSANDS = re.compile(r"(?<=[0-9])(?:\\[!,:] ?|\{,\})(?=[0-9]{3}(?![0-9]))")
CONSTANT = re.compile(r"\\(?:mathrm|text|operatorname|rm)\s*(?:\{\s*([eidπ])\s*\}|\s([eid])" + COMMAND_END + ")")
DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ" + COMMAND_END + r")|\\degree" + COMMAND_END)
UNIT_WORDS = (
    "degrees?|deg|radians?|rad|centimet(?:er|re)s?|cm|millimet(?:er|re)s?|mm|kilomet(?:er|re)s?|km|met(?:er|re)s?|"
    "miles?|mi|inch(?:es)?|feet|foot|ft|yards?|yd|units?|pieces?|cents?|dollars?|euros?|pounds?|lbs?|ounces?|oz|"
    "grams?|kilograms?|kg|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|mph|km/h|"
    "lit(?:er|re)s?|ways|values|students|people|boxes|apples|points|times|numbers|integers|solutions|percent|"
    "distinct|square|sq|cubic|cu|per"
)
UNIT = rf"(?:{UNIT_WORDS}|m|s|h|g)\.?(?:\s*\^\s*\{{?[23]\}}?)?"
UNIT_TEXT = re.compile(
    rf"\\text\s*\{{[\s~]*(?:{UNIT}[\s~/]*)+\}}\s*(?:\^\s*(?:\{{[23]\}}|[23]))?\s*\.?\s*$", re.IGNORECASE
)
UNIT_ROMAN = re.compile(
    rf"\\mathrm\s*\{{[\s~]*(?:{UNIT}[\s~/]*)+\}}\s*(?:\^\s*(?:\{{[23]\}}|[23]))?\s*$", re.IGNORECASE
)
# A single letter behind a number may be a variable, so without \text it is no unit.
UNIT_PLAIN = re.compile(rf"(?<=[0-9}}).])[ ]+(?:(?:{UNIT_WORDS})\b\.?(?:\^\{{?[23]\}}?)?[ /]*)+$", re.IGNORECASE)
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))")
SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
SLASHED = re.compile(r"(-?[0-9]+)\s*/\s*([0-9]+)")
ASSIGNED = re.compile(r"\s*([A-Za-z](?:\([A-Za-z]\))?)\s*=(?![=])\s*")
BASED = re.compile(r"[0-9A-Z]+_\{?([0-9]{1,2})\}?")
PLAIN_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9A-Za-z]+))")
PLAIN_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(pi|sin|cos|tan|cot|sec|csc|log|ln|exp|infty|theta|alpha|beta)(?![A-Za-z])"
)
ROOT_SIGN = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9]+|[A-Za-z]))")


def tidy(text: str) -> str:
    """Return an answer with spelling variants of LaTeX made one, units and separators of thousands dropped.

    Meaning is kept, but for units, degrees, currency and percent signs, which are dropped as DeepScaleR's rules do.
    """
    text = text.replace("\\$", "").strip().strip("$").strip().replace("\\%", "%")
    for old, new in SPELLINGS:
        if old.startswith("\\") and old[-1].isalpha():
            text = re.sub(re.escape(old) + COMMAND_END, lambda _, new=new: new, text)  # type: ignore[misc]
        else:
            text = text.replace(old, new)
    text = CONSTANT.sub(lambda match: f" {match[1] or match[2]} ", text)
    if not is_bracketed(text):  # (4,112) is a pair
        text = THOUSANDS.sub(lambda match: match[1] + re.sub(r"[^0-9]", "", match[2]), text)
    text = SPACED_THOUSANDS.sub("", text)
    text = SPACING.sub(" ", text)
    text = DEGREES.sub("", text)
    text = text.replace("$", "").replace("%", "").strip()
    text = UNIT_TEXT.sub("", text).strip()
    text = UNIT_ROMAN.sub("", text).strip()
    text = UNIT_PLAIN.sub("", text).strip()
    text = _plain_functions(text)
    return text[:-1].rstrip() if text.endswith(".") else text


def mathd(text: str) -> str:
    """Return the form by which two answers are compared as texts: without spaces, short fractions written out.

    After the rules of the MATH data set's own grader (Hendrycks et al. 2021) that DeepScaleR uses: ``0.5`` and ``a/b``
    become fractions, ``x = 5`` becomes ``5``, ``\\frac12`` becomes ``\\frac{1}{2}``.
    """
    text = tidy(text)
    text = TEXT.sub(lambda match: match[1].strip(), text)
    text = fractions_written_out(text)
    assigned = ASSIGNED.match(text)
    if assigned:
        text = text[assigned.end() :]
    text = re.sub(r"\s+", "", text)
    text = re.sub(r"(?<![0-9])\.(?=[0-9])", "0.", text)
    text = re.sub(r"\^\{([0-9A-Za-z])\}", r"^\1", text)
    slashed = SLASHED.fullmatch(text)
    if slashed:
        sign = "-" if slashed[1].startswith("-") else ""
        return f"{sign}\\frac{{{slashed[1].lstrip('-')}}}{{{slashed[2]}}}"
    return "\\frac{1}{2}" if text == "0.5" else text


def assigned_letter(text: str) -> str:
    """Return the letter, or ``f(x)``, that an answer such as ``x = 5`` assigns to; "" where it assigns to none."""
    match = ASSIGNED.match(tidy(text))
    return match[1] if match else ""


def base(text: str) -> str:
    """Return the base that a number such as ``52_8`` names, or "" where it names none."""
    match = BASED.fullmatch(tidy(text).replace(" ", ""))
    return match[1] if match else ""


def fractions_written_out(text: str) -> str:
    """Return `text` with braces around every part of ``\\frac`` and ``\\sqrt`` that was written without."""
    text = SHORT_ROOT.sub(r"\\sqrt{\1}", text)

    def braces(match: re.Match[str]) -> str:
        top = match[2] if match[1] is None else match[1]
        bottom = match[4] if match[3] is None else match[3]
        return f"\\frac{{{top}}}{{{bottom}}}"

    return SHORT_FRACTION.sub(braces, text)


def split_elements(text: str) -> list[str]:
    """Return the elements of a list, tuple or set as texts: split at commas outside of all brackets.

    Brackets around the whole are dropped; the words and, or between elements are commas.
    """
    text = re.sub(r"\\text\s*\{\s*,?\s*(?:and|or)\s*\}|\b(?:and|or)\b", ",", text)
    inner = text[len(opening(text)) : len(text) - len(closing(text))] if is_bracketed(text) else text
    depth, parts, start = 0, [], 0
    for index, character in enumerate(inner):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(inner[start:index])
            start = index + 1
    parts.append(inner[start:])
    return [part.strip() for part in parts if part.strip()]


def is_bracketed(text: str) -> bool:
    """Return whether one pair of brackets encloses the whole of `text`."""
    if not (opening(text) and closing(text)):
        return False
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and index >= len(opening(text)) - 1:
            return index == len(text) - 1
    return False


def opening(text: str) -> str:
    """Return the bracket that `text` starts with: ``(``, ``[``, ``\\{``, or nothing."""
    return next((bracket for bracket in ("\\{", "(", "[") if text.startswith(bracket)), "")


def closing(text: str) -> str:
    """Return the bracket that `text` ends with: ``)``, ``]``, ``\\}``, or nothing."""
    return next((bracket for bracket in ("\\}", ")", "]") if text.endswith(bracket)), "")


def _plain_functions(text: str) -> str:
    """Return `text` with ``sqrt(2)``, ``pi`` and the like of a plain formula as LaTeX has them."""
    text = re.sub(r"\*\*", "^", text)

    def root(match: re.Match[str]) -> str:
        return f"\\sqrt{{{next(group for group in match.groups() if group is not None)}}}"

    text = PLAIN_ROOT.sub(root, text)
    text = ROOT_SIGN.sub(root, text)
    text = PLAIN_FUNCTION.sub(r"\\\1 ", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    return re.sub(r"(?<=[0-9A-Za-z)}\s])\*(?=[0-9A-Za-z(\\\s])", r" \\cdot ", text)
