"""Finding what a completion says its answer is: boxed, stated in words, or written last."""

import re
import unicodedata

THINKING_ENDS = "</think>"
BOXES = ("\\boxed", "\\fbox")
LONGEST_TEXT = 200_000
"""Characters at the end of a completion that are looked at."""

# What the phrase is followed by is cut out by `_clause`, so the pattern itself stays linear.
STATED = re.compile(
    r"(?:\banswer(?:\s+choice)?\s*(?:\*\*|__)?\s*(?:is|was|:|=)|####)\s*(?:\*\*|__)?\s*(?:also\s+)?:?", re.IGNORECASE
)
SENTENCE_END = re.compile(r"\.(?=\s|\*|$)|\n|;\s|\?\s|!\s")
MATHS = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\\])+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
JOINING = re.compile(r"(?:\s|,|;|\band\b|\bor\b)*\.?\s*")
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[A-Za-z ,.()]*\})?")
FUNCTIONS = frozenset({"sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "and"})
LAST_NUMBER = re.compile(r"(?<![\w.])[-−]?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?\s?%?")
MARKS = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def after_thinking(text: str) -> str:
    """Return what follows the last ``</think>``, or all of a text without one; of a very long text, its end."""
    return text[-LONGEST_TEXT:].rpartition(THINKING_ENDS)[2]


def cleaned(text: str) -> str:
    """Return `text` in normal form NFC, without control characters, marks of direction and lone surrogates."""
    return unicodedata.normalize("NFC", MARKS.sub("", text)).strip()


def boxed(text: str) -> str | None:
    """Return what stands in the last ``\\boxed`` or ``\\fbox`` of `text`, or None without one that is closed."""
    start, name = max((text.rfind(name), name) for name in BOXES)
    if start < 0:
        return None
    rest = text[start + len(name) :].lstrip()
    if not rest.startswith("{"):
        bare = re.match(r"[^\s$]+", rest)
        return bare[0].rstrip(".,") if bare else None
    depth, escaped = 0, False
    for index, character in enumerate(rest):
        if escaped or character == "\\":
            escaped = not escaped
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return rest[1:index].strip()
    return None


def unboxed(answer: str) -> str:
    """Return an accepted answer without the box around it, where it has one."""
    inside = boxed(answer)
    return answer if inside is None else inside


def stated(text: str) -> str | None:
    """Return what follows the last ``answer is``, ``answer:`` or ``####``, to the end of its sentence; None without."""
    last = None
    for match in STATED.finditer(text):
        last = match
    if last is None:
        return None
    return _clause(text[last.end() :])


def final_answer(text: str) -> str | None:
    """Return the answer that a completion gives, or None where it gives none.

    Looked for behind the last ``</think>``, in this order: the last ``\\boxed`` or ``\\fbox``; what follows the last
    "answer is"; the whole of a short text without prose; the last formula between dollars; the last number.
    """
    rest = cleaned(after_thinking(text))
    inside = boxed(rest)
    if inside is not None:
        return inside or None
    said = stated(rest)
    if said:
        return said
    if rest and is_bare(rest):
        return _stripped(rest) or None
    formulas = _formulas(rest)
    if formulas:
        return formulas[-1]
    numbers = LAST_NUMBER.findall(rest)
    return numbers[-1].strip() if numbers else None


def is_bare(text: str) -> bool:
    """Return whether a text is one short line of an answer, not prose that contains one."""
    if "\n" in text or len(text) > 500 or text.count("$") > 2:
        return False
    words = WORD.findall(COMMAND.sub(" ", text))
    return len([word for word in words if word.lower() not in FUNCTIONS]) <= 1


def _clause(rest: str) -> str | None:
    """Return the answer at the start of `rest`: its formula, its formulas joined by and, or its sentence."""
    rest = rest.lstrip()
    if not rest:
        return None
    first = MATHS.match(rest)
    if first is None:
        end = SENTENCE_END.search(rest)
        clause = rest if end is None else rest[: end.start()]
        inner = _formulas(clause)
        return inner[0] if inner else _stripped(clause) or None
    found, place = [_inside(first)], first.end()
    while True:
        gap = JOINING.match(rest, place)
        following = None if gap is None or gap.end() == place else MATHS.match(rest, gap.end())
        if following is None or "." in rest[place : following.start()]:
            return ", ".join(found)
        found.append(_inside(following))
        place = following.end()


def _formulas(text: str) -> list[str]:
    return [inside for match in MATHS.finditer(text) if (inside := _inside(match))]


def _inside(match: re.Match[str]) -> str:
    return _stripped(next(group for group in match.groups() if group is not None))


def _stripped(text: str) -> str:
    text = text.strip().strip("*_`").strip()
    whole = MATHS.fullmatch(text)
    if whole is not None:
        text = next(group for group in whole.groups() if group is not None).strip()
    if text.endswith(".") and not text.endswith("\\."):
        text = text[:-1].rstrip()
    return text
