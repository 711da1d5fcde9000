"""Writing an answer in LaTeX one way: units, degrees, spacing and short forms of fractions do not count."""

import re

from creditree.verify.units import unit_of

LONGEST_ANSWER = 600
"""Characters of an answer, or of an accepted one, that is still read as a formula: what does so is not all linear."""
SPELLINGS = (
    ("\\left", ""), ("\\right", ""), ("\\bigl", ""), ("\\bigr", ""), ("\\Bigl", ""), ("\\Bigr", ""), ("\\big", ""),
    ("\\displaystyle", ""), ("\\limits", ""), ("\\tfrac", "\\frac"), ("\\dfrac", "\\frac"), ("\\cfrac", "\\frac"),
    ("\\mbox", "\\text"), ("\\hbox", "\\text"), ("\\textbf", "\\text"), ("\\textit", "\\text"), ("\\textrm", "\\text"),
    ("\\textnormal", "\\text"), ("\\textsf", "\\text"), ("\\texttt", "\\text"), ("\\emph", "\\text"),
    ("\\varnothing", "\\emptyset"), ("\\O", "\\emptyset"), ("\\lbrace", "\\{"), ("\\rbrace", "\\}"), ("\\lbrack", "["),
    ("\\rbrack", "]"), ("\\lvert", "|"), ("\\rvert", "|"), ("\\vert", "|"), ("\\le", "\\leq"), ("\\ge", "\\geq"),
    ("\\lt", "<"), ("\\gt", ">"), ("\\land", ","), ("\\lor", ","), ("\\wedge", ","), ("\\vee", ","), ("\\ast", "*"),
    ("\\R", "\\mathbb R"), ("ℝ", "\\mathbb R "), ("ℤ", "\\mathbb Z "), ("ℕ", "\\mathbb N "), ("ℚ", "\\mathbb Q "),
    ("\\arctg", "\\arctan"), ("\\tg", "\\tan"), ("\\ctg", "\\cot"), ("\\lg", "\\log"),
    ("\\mathbf", "\\mathrm"), ("\\bm", ""), ("\\leqslant", "\\leq"), ("\\geqslant", "\\geq"), ("\\neq", "\\ne"),
    ("\\infin", "\\infty"), ("\\inftyty", "\\infty"), ("−", "-"), ("–", "-"), ("×", "\\times "), ("·", "\\cdot "),
    ("÷", "/"), ("π", "\\pi "), ("∞", "\\infty "), ("°", "^\\circ "), ("≤", "\\leq "), ("≥", "\\geq "), ("≠", "\\ne "),
    ("±", "\\pm "), ("∪", "\\cup "), ("∩", "\\cap "), ("∈", "\\in "), ("∅", "\\emptyset "), ("²", "^2"), ("³", "^3"),
    ("½", "\\frac{1}{2}"), ("¼", "\\frac{1}{4}"), ("¾", "\\frac{3}{4}"), ("\u00a0", " "), ("\\nolinebreak", ""),
)  # fmt: skip
ENVIRONMENT = re.compile(
    r"\\(?:begin|end)\{(?:align|aligned|alignat|equation|gather|gathered|split|displaymath|math)\*?\}"
)
"""Around a formula; what stands in it is one, in lines."""
COMMAND_END = r"(?![A-Za-z])"
SPACING = re.compile(r"(?<!\\)\\[!,;: ]|\\quad|\\qquad|~|\\(?:big|small|med)?skip" + COMMAND_END)
THOUSANDS = re.compile(r"(?<![0-9.])([0-9]{1,3})((?:(?:\\! ?)?(?:,|\{,\})(?:\\[!,] ?)*[0-9]{3})+)(?![0-9])")
SPACED_THOUSANDS = re.compile(r"(?<=[0-9])(?:\\[!,:] ?|\{,\})(?=[0-9]{3}(?![0-9]))")
CONSTANT = re.compile(r"\\(?:mathrm|text|operatorname|rm)\s*(?:\{\s*([eidπ])\s*\}|\s([eid])" + COMMAND_END + ")")
DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ" + COMMAND_END + r")|\\degree" + COMMAND_END)
DEGREES_OF = re.compile(r"([0-9]++(?:\.[0-9]++)?)\s*+(?:" + DEGREES.pattern + ")")
ANGLE_FUNCTION = re.compile(r"(?<![A-Za-z])\\?(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
BRACKET = re.compile(r"\\\{|\\\}|[()\[\]]")
UNIT_START = re.compile(
    r"(?<=[0-9})\]])\s*+(?=\\(?:text|mathrm|mbox)\s?\{)"
    r"|(?<=[0-9})\]])\s++(?=[A-Za-z°]{2})|(?<=\\pi)\s++(?=[A-Za-z]{2})|(?<=[a-z])\s?(?=\\text\s?\{)"
)
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))")
SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
SLASHED = re.compile(r"(-?[0-9]+)\s*/\s*([0-9]+)")
ASSIGNED = re.compile(r"\s*([A-Za-z](?:\([A-Za-z]\))?)\s*=(?![=])\s*")
INNER_SPACE = re.compile(r"(?P<digits>(?<=[0-9])\s++(?=[0-9]))|\s++")
BASED = re.compile(r"[0-9A-Z]+_\{?([0-9]{1,2})\}?")
PLAIN_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9A-Za-z]+))")
PLAIN_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(pi|sin|cos|tan|cot|sec|csc|log|ln|exp|infty|theta|alpha|beta)(?![A-Za-z])"
)
BOARD_LETTER = re.compile(r"\\mathbb\s*+(?:\{\s?([A-Z])\s?\}|([A-Z])" + COMMAND_END + ")")
NATURAL_LOG = re.compile(r"\\log\s*+_\s*+(?:\{\s?e\s?\}|e" + COMMAND_END + ")")
GREATER = re.compile(r"(>=?|≥|\\geq?" + COMMAND_END + ")")
ROOT_OF_BRACKET = re.compile(r"\\sqrt\s*+(\[[^\[\]]*\])?\s*+\(([^()]*)\)")
ROOT_SIGN = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9]+|[A-Za-z]))")


