"""Reading the formula or number out of the place where a completion says its answer; words where there is neither."""

import re
from functools import lru_cache
from itertools import pairwise

from creditree.verify.asides import STRONG, consequence, corrected, is_question, without_asides
from creditree.verify.clause import (
    DENIED,
    JOINING,
    LINK,
    NUMBER,
    OPTION,
    behind_link,
    is_bare,
    is_name,
    last_number,
    said,
    with_percent,
    without_option,
)
from creditree.verify.cues import sentence_ends, undressed
from creditree.verify.final_answer import Located, located
from creditree.verify.formulas import Formula, formulas, has_prose
from creditree.verify.number import number_words
from creditree.verify.working import without_working

LONGEST_END = 3_000
"""Characters at the end of an open text in which the answer is looked for."""
MOST_SENTENCES = 40
LIST_AS_TEXT = re.compile(r"\[\s*['\"]")
"""How several accepted answers begin that somebody wrote as one text."""
LONGEST_ACCEPTED = 400
MOST_WORDS = 3
"""An accepted answer with more words is a sentence that holds the answer."""
CONCLUDING = re.compile(
    r"\b(?:so|thus|therefore|hence|then|finally|altogether|total|conclude|result|answer|overall|in all|left)\b",
    re.IGNORECASE,
)
CONSTANTS = frozenset({"e", "i"})
"""Letters that may be a number as well as a name."""
EXCLAMATION = re.compile(r"(?<=[0-9])!++\s*\Z")


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
    if len(place.text) > LONGEST_ACCEPTED and has_prose(place.text, MOST_WORDS):
        return answer_in(place) or ""
    text = undressed(place.text)
    return said(text) if has_prose(text, MOST_WORDS) or formulas(text) else text


def option_in(completion: str) -> str | None:
    """Return the letter of the option whose letter and value a completion gives as its answer: D of ``(D) 15``."""
    place = located(completion)
    if place is None:
        return None
    read = {"box": _boxed, "open": _open}.get(place.how, said)
    option = OPTION.match(read(place.text))
    return None if option is None else re.sub(r".*?([A-H])\).*", r"\1", option[0])


def answer_in(place: Located) -> str | None:
    """Return the answer in a place that `located` found."""
    read = {"box": _boxed, "open": _open}.get(place.how, said)
    return without_option(read(place.text)) or None


def _boxed(text: str) -> str:
    """Return the answer in a box: all of it, but of a sentence, which starts with words, its value."""
    spoken = re.match(r"\\(?:text|mbox|textbf|mathrm)\s?\{\s?[A-Za-z]{2,}\s|[A-Z]?[a-z]{2,}\s", text)
    if spoken and NUMBER.search(text) and has_prose(text.replace("\\text", ""), 1):
        plain = re.sub(r"\\(?:text|mbox|textbf|mathrm)\s?\{([^{}]*)\}", r"\1", text)
        return said(plain)
    return text.rstrip("。")


def _open(text: str) -> str:
    """Return the value in the last sentence of `text` that has one and is no question."""
    if is_bare(text):
        if is_question(text):
            return ""
        return said(EXCLAMATION.sub("", text))
    bare = undressed(text) if len(text) <= LONGEST_END else ""
    words = number_words(bare)
    if words is not None and words[1] == len(bare):
        return bare
    text = text[-LONGEST_END:]
    sentences = _sentences(text)[-MOST_SENTENCES:]
    weak = ""
    for sentence in reversed(sentences):
        value, is_strong = ("", False) if is_question(sentence) else _value(sentence)
        if not value:
            continue
        if is_strong or weak:
            return value if is_strong else weak
        weak = value
    return weak


def _value(sentence: str) -> tuple[str, bool]:
    """Return the value that a sentence ends in, or "", and whether its form says that it is the result."""
    sentence = without_asides(without_working(undressed(sentence)))
    sentence = corrected(sentence) or sentence
    before = sentence
    following = consequence(sentence)
    if following is not None:
        if NUMBER.match(following) and LINK.search(following) is None:
            return said(following, 1), True
        sentence = following
    inner = formulas(sentence)
    if not inner and not NUMBER.search(sentence):
        return "", False
    concluding = bool(CONCLUDING.search(before))
    known = [
        formula for formula in inner if not is_name(formula.text) and not DENIED.search(sentence[: formula.start][-40:])
    ]
    if inner and not known and (concluding or inner[-1].text in CONSTANTS) and _is_asserted(sentence, inner[-1]):
        return inner[-1].text, concluding
    tail = sentence[inner[-1].end :] if inner else sentence
    if not known or (NUMBER.search(tail) and LINK.search(tail)):
        rest = behind_link(sentence, inner)
        if rest is not None and NUMBER.search(rest):
            return said(rest, 1), True
        return (last_number(sentence), concluding) if NUMBER.search(_without(sentence, inner)) else ("", False)
    return _last_formulas(sentence, inner, known[-1]), True


def _is_asserted(sentence: str, name: Formula) -> bool:
    """Return whether a sentence says its value to be a letter, with nothing of weight behind it."""
    before = sentence[: name.start]
    strong = STRONG.search(before.rstrip()) is not None and not DENIED.search(before[-40:])
    return strong and not NUMBER.search(sentence, name.end) and not LINK.search(sentence, name.end)


def _last_formulas(sentence: str, inner: list[Formula], last: Formula) -> str:
    """Return the last formula, or the list that it ends where a link stands before the list."""
    index = inner.index(last)
    first = index
    while first and JOINING.fullmatch(sentence, inner[first - 1].end, inner[first].start):
        first -= 1
    before = sentence[: inner[first].start].rstrip()
    if first < index and STRONG.search(before):
        return ", ".join(formula.text for formula in inner[first : index + 1])
    return with_percent(last.text, sentence[last.end :])


def _without(text: str, inner: list[Formula]) -> str:
    for formula in reversed(inner):
        text = text[: formula.start] + " " + text[formula.end :]
    return text


def _sentences(text: str) -> list[str]:
    ends = [0, *sentence_ends(text, formulas(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]
