"""The words by which a completion states its answer, in several languages, and where what it states ends.

Every pattern is tried at the words of `NOUNS` only and repeats nothing without a bound, so that the time is linear.
"""

import re

from creditree.verify.asides import asks, corrected
from creditree.verify.formulas import Formula, formulas

NOUNS = ("answer", "####", "respuesta", "reponse", "antwort", "risposta", "resposta", "antwoord", "svar", "cevap")
NOUNS_ELSEWHERE = (
    "réponse", "ответ", "odpowiedź", "yanıt", "đáp án", "उत्तर", "الجواب", "الإجابة",
    "答案", "答え", "正解", "解答", "答:", "答 :", "정답", "답",
)  # fmt: skip
"""Searched only in a text that is not all ASCII."""

DRESS = r"[\"'*_`)\]}]{0,6}"
VERB = (
    r"(?:is|are|was|were|equals|becomes|remains|comes\s(?:out\s)?to(?:\sbe)?|turns\sout\sto\sbe"
    r"|(?:must|should|would|will|can|could|has\sto|have\sto)(?:\s(?:then|thus|therefore|only|also))?\sbe)"
    r"(?![A-Za-z]|n['’]t)"
)
ENGLISH = (
    r"(?<![A-Za-z])answers?(?:\s(?:choice|to|for|of|in)\b[^.:=\n]{0,80}?)?"
    rf"(?:{DRESS}(?:,?\s(?:then|thus|therefore|hence|here|now))?\s{{1,3}}{VERB}"
    rf"|{DRESS}\s{{0,3}}(?:[:=→⇒]|->)|\s{{1,3}}[-—]{{1,2}}\s)"
)
ELSEWHERE = (
    r"(?:respuesta|réponse|reponse|antwort|ответ|risposta|resposta|antwoord|odpowiedź|svaret|svar|cevap|yanıt"
    rf"|đáp\sán|उत्तर|الجواب|الإجابة)(?:\s{{1,3}}[^\W\d_]{{2,12}}){{0,2}}?{DRESS}"
    r"(?:\s{1,3}(?:es|est|ist|lautet|è|é|to|brzmi|is|luidt|är|er|là|है|هو|هي)(?![^\W\d_])|\s{0,3}[:=]|\s{1,3}[-—]\s)"
)
EASTERN = (
    r"(?:答案|答え|正解|解答|정답|답)"
    r"(?:\s?(?:应该是|應該是|应为|應為|等于|等於|就是|便是|是|为|為|は|が|은|는|이))?\s{0,3}[:=]?|答\s?:"
)
CUE = re.compile(rf"{ENGLISH}|{ELSEWHERE}|{EASTERN}|####", re.IGNORECASE)
HEADING = re.compile(r"[#*> \t]{0,12}(?:the )?(?:final |correct )?answer[*_: \t]{0,6}\n", re.IGNORECASE)
MARKED = re.compile(r"[ \t]{0,3}[-+$\\(\[.0-9]")
"""What a result behind #### starts with; in a line before the last one, #### may also be a heading."""
MOST_EMPTY = 4
"""Cues without anything behind them that are passed over."""

LONGEST_CLAUSE = 2_000
MOST_CORRECTIONS = 4
LEAD = re.compile(
    r"(?>(?:[\s*_`:>}#…]|\.(?=\.)|(?<=\.)\.)*)(?>(?:(?:also|then|thus|therefore|simply|just|only|exactly|indeed)\s++[*_`]*+)*)"
)
SENTENCE_END = re.compile(
    r"(?P<stop>\.(?=\s|\*|$|[\"'”)]))|\n|(?<!\\);\s|\?(?=\s|$)|(?<!\\)!++(?=\s*+$|\s++[A-Z\"])|[。।]"
    r"|(?<![0-9\\])[?!]|<\||</"
)
ABBREVIATION = re.compile(r"(?:\b[A-Z]|\b(?:St|Mr|Mrs|Ms|Dr|Mt|Ft|No|vs|Jr|Sr|Prof|approx|ca|c|e\.g|i\.e))\Z")
REASON = re.compile(
    r",?\s(?:because|since|instead\sof|rather\sthan|due\sto|as\sopposed\sto|porque|weil|denn|так\sкак|perché|parce\sque)\b"
    r"|,\s{0,3}(?:so|which|where|when|not|but|as|given|if|while|for|thus|hence|therefore|and\snot)\b"
    r"|,\sno\s(?:more|less|fewer)\b|\snot\s(?=[-+$\\(]*[0-9])|[,(]?\s?(?:因为|因為|而不是|不是|所以|因此)|,\s{0,3}\"\w{1,20}\"\s?:",
    re.IGNORECASE,
)