def tidy(text: str) -> str:
    """Return an answer with spelling variants of LaTeX made one, units and separators of thousands dropped.

    Meaning is kept, but for units, currency and percent signs, which are dropped as DeepScaleR's rules do, and degrees:
    behind a number alone they are a unit, and in a formula with an angle's function they are parts of pi.
    """
    text = text.replace("\\$", "").strip().strip("$").strip().replace("\\%", "%")
    for old, new in SPELLINGS:
        if old.startswith("\\") and old[-1].isalpha():
            if old in text:
                text = re.sub(re.escape(old) + COMMAND_END, lambda _, new=new: new, text)  # type: ignore[misc]
        else:
            text = text.replace(old, new)
    if ENVIRONMENT.search(text):
        text = ENVIRONMENT.sub("", text).replace("&", "").strip().rstrip("\\").strip()
    text = CONSTANT.sub(lambda match: f" {match[1] or match[2]} ", text)
    text = NATURAL_LOG.sub(r"\\ln ", BOARD_LETTER.sub(lambda match: f"\\mathbb{{{match[1] or match[2]}}}", text))
    text = _thousands_joined(text)
    text = SPACED_THOUSANDS.sub("", text)
    text = _without_degrees(SPACING.sub(" ", text))
    text = text.replace("$", "").replace("%", "").strip()
    text = _plain_functions(without_unit(text))
    return _ascending(text[:-1].rstrip() if text.endswith(".") else text)


def _ascending(text: str) -> str:
    """Return ``2 > x > 1`` as ``1 < x < 2``; anything but such a chain as it is."""
    parts = GREATER.split(text)
    if len(parts) != 5 or not all(map(str.strip, parts)) or "<" in text or "=" in "".join(parts[::2]):
        return text
    upper, first, middle, second, lower = parts
    turned = ["<" if sign == ">" else "\\leq" for sign in (second, first)]
    return f"{lower.strip()} {turned[0]} {middle.strip()} {turned[1]} {upper.strip()}"


def without_unit(text: str) -> str:
    """Return a formula without the unit that stands behind it: ``2\\sqrt{3}\\text{ cm}``, "3/4 cups"."""
    return text[: len(text) - len(_unit_text(text))].rstrip()


def unit_behind(text: str) -> str:
    """Return the unit that stands behind a formula, as `unit_of` names it; "" without one."""
    unit = unit_of(_unit_text(text.strip()))
    return "" if unit is None else unit.name


def _unit_text(text: str) -> str:
    for match in UNIT_START.finditer(text):
        unit = unit_of(text[match.start() :])
        if unit is not None and unit.name and unit.scale == 1:
            return text[match.start() :]
    return ""


def _thousands_joined(text: str) -> str:
    """Return `text` without separators of thousands; within brackets a comma parts elements: (4,112) is a pair."""
    if "," not in text:
        return text
    kept, depth, start = [], 0, 0
    for match in BRACKET.finditer(text):
        if depth == 0:
            kept.append(_joined(text[start : match.start()]))
            start = match.start()
        depth = max(0, depth + (1 if match[0][-1] in "([{" else -1))
        if depth == 0:
            kept.append(text[start : match.end()])
            start = match.end()
    return "".join(kept) + (_joined(text[start:]) if depth == 0 else text[start:])


def _joined(text: str) -> str:
    return THOUSANDS.sub(lambda match: match[1] + re.sub(r"[^0-9]", "", match[2]), text)


def _without_degrees(text: str) -> str:
    if DEGREES.search(text) is None:
        return text
    if ANGLE_FUNCTION.search(text):
        text = DEGREES_OF.sub(r"(\\frac{\1\\pi}{180})", text)
    return DEGREES.sub("", text)


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
    text = without_spaces(text)
    text = re.sub(r"(?<![0-9])\.(?=[0-9])", "0.", text)
    text = re.sub(r"\^\{([0-9A-Za-z])\}", r"^\1", text)
    slashed = SLASHED.fullmatch(text)
    if slashed:
        sign = "-" if slashed[1].startswith("-") else ""
        return f"{sign}\\frac{{{slashed[1].lstrip('-')}}}{{{slashed[2]}}}"
    return "\\frac{1}{2}" if text == "0.5" else text


def without_spaces(text: str) -> str:
    """Return `text` without white space, but for one space between two digits: 1 2 is not 12."""
    return INNER_SPACE.sub(lambda match: " " if match["digits"] else "", text)


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
    text = ROOT_OF_BRACKET.sub(lambda match: f"\\sqrt{match[1] or ''}{{{match[2]}}}", text)
    text = PLAIN_FUNCTION.sub(r"\\\1 ", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    return re.sub(r"(?<=[0-9A-Za-z)}\s])\*(?=[0-9A-Za-z(\\\s])", r" \\cdot ", text)
