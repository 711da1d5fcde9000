"""What a sentence says beside its answer: where it is attained, in brackets, what it corrects, what it only asks.

Every pattern repeats nothing without a bound, and is tried at words of its own only, so that the time is linear.
"""

import re

from creditree.verify.formulas import Formula, formulas

STRONG = re.compile(r"(?:is|are|was|were|be|equals?|equal\sto|to)\Z|[=:≈⇒→>]\s?\Z|\\approx\Z")
"""What stands right before a value that is asserted."""
MEASURED = re.compile(r"\b(?:minimum|maximum|value|sum|product|total|answer|result|area|limit)\Z", re.IGNORECASE)
"""What stands right before a value in "it has the value 3 at 0"."""
NEARLY = re.compile(r"\s(?:about|approximately|roughly|exactly|only|just|then|thus|therefore|simply)\Z")
PARENTHESIS = re.compile(
    r"(?:(?<=[0-9}%$)\]])\s++\((?!\s*mod)(?=[^()]*(?:[A-Za-z]{2}|=))"
    r"|\s\((?=(?:for\s(?:example|instance)|since|because|namely|that\sis|i\.e\.|e\.g\.|not|note|check|where|here)(?!\w)))"
    r"[^()]*\)",
)
"""Brackets with words, behind a value or opened by a word that says why."""
_ASSIGNED = r"[$\\(]{0,2}\\?[A-Za-z]{1,6}(?:_\{?\w\}?)?\s?(?:=|is\s|equals\s|[<>]|\\(?:in|leq?|geq?|neq?)(?![A-Za-z]))"
CIRCUMSTANCE = re.compile(
    r",?\s(?:(?:which|that|and)\s(?:is\s|are\s)?)?(?:attained|achieved|reached|obtained|realised|realized|taken\son"
    r"|occurs|occurring|happens|happening)\b"
    r"|,\swith\sequality\b|,\s(?:when|whenever|where|if|provided|assuming|as)\s|,?\s(?:because|since)\s"
    rf"|,?\s(?:at|when|for|where|if|with)\s(?={_ASSIGNED})",
    re.IGNORECASE,
)
"""Behind a value: where it is taken, or why; no value in it is the answer."""
CONDITIONAL = re.compile(r"\W*(?:if|when|since|as|because|given|suppose|let|for|assuming|assume|consider|at)\b", re.I)
CONDITION = re.compile(
    r"(?:\b(?:at|when|for|if|where|with|as|let)\s)[$\\(]{0,2}\\?\w{1,6}(?:_\{?\w\}?)?\s?(?:=|is|equals)\Z", re.I
)
VALUE_END = re.compile(r"[-+$€£¥\\]{0,3}[0-9][0-9.,/]{0,30}(?:\s?\\?%)?(?:\s?[^\W\d_][^\s,]{0,11}){0,2}\Z")
LONGEST_VALUE = 60
CONSEQUENCE = re.compile(
    r"(?:[,;—]|\s[-–])\s?(?:and\s)?(?:so|thus|hence|therefore|giving|making|leaving|which\s(?:makes|gives|leaves)"
    r"|for\sa\stotal\sof|totall?ing)(?!\s(?:that|far|on|much|many)\b),?\s",
    re.IGNORECASE,
)
"""Before what follows from the rest of a sentence."""
TRAIL = re.compile(r"(?<=[0-9}%$)])(?:,?\s(?:it\sis|it\sshall\sbe|is\sit|then)){1,2}!{0,3}\Z", re.IGNORECASE)
_AGAIN = (
    r"no|nope|wait|sorry|actually|correction|oops|i\smean|i\smeant|make\s(?:that|it)|rather|scratch\sthat|hold\son"
    r"|it(?:['’]s|\sis|\sshould\sbe|\smust\sbe)|that(?:['’]s|\sis|\sshould\sbe)|should\sbe"
    r"|the\s(?:correct\s|right\s)?answer\sis"
)
CORRECTION = re.compile(
    r"(?:(?:[,.;:!?…\n]|\s[-–—]{1,3})\s{0,2}(?:but\s|oh,?\s|or\s)?"
    r"(?:no(?:pe)?(?=,|\s(?:wait|sorry|it|that|actually|make|i\smean))|wait|sorry|correction|scratch\sthat"
    r"|make\sthat|hold\son|oops)|(?:[,;]|\s[-–—]{1,3})\s{0,2}(?:or\s)?(?:actually|rather))"
    rf"(?:(?:[,;:!.…\s-]){{1,4}}(?:{_AGAIN})){{0,5}}(?:[,:\s…-]|\.\.\.){{1,4}}"
    r"(?=[-+]?[$€£\\(]{0,2}[-+]?[0-9]|\$|\\(?:[dt]?frac|sqrt|pi))",
    re.IGNORECASE,
)
"""Between an answer and the one that takes its place."""
FARTHEST = 3_000
ASKING = re.compile(
    r"[^\w]{0,12}(?:(?:so|then|but|and|wait|hmm|now)\W{1,4}){0,3}(?:is|are|was|were|could|can|would|might|may|should"
    r"|does|do|did|what\s(?:if|about)|how\sabout|why|isn['’]t|couldn['’]t|shouldn['’]t)\b",
    re.IGNORECASE,
)
QUESTION = re.compile(r"(?:[^.!?\n]|\.(?=[0-9])){0,300}\?")
LONGEST_QUESTION = 160


