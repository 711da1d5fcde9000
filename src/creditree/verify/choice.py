"""Multiple choice: a letter in any of its usual clothes, or the text of an option."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from creditree.problem import Verdict
from creditree.verify.final_answer import Located, located, readings
from creditree.verify.options import ANOTHER, chosen, options_of, undressed
from creditree.verify.verifier import Answer, Rules, Verifier

# A capital as a word of its own, in brackets or not. Which A is an article, and which I a pronoun, `_letter` says.
# Characters of scripts without spaces may touch it: 答案是B.
WORD = r"[0-9A-Za-z_À-ɏͰ-ӿ]"
CAPITAL = (
    rf"(?:(?<!{WORD})(?<!\\)[(\[\"“«「‘'] ?(?P<closed>[A-Za-z]) ?[)\]\"”»」’']"
    rf"|(?<!{WORD})(?<!['’\\-])(?P<bare>[A-Z])(?!{WORD}|['’]|-\w))"
)
SURELY = r"(?:(?:clearly|definitely|certainly|obviously|probably|likely|simply|indeed|therefore|thus|then) )?"
NAMED = rf"(?i:{SURELY}(?:(?:the )?(?:option|choice|letter|answer) )?){CAPITAL}"
IS = r"(?:is|was|are|would be|must be|should be|has to be|can only be|seems(?: to be)?|appears(?: to be)?|looks)"
GOOD = (
    r"(?:(?:(?:clearly|therefore|thus|indeed|the|our|my|only|most|final|one) )*"
    r"(?:correct|right|best|true|answer|chosen|selected)\b|the only (?:one|option|choice)\b)"
)
FITS = r"(?:works|fits|holds|remains|applies|wins)\b"
HENCE = (
    r"(?:therefore|thus|hence|so|consequently|accordingly|finally|in conclusion|to conclude|conclusion|clearly"
    r"|definitely|certainly|obviously|∴)"
)
IT_IS = (
    r"(?:it is|it's|it must be|it has to be|that is|(?:that |which )?leaves|leaving|(?:that|which) makes it|this is"
    r"|we get|we have)"
)
TAKE = r"(?:choose|chose|pick|picked|select|selected|go with|going with|opt for|settle on|vote for|say|guess)"
ASSERTIONS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"(?i:\b(?:option|choice|letter|answer|ans\.?|pick|guess) ?(?:{IS}|:|=|(?<=\.)) ?:? ?){NAMED}",
        rf"{CAPITAL}[.:]? (?i:it {IS}\b|{IS} {GOOD}|{FITS})",
        rf"(?i:\b(?:correct|right|best)(?: (?:option|choice|answer|letter))? ?[:=–-] ?){NAMED}",
        rf"(?P<opened>\(?\b[A-Z]\)|^[A-Z][.:]) [^A-Z\n.;()]{{1,60}}? (?i:{IS} {GOOD}|{FITS})",
        rf"(?i:\b(?:{TAKE}|only)) {NAMED}",
        rf"(?i:(?<!\w){HENCE} ?[,:]? ?(?:{IT_IS} )?){NAMED}(?= ?(?:[.,;:!]|$))",
        rf"(?i:\b{IT_IS}) {NAMED}(?= ?(?:[.;!]|$))",
        rf"^{NAMED},? (?i:because|since)\b",
        rf"[.;:!?] ?{CAPITAL}(?= ?[.!]?$)",
        rf"(?:选项|選項|正确的|正確的)(?:是|为|為|:) ?{CAPITAL}",
        rf"(?:选择|选|選擇|選) ?:? ?{CAPITAL}",
        rf"{CAPITAL} ?(?:选项|選項|项|項)?是?(?:正确|正確)",
    )
)
MENTION = re.compile(
    rf"(?P<named>(?i:\b(?:option|choice)) )?(?:{CAPITAL}|(?(named)(?P<small>[a-z])(?!{WORD}|['’])|(?!)))"
)
NOT_BEFORE = re.compile(
    r"\b(?:not|nor|neither|isn't|never|rather than|unlike|except|exclude|eliminate)\b[^.]{0,12}$", re.I
)
NOT_AFTER = re.compile(
    rf" ?(?:(?:{IS}|can|does) ?(?:not|n't|never|wrong|incorrect|false|out|too|impossible)\b|fails\b)", re.I
)
# Behind a bare A or I that is a letter: an article is followed by a noun, a pronoun by a verb of its own.
NO_NOUN = re.compile(r" (?:because|since|as|is|it|was|for|due|by|here|must|fits|works|would|with|given|which)\b")
START = re.compile(
    rf"(?i:(?:the )?(?:option|choice|letter) )?"
    rf"(?:{CAPITAL}|(?P<small>[a-z])(?=[).:\]]? ?[,;]?(?:$| (?:because|since)\b)))"
)
ALONE = re.compile(r"(?:(?:the )?(?:option|choice|letter|answer) ?)?[\"'(\[<]? ?[A-Z] ?[)\].:!,>\"']*", re.I)
LISTED = re.compile(r"[(\[]?([A-Za-z])[)\].:](?: |$)")
IN_LINE = re.compile(r"(?<!\w)[(\[]?([A-Z])[)\]]|(?<!\w)([A-Z])[.:](?= )")
SAYS = re.compile(r"\b(?:is|are|was|so|because|since|thus|therefore|but|not|too|fits|wrong|right|correct|must)\b", re.I)
LEAST_IN_LINE, LONGEST_LIST = 3, 1000
SENTENCE_END = re.compile(r"[.;!?](?= |$)")


@dataclass(frozen=True, slots=True)
class Choice(Verifier):
    """Reward 1 if the option that the completion chooses is an accepted one, else 0.

    Accepted answers are letters, or texts of options where the problem's row has its options in a column ``choices``
    or ``options`` (a list, a mapping from letters, or lists ``label`` and ``text``). A box is an option or chooses
    none. Elsewhere the choice is what "answer is" is followed by, else the last line where that is an option, else the
    last letter that is asserted ("B is correct", "therefore B"), else the last in brackets or behind "option" that is
    not refused ("not (B)"): ``(A) (B)`` is B. Options listed one after the other are the problem restated and choose
    none; nor does the article A. A completion that chooses nothing, or no option, is ``unparsable`` with reward 0.
    """

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(_verdict, answers))

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "choice",
            "ignore_case": True,
            "options": "letters, or texts from the columns choices or options",
            "restated": "options listed one after the other choose none",
        }


def _verdict(answer: Answer) -> Verdict:
    problem = answer.problem
    options = options_of(problem)
    texts = [text for truth in problem.answers for text in readings(truth)]
    accepted = {option for text in texts if (option := chosen(text, options)) is not None}
    if not accepted:
        return Verdict(
            None,
            "crash",
            f"problem {problem.id}: no accepted answer is a letter or an option ({', '.join(problem.answers)}); "
            "use a verifier that can judge it.",
        )
    place = located(answer.completion)
    label = None if place is None else _found(place, options)
    if label is None:
        return Verdict(0.0, "unparsable", "the completion chooses no option.")
    return Verdict(1.0 if label in accepted else 0.0, answer=label)


def _found(place: Located, options: Mapping[str, str]) -> str | None:
    """Return the option that is chosen in the place of the answer."""
    if place.how == "box":
        return chosen(place.text, options)
    text = "\n".join(line for raw in undressed(place.text).splitlines() if (line := " ".join(raw.split())))
    if place.how == "stated":
        start = START.match(text)
        if start is not None and ANOTHER.match(text, start.end()):
            return None
        said = chosen(text, options) or (start and _letter(start, options))
        if said is not None:
            return said
    lines = list(_without_lists(text.splitlines(), options))
    last = lines[-1] if lines else ""
    option = chosen(last, options)
    if option is not None and ALONE.fullmatch(last):
        return option
    asserted = [
        (match.end(), letter)
        for pattern in ASSERTIONS
        for match in pattern.finditer(text)
        if (letter := _letter(match, options)) is not None
    ]
    if asserted:
        return max(asserted)[1]
    chosen_lines = [letter for line in lines if (letter := _option_line(line, options)) is not None]
    if chosen_lines:
        return chosen_lines[-1]
    mentioned = [letter for line in lines for match in MENTION.finditer(line) if (letter := _mentioned(match, options))]
    return mentioned[-1] if mentioned else None


def _option_line(line: str, options: Mapping[str, str]) -> str | None:
    """Return the option that a line is, or starts with and does not refuse."""
    opened = LISTED.match(line)
    return None if opened and NOT_AFTER.match(line, opened.end() - 1) else chosen(line, options)


def _letter(match: re.Match[str], options: Mapping[str, str]) -> str | None:
    """Return the letter of a match where it is that of an option and no word of its own."""
    groups = match.groupdict()
    if groups.get("opened"):
        letter = groups["opened"].strip("().:")
    else:
        letter = (groups["closed"] or groups["bare"] or groups.get("small") or "").upper()
    if options and letter not in options:
        return None
    if not (groups.get("closed") or groups.get("opened")) and letter in "AI":
        follows = match.string[match.end("bare" if groups["bare"] else "small") :]
        if (letter == "I" and not options) or (follows[:1] == " " and not NO_NOUN.match(follows)):
            return None
    return letter


def _mentioned(match: re.Match[str], options: Mapping[str, str]) -> str | None:
    """Return the letter in brackets or behind "option" that is not refused."""
    if not (match["closed"] or match["named"]):
        return None
    if match["closed"] and match["closed"].islower() and not match["named"]:
        return None
    line = match.string
    if NOT_BEFORE.search(line[max(0, match.start() - 40) : match.start()]) or NOT_AFTER.match(line, match.end()):
        return None
    return _letter(match, options)


def _without_lists(lines: Sequence[str], options: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines without those that list options one after the other, and without such lists within a line."""
    known = [chosen(line, options) if options else None for line in lines]
    letters = [
        label or (match[1].upper() if (match := LISTED.match(line)) else "")
        for label, line in zip(known, lines, strict=True)
    ]
    follows = [bool(one) and bool(other) and ord(other) == ord(one) + 1 for one, other in pairwise(letters)]
    around = [False, *follows, False][: len(lines) + 1]  # without lines there is nothing around them
    for line, (before, after) in zip(lines, pairwise(around), strict=True):
        if not (before or after):
            yield _without_list(line, options)


def _without_list(line: str, options: Mapping[str, str]) -> str:
    """Return a line without the part in which A, B, C and perhaps more are listed and nothing is said of them."""
    marks = list(IN_LINE.finditer(line))
    letters = [match[1] or match[2] for match in marks]
    for start, letter in enumerate(letters):
        if letter != "A":
            continue
        end = start + 1
        while end < len(marks) and ord(letters[end]) == ord(letters[end - 1]) + 1:
            end += 1
        first = marks[end - 1].end()
        if end - start < min(LEAST_IN_LINE, max(2, len(options))) or first - marks[start].end() > LONGEST_LIST:
            continue
        stop = SENTENCE_END.search(line, first, first + LONGEST_LIST)
        last = min(len(line), first + LONGEST_LIST) if stop is None else stop.start()
        inner = line[marks[start].end() : last]
        listed = end - start >= LEAST_IN_LINE or (
            end - start == len(options) and all(undressed(text) in undressed(inner) for text in options.values())
        )
        if listed and not SAYS.search(inner):
            return line[: marks[start].start()] + line[last:]
    return line
