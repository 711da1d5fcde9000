"""Reading the answer that a clause such as "$x$ is 42 pens, in total" states: its formula, number or words."""

import re

from creditree.verify.asides import PARENTHESIS, TRAIL, corrected
from creditree.verify.cues import undressed
from creditree.verify.formulas import COMMAND, FUNCTIONS, WORD, Formula, formulas, has_prose
from creditree.verify.units import SHORT, SINGLE
from creditree.verify.working import without_working

LONGEST_BARE = 500
LONGEST_SAID = 3_000
"""Characters of a clause in which its value is looked for."""
MOST_TEXT = 12
"""Words of an answer that is neither a formula nor a number."""
NAME = re.compile(
    r"\\?[A-Za-z]{1,12}(?:_\{?\w{1,6}\}?)?(?:\s?\(\\?[A-Za-z](?:,\s?\\?[A-Za-z])?\))?"
    r"|[|]?\\?(?:angle|triangle|overline|mathrm|text|operatorname)?\s?\{?\s?[A-Z]{1,4}\}?[|]?"
)
CONSTANT = re.compile(r"\\(?:pi|infty|emptyset|varnothing|R)")
"""A command that names one value."""
LINK = re.compile(
    r"(?<![A-Za-z\\])(?:is|are|was|were|be|equals?|equal\sto|equalling|makes|gives|yields|leaves|becomes|costs|totals|namely|(?:we|you|I)\s(?:get|obtain)|(?:comes|amounts|adds\sup|sums\sup|up)\sto)"
    r"(?![A-Za-z])|(?<![<>!=:\\])=(?![=>])|(?<![0-9]):(?![0-9])|:\s|[=≈⇒→]|->|=>|\\(?:approx|Rightarrow|implies|to)(?![A-Za-z])"
)
"""What stands before the value of something."""
LEAD = re.compile(
    r"(?>(?:(?:so|thus|therefore|hence|then|finally|consequently|answer|ans|final answer|result|solution|approximately"
    r"|about|roughly|around|exactly|only|just|we (?:get|have|find|obtain)|it(?: is|['’]s)|that(?: is|['’]s)|i\.e\."
    r"|at(?=\s[$\\]?[0-9])|namely|or|also|∴|>|=|:)"
    r"(?![A-Za-z])[\s,:>]*+)+)",
    re.IGNORECASE,
)
JOINING = re.compile(r"(?>(?:\s|,|;|\\text\{|\}|\band\b|\bor\b)+)")
_SIGN = r"(?:(?<![\w)\]}])-)?"
_DIGITS = r"[0-9]++(?>(?:[,' \u00a0\u2009\u202f][0-9]{3}(?![0-9]))*)(?>(?:[.,][0-9]++)*)"
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.^])(?<!\^\{{){_SIGN}(?:\\?[$€£¥₹]\s?)?(?:{_DIGITS}|\.[0-9]++)(?>(?:\s?/\s?[0-9]++)?)(?>(?:\s?\\?%)?)"
    rf"|{_SIGN}(?:[0-9]++\s?)?\\[dt]?frac\s?\{{[^{{}}]{{1,40}}\}}\s?\{{[^{{}}]{{1,40}}\}}"
)
TOUCHING = re.compile(rf"({NUMBER.pattern})(?P<whole>(?P<unit>[^\W\d_]{{1,3}})(?:\^\{{?[23]\}}?)?)")
"""A number in prose with its unit right behind it."""
UNIT = re.compile(r"[^\W\d_]{1,3}(?![^\W_])")
_MEASURE = (
    r"(?:feet|foot|ft|hours?|hrs?|h|minutes?|mins?|dollars?|pounds?|lbs?|kg|km|m|days?|weeks?|months?|years?|yards?)"
)
BETWEEN = re.compile(
    rf"\s{_MEASURE}\s(?:and\s)?|"
    r":|\s*+(?:,|;|-|and|or|to|&|plus|minus|times|by|over|of|out\sof|\+|\*|/|x|×)(?![A-Za-z])[\s$]*+(?:and\s|or\s)?",
    re.IGNORECASE,
)
"""Between two numbers: they are one list, range or sum, and neither is the answer alone."""
ASIDE = re.compile(
    r"(?<![A-Za-z])(?:for|per|in|at|after|on|by|when|if|with|given|from|using|because|since|as|every|each|during|within"
    r"|where|which|that|who|while|not|rather|to(?=\s[A-Za-z]))(?![A-Za-z])|[(\[,;]",
    re.IGNORECASE,
)
"""Between a number and a later one: the later one belongs to something else."""
NO_VALUE = re.compile(
    r"(?:\b(?:(?:not|no|never|hardly|cannot)(?:\s(?:longer|more|quite|exactly|necessarily|just|only|simply|really|even|the|be|equals?(?:\sto)?))?|than|at\smost|at\sleast|up\sto|under|below|above|beyond|except|either|(?:anything|all|nothing)\sbut"
    r"|(?:half|twice|double|triple|thrice|third|quarter|root|square|cube|reciprocal|opposite|inverse|multiple|logarithm)"
    r"(?:\sof)?(?:\sthe)?)|n['’]t(?:\s(?:equal\sto|\w+))?|≠|\\neq?)\s?\Z",
    re.IGNORECASE,
)
"""Before a number that is a bound, is denied, or is only a part of what is meant."""
SPOKEN = re.compile(r"(?<=\S)\s(?:is|are|was|be)\s(?=[-+$\\(]{0,3}[0-9])")
"""A link in a text so short that its words could be those of a formula: "8*2 is 16"."""
DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|no\slonger|no|rather\sthan|instead\sof)(?:\s(?:longer|quite|exactly|necessarily|just|only|simply|even|be|equals?(?:\sto)?))?"
    r"|n['’]t(?:\s(?:equals?(?:\sto)?|be))?)\s\Z",
    re.IGNORECASE,
)
"""Before a formula that is said not to be the answer."""
DENYING = re.compile(r"(?:\b(?:not|never|cannot)|n['’]t)\s\Z", re.IGNORECASE)
"""Before a link that denies."""
OTHERWISE = re.compile(r"\b(?:otherwise|else)\b")
NEGATIVE = re.compile(r"(?:negative|minus)\s+(?=\$?[0-9.\\])", re.IGNORECASE)
HEDGE = re.compile(r"\bor\s(?:maybe|perhaps|possibly|even|else)\s")