def asks(text: str, place: int, end: int) -> bool:
    """Return whether the sentence around `place`, of which `end` is a later place, is a question: it asserts nothing.

    It starts as one ("Is", "Could") and ends with a question mark.
    """
    if QUESTION.match(text, end) is None:
        return False
    start = max(text.rfind(mark, max(0, place - LONGEST_QUESTION), place) for mark in ".!?\n")
    return ASKING.match(text, start + 1 if start >= 0 else max(0, place - LONGEST_QUESTION)) is not None


def is_question(sentence: str) -> bool:
    """Return whether a sentence ends with a question mark."""
    return sentence.rstrip(" \n*_\"'”’)").endswith(("?", "？"))


def corrected(text: str, end: int | None = None) -> str | None:
    """Return what takes the place of an answer behind "no wait," or the like, by place `end`; None without.

    It is looked for in the first `FARTHEST` characters.
    """
    start = None
    inner = formulas(text[:FARTHEST]) if "$" in text or "\\" in text else []
    for match in CORRECTION.finditer(text, 0, FARTHEST):
        if end is not None and match.start() > end:
            break
        if not _inside(match.start(), inner):
            start = match.end()
    return None if start is None else text[start:]


def without_asides(sentence: str) -> str:
    """Return a sentence without brackets that hold words, and without what it says of the value that it asserts.

    "The minimum is 3 (not 4), attained at x = 2" is "The minimum is 3".
    """
    inner = formulas(sentence)
    kept, place = [], 0
    for match in PARENTHESIS.finditer(sentence) if "(" in sentence else ():
        if not any(formula.start <= match.start() and match.end() <= formula.end for formula in inner):
            kept.append(sentence[place : match.start()])
            place = match.end()
    if place:
        sentence = "".join([*kept, sentence[place:]])
        inner = formulas(sentence)
    for match in CIRCUMSTANCE.finditer(sentence):
        if _inside(match.start(), inner) or CONSEQUENCE.search(sentence, match.end()):
            continue
        if _asserts(sentence[: match.start()], inner):
            return sentence[: match.start()]
    return sentence


def consequence(sentence: str) -> str | None:
    """Return what follows from the rest of a sentence, behind ", so" or the like, where that has a value; else None."""
    matches = list(CONSEQUENCE.finditer(sentence))
    if not matches:
        return None
    inner = formulas(sentence)
    start = None
    last = next((place for place in reversed(range(len(sentence))) if sentence[place].isdigit()), 0)
    last = max([last, *(formula.start for formula in inner)])
    for match in matches:
        if match.end() <= last and not _inside(match.start(), inner):
            start = match.end()
    return None if start is None else sentence[start:]


def _asserts(text: str, inner: list[Formula]) -> bool:
    """Return whether `text` ends with a value that it says something to be."""
    formula = next((candidate for candidate in inner if candidate.end == len(text)), None)
    if formula is not None:
        start, named = formula.start, "=" in formula.text
    else:
        end = VALUE_END.search(text[-LONGEST_VALUE:])
        if end is None:
            return False
        start, named = len(text) - len(end[0]), False
    head = NEARLY.sub("", text[:start].rstrip())
    if CONDITIONAL.match(text) and "," not in head:
        return False
    if named:
        return re.search(r"\b(?:at|when|for|if|where|with|as|let)\s*\Z", head[-12:], re.I) is None
    return (STRONG.search(head) or MEASURED.search(head)) is not None and CONDITION.search(head[-40:]) is None


def _inside(place: int, inner: list[Formula]) -> bool:
    return any(formula.start <= place < formula.end for formula in inner)
