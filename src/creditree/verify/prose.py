"""Reading the formula or number out of the place where a completion says its answer; words where there is neither."""

import re
from functools import lru_cache

from creditree.verify.cues import SENTENCE_END, undressed
from creditree.verify.final_answer import Located, located
from creditree.verify.formulas import COMMAND, FUNCTIONS, WORD, Formula, formulas, has_prose
from creditree.verify.number import number_words
from creditree.verify.units import SHORT, SINGLE

LONGEST_END = 3_000
"""Characters at the end of an open text in which the answer is looked for."""
MOST_SENTENCES = 40
LONGEST_BARE = 500
LIST_AS_TEXT = re.compile(r"\[\s*['\"]")
"""How several accepted answers begin that somebody wrote as one text."""
LONGEST_ACCEPTED = 400
MOST_WORDS = 3
"""An accepted answer with more words is a sentence that holds the answer."""
MOST_TEXT = 12
"""Words of an answer that is neither a formula nor a number."""
NAME = re.compile(
    r"\\?[A-Za-z]{1,12}(?:_\{?\w{1,6}\}?)?(?:\s?\(\\?[A-Za-z](?:,\s?\\?[A-Za-z])?\))?"
    r"|[|]?\\?(?:angle|triangle|overline|mathrm|text|operatorname)?\s?\{?\s?[A-Z]{1,4}\}?[|]?"
)
LINK = re.compile(
    r"(?<![A-Za-z\\])(?:is|are|was|were|be|equals?|equal\sto|equalling|makes|gives|yields|leaves|becomes|costs|totals|(?:comes|amounts|adds\sup|sums\sup|up)\sto)"
    r"(?![A-Za-z])|(?<![<>!=:\\])=(?![=>])|(?<![0-9]):(?![0-9])|:\s|[=≈⇒→]|->|=>|\\(?:approx|Rightarrow|implies|to)(?![A-Za-z])"
)
"""What stands before the value of something."""
STRONG = re.compile(r"(?:is|are|was|were|be|equals?|equal\sto|to)\Z|[=:≈⇒→>]\s?\Z|\\approx\Z")
CONCLUDING = re.compile(
    r"\b(?:so|thus|therefore|hence|then|finally|altogether|total|conclude|result|answer|overall|in all|left)\b",
    re.IGNORECASE,
)
LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|finally|consequently|answer|ans|final answer|result|solution|approximately"
    r"|about|roughly|around|exactly|only|just|we (?:get|have|find|obtain)|it is|that is|i\.e\.|namely|or|also|∴|>|=|:)"
    r"(?![A-Za-z])[\s,:>]*+)++",
    re.IGNORECASE,
)
JOINING = re.compile(r"(?:\s|,|;|\\text\{|\}|\band\b|\bor\b)++")
_SIGN = r"(?:(?<![\w)\]}])-)?"
_DIGITS = r"[0-9]++(?:[,' \u00a0\u2009\u202f][0-9]{3}(?![0-9]))*+(?:[.,][0-9]++)*+"
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.^])(?<!\^\{{){_SIGN}(?:\\?[$€£¥₹]\s?)?(?:{_DIGITS}|\.[0-9]++)(?:\s?/\s?[0-9]++)?+(?:\s?\\?%)?+"
    rf"|{_SIGN}(?:[0-9]++\s?)?\\[dt]?frac\s?\{{[^{{}}]{{1,40}}\}}\s?\{{[^{{}}]{{1,40}}\}}"
)
TOUCHING = re.compile(rf"({NUMBER.pattern})(?P<whole>(?P<unit>[^\W\d_]{{1,3}})(?:\^\{{?[23]\}}?)?)")
"""A number in prose with its unit right behind it."""
_MEASURE = (
    r"(?:feet|foot|ft|hours?|hrs?|h|minutes?|mins?|dollars?|pounds?|lbs?|kg|km|m|days?|weeks?|months?|years?|yards?)"
)
BETWEEN = re.compile(
    rf"\s{_MEASURE}\s(?:and\s)?|"
    r"\s*+(?:,|;|-|and|or|to|&|plus|minus|times|by|over|of|out\sof|\+|\*|/|x|×)(?![A-Za-z])[\s$]*+(?:and\s|or\s)?",
    re.IGNORECASE,
)
"""Between two numbers: they are one list, range or sum, and neither is the answer alone."""
ASIDE = re.compile(
    r"(?<![A-Za-z])(?:for|per|in|at|after|on|by|when|if|with|given|from|using|because|since|as|every|each|during|within"
    r"|where|which|that|who|while|not|rather|to(?=\s[A-Za-z]))(?![A-Za-z])|[(\[,;]",
    re.IGNORECASE,
)
"""Between a number and a later one: the later one belongs to something else."""


def final_answer(completion: str) -> str | None:
    """Return the answer that a completion gives, as a formula, number or words; None where it gives none.

    It is read out of the one place that `located` finds: all of a box; of a tag or a stated clause what it starts with;
    of an open text the value in its last sentence that has one.
    """
    place = located(completion)
    return None if place is None else answer_in(place)


@lru_cache(maxsize=4096)
def accepted_answer(truth: str) -> str:
    """Return the answer that an accepted answer is or gives: what it boxes, states or writes behind ``####``.

    One that is short and has no such mark is the answer itself. Prose without a number, and a list written as a text
    (``['3', '4']``), are none: "".
    """
    if truth.isascii() and truth.isdigit():
        return truth
    place = located(truth)
    if place is None or LIST_AS_TEXT.match(place.text):
        return ""
    if place.how != "open":
        return answer_in(place) or ""
    text = undressed(place.text)
    if has_prose(text, MOST_WORDS) and len(text) > LONGEST_ACCEPTED:
        return answer_in(place) or ""
    return said(text) if has_prose(text, MOST_WORDS) or formulas(text) else text


def answer_in(place: Located) -> str | None:
    """Return the answer in a place that `located` found."""
    if place.how == "box":
        return _boxed(place.text)
    if place.how == "open":
        return _open(place.text) or None
    return said(place.text) or None


NO_VALUE = re.compile(
    r"(?:\b(?:not|no|than|at\smost|at\sleast|up\sto|under|below|above|beyond|except)|n['’]t(?:\s\w+)?|≠|\\neq?)\s?\Z",
    re.IGNORECASE,
)
"""Before a number that is a bound, or is denied."""
EXCLAMATION = re.compile(r"(?<=[0-9])!++\s*\Z")
HEDGE = re.compile(r"\bor\s(?:maybe|perhaps|possibly|even|else)\s")
PARENTHESIS = re.compile(r"(?<=[0-9}%])\s++\((?!\s*mod)(?=[^()]*(?:[A-Za-z]{2}|=))[^()]*\)")


def said(text: str, nesting: int = 0) -> str:
    """Return the formula, number or words that a clause such as "$x$ is 42, in total" gives as the answer."""
    text = undressed(text)
    text = text[_lead(text) :]
    text = _not_but(text)
    inner = formulas(text)
    if inner and inner[0].start == 0:
        return _formula_first(text, inner, nesting)
    if not inner and is_bare(text):
        touching = TOUCHING.fullmatch(text) if nesting else None
        return text if touching is None or touching["unit"] not in SINGLE | SHORT else f"{touching[1]} {touching[2]}"
    if not inner:
        if HEDGE.search(text):
            return text
        text = PARENTHESIS.sub("", text)
    if nesting < 3 and (rest := _behind_link(text, inner)) is not None:
        return said(rest, nesting + 1)
    if inner:
        known = [formula for formula in inner if not _is_name(formula.text)]
        return (known or inner)[0].text if known or not NUMBER.search(text) else _single(text)
    return _prefix(text) or _single(text, is_clause=True)


def is_bare(text: str) -> bool:
    """Return whether a text is one short line of an answer, not prose that contains one."""
    return "\n" not in text and len(text) <= LONGEST_BARE and not has_prose(text, 0 if NUMBER.search(text) else 1)


def _boxed(text: str) -> str | None:
    """Return the answer in a box: all of it, but of a sentence, which starts with words, its value."""
    spoken = re.match(r"\\(?:text|mbox|textbf|mathrm)\s?\{\s?[A-Za-z]{2,}\s|[A-Z]?[a-z]{2,}\s", text)
    if spoken and NUMBER.search(text) and has_prose(text.replace("\\text", ""), 1):
        plain = re.sub(r"\\(?:text|mbox|textbf|mathrm)\s?\{([^{}]*)\}", r"\1", text)
        return said(plain)
    return text or None


def _open(text: str) -> str:
    """Return the value in the last sentence of `text` that has one."""
    if is_bare(text):
        return said(EXCLAMATION.sub("", text))
    words = number_words(undressed(text))
    if words is not None and words[1] == len(undressed(text)):
        return undressed(text)
    text = text[-LONGEST_END:]
    sentences = _sentences(text)[-MOST_SENTENCES:]
    weak = ""
    for sentence in reversed(sentences):
        value, is_strong = _value(sentence)
        if not value:
            continue
        if is_strong or weak:
            return value if is_strong else weak
        weak = value
    return weak


def _value(sentence: str) -> tuple[str, bool]:
    """Return the value that a sentence ends in, or "", and whether its form says that it is the result."""
    sentence = undressed(sentence)
    inner = formulas(sentence)
    if not inner and not NUMBER.search(sentence):
        return "", False
    concluding = bool(CONCLUDING.search(sentence))
    known = [formula for formula in inner if not _is_name(formula.text)]
    tail = sentence[inner[-1].end :] if inner else sentence
    if not known or (NUMBER.search(tail) and LINK.search(tail)):
        rest = _behind_link(sentence, inner)
        if rest is not None and NUMBER.search(rest):
            return said(rest, 1), True
        return (_single(sentence), concluding) if NUMBER.search(_without(sentence, inner)) else ("", False)
    return _last_formulas(sentence, inner, known[-1]), True


def _last_formulas(sentence: str, inner: list[Formula], last: Formula) -> str:
    """Return the last formula, or the list that it ends where a link stands before the list."""
    index = inner.index(last)
    first = index
    while first and JOINING.fullmatch(sentence, inner[first - 1].end, inner[first].start):
        first -= 1
    before = sentence[: inner[first].start].rstrip()
    if first < index and STRONG.search(before):
        return ", ".join(formula.text for formula in inner[first : index + 1])
    return _with_unit(last.text, sentence[last.end :])


def _formula_first(text: str, inner: list[Formula], nesting: int) -> str:
    rest = text[inner[0].end :]
    if _is_name(inner[0].text) and nesting < 3:
        link = LINK.match(rest.lstrip())
        if link is not None and (value := said(rest.lstrip()[link.end() :], nesting + 1)):
            return value
    found, place = [inner[0].text], inner[0].end
    for following in inner[1:]:
        if not JOINING.fullmatch(text, place, following.start):
            break
        found.append(following.text)
        place = following.end
    return ", ".join(found) if len(found) > 1 else _with_unit(found[0], rest)


def _with_unit(formula: str, rest: str) -> str:
    """Return a formula with the percent sign that follows it."""
    sign = re.match(r"\s?(?:\\?%|percent\b|pct\b)", rest)
    return formula if sign is None else f"{formula}\\%"


def _behind_link(text: str, inner: list[Formula]) -> str | None:
    """Return what follows the last link outside of all formulas that has a formula or number behind it."""
    values = [formula.start for formula in inner] + [match.start() for match in NUMBER.finditer(text)]
    last = max(values, default=0)
    found = None
    for match in LINK.finditer(text):
        if match.end() > last:
            break
        if not any(formula.start <= match.start() < formula.end for formula in inner):
            found = match.end()
    return None if found is None else text[found:]


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
    return text[: end.start() if end else len(text)].strip()


def _single(text: str, is_clause: bool = False) -> str:
    """Return the last number of a text; with what it is joined to, where that is another number, or a "not".

    Of a clause that states the answer it is the only number, but for those behind a "for", "per" and the like; where
    there are several all the same, the text is returned as it is: it is no answer that can be read.
    """
    found = list(NUMBER.finditer(text))
    if not found or HEDGE.search(text):
        return text if len(text.split()) <= MOST_TEXT else ""
    last = len(found) - 1
    while is_clause and last and ASIDE.search(text, found[last - 1].end(), found[last].start()):
        last -= 1
    end, first = found[last].end(), last
    while first and BETWEEN.fullmatch(text, found[first - 1].end(), found[first].start()):
        first -= 1
    start = found[first].start()
    if NO_VALUE.search(text[:start]) or (is_clause and first):
        return text
    return text[start:end] if first < last else _with_unit(text[start:end], text[end:])


def _not_but(text: str) -> str:
    match = re.match(r"not\s[^,]{1,80}?,?\s(?:but(?:\srather)?|rather)\s", text, re.IGNORECASE)
    return text[match.end() :] if match else text


def _lead(text: str) -> int:
    lead = LEAD.match(text)
    return lead.end() if lead is not None and lead.end() < len(text) else 0


def _is_name(formula: str) -> bool:
    return NAME.fullmatch(formula) is not None


def _without(text: str, inner: list[Formula]) -> str:
    for formula in reversed(inner):
        text = text[: formula.start] + " " + text[formula.end :]
    return text


def _sentences(text: str) -> list[str]:
    inner = formulas(text)
    ends, start = [], 0
    for match in SENTENCE_END.finditer(text):
        if not any(formula.start <= match.start() < formula.end for formula in inner):
            ends.append(text[start : match.end()])
            start = match.end()
    return [*ends, text[start:]]