OPTION = re.compile(
    r"(?:\\text(?:bf)?\s?\{\s?\([A-H]\)\s*\}|\([A-H]\)|[A-H]\))[\s\\,:]*(?=[-+]?[0-9.]|\$[^$]*[0-9]|\\[dt]?frac|\\\$)"
)
"""The letter of an option before its value."""
WITHIN = re.compile(r"(?<![A-Za-z])(?:in|per|every|within|during)\s\Z")


def without_option(text: str) -> str:
    """Return an answer without the letter of the option that it is the value of: ``(C) 15`` is 15."""
    option = OPTION.match(text)
    return text if option is None else text[option.end() :]


def said(text: str, nesting: int = 0) -> str:
    """Return the formula, number or words that a clause such as "$x$ is 42, in total" gives as the answer."""
    text = without_working(undressed(corrected(text) or text))
    text = TRAIL.sub("", text[_lead(text) :])
    text = NEGATIVE.sub("-", _not_but(text), count=1) if text[:1] in "nNmM" else text
    inner = formulas(text)
    if inner and inner[0].start == 0:
        return _formula_first(text, inner, nesting)
    if not inner and is_bare(text):
        spoken = list(SPOKEN.finditer(text))
        text = text[spoken[-1].end() :] if spoken else text
        touching = TOUCHING.fullmatch(text) if nesting else None
        return text if touching is None or touching["unit"] not in SINGLE | SHORT else f"{touching[1]} {touching[2]}"
    if not inner:
        if HEDGE.search(text) or (OTHERWISE.search(text) and NUMBER.match(text)):
            return text
        text = PARENTHESIS.sub("", text)
    if len(text) > LONGEST_SAID:
        text, inner = text[:LONGEST_SAID], [formula for formula in inner if formula.end <= LONGEST_SAID]
    if nesting < 3 and (rest := behind_link(text, inner)) is not None:
        return said(rest, nesting + 1)
    if inner:
        known = [formula for formula in inner if not is_name(formula.text)]
        if DENIED.search(text[: (known or inner)[0].start]):
            return text
        return (known or inner)[0].text if known or not NUMBER.search(text) else last_number(text)
    return _prefix(text) or last_number(text, is_clause=True)