def stated_clause(text: str) -> str | None:
    """Return what the last cue of `text` is followed by: a sentence without its end, its reason and its dress."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a capital whose small letter is two characters: places would shift
        lowered = text
    nouns = NOUNS if text.isascii() else NOUNS + NOUNS_ELSEWHERE
    places = sorted({place for noun in nouns if noun in lowered for place in _occurrences(lowered, noun)}, reverse=True)
    if not places:
        return None
    last_line = text.rstrip().rfind("\n") + 1
    end, empty = len(text), 0
    for place in places:
        start = _behind(text, place, last_line)
        if start is None or start > end:
            continue
        clause = "" if asks(text, place, start) else clause_at(text[start : min(end, start + LONGEST_CLAUSE)])
        if clause:
            return clause
        end, empty = place, empty + 1
        if empty == MOST_EMPTY:
            return None
    return None


def clause_at(text: str) -> str:
    """Return the answer that `text` starts with: to the end of its first sentence, without a reason; perhaps "".

    Where another answer takes its place at once ("7. No wait, 8"), it is that one.
    """
    for _ in range(MOST_CORRECTIONS):
        text = text[LEAD.match(text).end() :]  # type: ignore[union-attr]
        inner = formulas(text) if "$" in text or "\\(" in text or "\\[" in text else []
        end = _first_outside(SENTENCE_END, text, inner)
        better = corrected(text, end)
        if better is None:
            break
        text = better
    clause = text[:end]
    reason = _first_outside(REASON, clause, inner)
    return undressed(clause[:reason] if clause[:reason].strip() else clause)


def undressed(text: str) -> str:
    """Return `text` without emphasis, quotes around it, braces that nothing opened, and a full stop at its end."""
    text = HTML.sub("", text) if "<" in text else text
    text = text if text.isascii() and not text.endswith(MOUTHS) else SMILES.sub("", text)
    text = EMPHASIS.sub(lambda match: match["inside"] or "", text) if "*" in text or "__" in text else text
    text = text.strip().strip("`").rstrip("_*").strip()
    if text.count("}") > text.count("{"):
        text = text.rstrip("}").rstrip()
    quoted = QUOTED.fullmatch(text)
    if quoted:
        text = quoted[1].strip()
    text = text.rstrip("。．")
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("\\.") else text


EMPHASIS = re.compile(
    r"(?<![\w)\]}*])(?P<star>\*{1,3})(?=[^\s*])(?P<inside>[^*\n]{1,200}?)(?<=\S)(?P=star)(?![\w(\[\\*])"
    r"|(?<![\w)\]}*])\*\*(?=[^\s*])|(?<=[^\s*])\*\*(?![\w(\[\\*])|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)"
)
HTML = re.compile(r"</?(?:b|i|u|p|br|em|strong|code|span|div)\s?/?>", re.IGNORECASE)
_SMILES = r"[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]"
MOUTHS = ("(", ")", "D", "P")
"""What a smile of ASCII ends in: to look for one in a long text that ends otherwise takes longer than all else."""
SMILES = re.compile(rf"(?<!\s)\s++[:;]-?[()DP]\Z|(?<!{_SMILES}){_SMILES}++\s*+\Z")
QUOTED = re.compile(r"[\"“”'‘「『«【]([^\"“”'‘’「」『』«»【】]*+)[\"“”'’」』»】]?\.?")


def _behind(text: str, place: int, last_line: int) -> int | None:
    """Return where the answer behind the word at `place` starts, None where the word is no cue."""
    if text.startswith("####", place):
        if text.startswith("#", place + 4) or (place and text.startswith("#", place - 1)):
            return None
        return place + 4 if place >= last_line or MARKED.match(text, place + 4) else None
    cue = CUE.match(text, place)
    if cue is not None:
        return cue.end()
    heading = HEADING.match(text, text.rfind("\n", max(0, place - 40), place) + 1) if place else HEADING.match(text)
    return heading.end() if heading is not None and heading.end() > place else None


def _occurrences(text: str, word: str) -> list[int]:
    places, place = [], text.find(word)
    while place >= 0:
        places.append(place)
        place = text.find(word, place + len(word))
    return places


def sentence_ends(text: str, inner: list[Formula]) -> list[int]:
    """Return where the sentences of a text end, but for the last one; formulas and abbreviations have no end."""
    ends = []
    for match in SENTENCE_END.finditer(text):
        if any(formula.start <= match.start() < formula.end for formula in inner):
            continue
        if match["stop"] and ABBREVIATION.search(text, max(0, match.start() - 8), match.start()):
            continue
        ends.append(match.end())
    return ends


def _first_outside(pattern: re.Pattern[str], text: str, inner: list[Formula]) -> int:
    """Return where the first match outside of all formulas starts; the end of `text` without one."""
    for match in pattern.finditer(text):
        place = match.start()
        if any(formula.start <= place < formula.end for formula in inner):
            continue
        if match.groupdict().get("stop") and ABBREVIATION.search(text, max(0, place - 8), place):
            continue
        return place
    return len(text)