def is_bare(text: str) -> bool:
    """Return whether a text is one short line of an answer, not prose that contains one."""
    return "\n" not in text and len(text) <= LONGEST_BARE and not has_prose(text, 0 if NUMBER.search(text) else 1)


def _formula_first(text: str, inner: list[Formula], nesting: int) -> str:
    rest = text[inner[0].end :]
    if is_name(inner[0].text) and nesting < 3:
        link = LINK.match(rest.lstrip())
        if link is not None and (value := said(rest.lstrip()[link.end() :], nesting + 1)):
            return value
    listed, place = [inner[0].text], inner[0].end
    for following in inner[1:]:
        if not JOINING.fullmatch(text, place, following.start):
            break
        listed.append(following.text)
        place = following.end
    return ", ".join(listed) if len(listed) > 1 else with_percent(listed[0], rest)


def with_percent(formula: str, rest: str) -> str:
    """Return a formula with the percent sign that follows it."""
    sign = re.match(r"\s?(?:\\?%|percent\b|pct\b)", rest)
    return formula if sign is None else f"{formula}\\%"


def behind_link(text: str, inner: list[Formula]) -> str | None:
    """Return what follows the last link outside of all formulas that has a formula or number behind it."""
    values = [formula.start for formula in inner] + [match.start() for match in NUMBER.finditer(text)]
    last = max(values, default=0)
    start = None
    for match in LINK.finditer(text):
        if match.end() > last:
            break
        within = any(formula.start <= match.start() < formula.end for formula in inner)
        if not within and not DENYING.search(text, max(0, match.start() - 8), match.start()):
            start = match.end()
    return None if start is None else text[start:]


def _prefix(text: str) -> str:
    """Return what a text starts with before its first word of prose, with that word: "42 pens in all" is 42 pens."""
    masked = COMMAND.sub(lambda match: " " * len(match[0]), text)
    word = next((match for match in WORD.finditer(masked) if match[0].lower() not in FUNCTIONS), None)
    if word is None:
        return ""
    start = text[: word.start()].rstrip(" ,;(\\{[~")
    number = NUMBER.match(text)
    if number is None and not re.match(r"[-+(]?\s?[0-9(\\√]", start):
        return ""
    following = NUMBER.search(text, word.start())
    if following is not None and not ASIDE.search(text, len(start), following.start()):
        return ""
    end = ASIDE.search(text, len(start))
    kept = text[: end.start() if end else len(text)].strip()
    touching = None if number is None else UNIT.match(text, number.end())
    if number is not None and touching is not None and touching[0] in SINGLE | SHORT:
        return f"{kept[: number.end()]} {kept[number.end() :]}"
    return kept


def last_number(text: str, is_clause: bool = False) -> str:
    """Return the last number of a text; with what it is joined to, where that is another number, or a "not".

    Of a clause that states the answer it is the only number, but for those behind a "for", "per" and the like; where
    there are several all the same, the text is returned as it is: it is no answer that can be read.
    """
    numbers = list(NUMBER.finditer(text))
    if not numbers or HEDGE.search(text):
        return text if len(text.split()) <= MOST_TEXT else ""
    last = len(numbers) - 1
    while is_clause and last and ASIDE.search(text, numbers[last - 1].end(), numbers[last].start()):
        last -= 1
    while not is_clause and last and WITHIN.search(text, numbers[last - 1].end(), numbers[last].start()):
        last -= 1
    end, first = numbers[last].end(), last
    while first and BETWEEN.fullmatch(text, numbers[first - 1].end(), numbers[first].start()):
        first -= 1
    start = numbers[first].start()
    if NO_VALUE.search(text[:start]) or (is_clause and first):
        return text
    return text[start:end] if first < last else with_percent(text[start:end], text[end:])


def _not_but(text: str) -> str:
    match = re.match(r"not\s[^,]{1,80}?,?\s(?:but(?:\srather)?|rather)\s", text, re.IGNORECASE)
    return text[match.end() :] if match else text


def _lead(text: str) -> int:
    lead = LEAD.match(text)
    return lead.end() if lead is not None and lead.end() < len(text) else 0


def is_name(formula: str) -> bool:
    """Return whether a formula only names something, such as ``n``, ``f(x)`` and ``\\angle ABC``."""
    return NAME.fullmatch(formula) is not None and CONSTANT.fullmatch(formula) is None
