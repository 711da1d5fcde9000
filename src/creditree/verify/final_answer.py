"""Finding the one place where a completion says its answer: what is boxed, tagged or stated, else the open text.

Every grader and every vote reads its answer out of this place and out of no other, so that no completion has two
answers. All of it takes time that is linear in the text, whatever the text is.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from creditree.verify.characters import cleaned as cleaned
from creditree.verify.cues import stated_clause

LONGEST_TEXT = 200_000
"""Characters at the end of a completion that are looked at."""
THOUGHT = re.compile(r"<(?P<closing>/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
TAG = re.compile(r"<(?P<closing>/?)answer>", re.IGNORECASE)
BOXES = ("\\boxed", "\\fbox")
MOST_BOXES = 20
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
BARE_BOX = re.compile(r"[^\s$]++")
# What may stand between two boxes that are one answer: marks, "and", and words that the first one counts.
JOINT = re.compile(
    r"(?>(?:[\s$,;.&]|\\[()\[\],;! ]|\\q?quad|\\text(?:rm|bf)?\s*\{|\}|and\b|or\b|[A-Za-z](?:_\{?\w\}?)?\s?=)*)"
)
JOINT_WORDS = re.compile(
    r"[\s$]*+(?:\\[\])])?\s*+(?:\\text\s*\{)?\s*+(?:[A-Za-z()]{1,12}\s+){1,3}(?:and|or)\s*+\}?[\s$]*+"
)
JOINS = re.compile(r"[,;]|\b(?:and|or)\b")
LONGEST_JOINT = 60

How = Literal["box", "tag", "stated", "open"]


@dataclass(frozen=True, slots=True)
class Located:
    """The place where a completion says its answer.

    `how`: in a ``box``; in ``<answer>``, a ``tag``; ``stated`` behind "answer is" or the like; or ``open``: nothing
    marks it. `text`: what stands there; of an open text all of it, and each grader takes what is its own kind of
    answer out of its end.
    """

    text: str
    how: How

    @property
    def last_line(self) -> str:
        """Return the last line that is not empty."""
        return next((line.strip() for line in reversed(self.text.splitlines()) if line.strip()), "")


def located(completion: str) -> Located | None:
    """Return the one place where a completion says its answer, or None where it says nothing.

    Only what follows the last thought counts (see `after_thinking`). There, in this order:

    1. the last ``\\boxed{}``, ``\\fbox{}`` or ``<answer></answer>``, whichever stands last; boxes that only "and",
       "or" and commas part are one list; within a tag the same search goes on, a box in it first;
    2. what follows the last "answer is", "answer:", ``####`` or their like in other languages, to the end of its
       sentence, without the reason that it gives (see `cues`);
    3. all of it, ``open``.

    An empty box or tag is no answer.
    """
    text = cleaned(after_thinking(completion))
    return _located(text) if text else None


def _located(text: str) -> Located | None:
    box, tag = _last_boxes(text), _last_tag(text)
    if tag is not None and (box is None or box[0] < tag[1]):
        inside = text[tag[0] : tag[1]].strip()
        if not inside:
            return None
        within = _located(inside)
        return within if within is None or within.how != "open" else Located(inside, "tag")
    if box is not None:
        return Located(box[1], "box") if box[1] else None
    clause = stated_clause(text)
    return Located(clause, "stated") if clause else Located(text, "open")


def after_thinking(text: str) -> str:
    """Return what follows the last thought of a text, or all of a text without one; of a very long text, its end.

    A thought ends with ``</think>`` (or thinking, thought, reasoning), also where the prompt had opened it. Where the
    last one is opened and not closed, the text was cut off inside it, and nothing follows: "".
    """
    last = None
    for match in THOUGHT.finditer(text):
        last = match
    if last is None:
        return text[-LONGEST_TEXT:]
    return text[last.end() :][-LONGEST_TEXT:] if last["closing"] else ""


def boxed(text: str) -> str | None:
    """Return what stands in the last ``\\boxed`` or ``\\fbox`` of `text`, or None without one that is closed.

    Boxes that only "and", "or" or commas part are one list.
    """
    last = _last_boxes(text)
    return None if last is None else last[1]


@lru_cache(maxsize=4096)  # every completion of a problem is compared with the same ones
def readings(truth: str) -> tuple[str, ...]:
    """Return what an accepted answer may stand for: itself, and what it boxes, tags or states, as in ``#### 5``.

    An accepted answer that is read like a completion is met by one that says the same.
    """
    place = located(truth)
    whole = cleaned(truth)
    return (whole,) if place is None or place.how == "open" else (place.text, whole)


def unboxed(answer: str) -> str:
    """Return an accepted answer without the box around it, where it has one."""
    inside = boxed(answer)
    return answer if inside is None else inside


def _last_tag(text: str) -> tuple[int, int] | None:
    """Return where the content of the last closed ``<answer>`` starts and ends."""
    opened, last = None, None
    for match in TAG.finditer(text):
        if not match["closing"]:
            opened = match.end()
        elif opened is not None:
            last, opened = (opened, match.start()), None
    return last


def _last_boxes(text: str) -> tuple[int, str] | None:
    """Return where the last box starts, and its content with those of the boxes before it that are joined to it.

    An empty box is no element of a list, and joined to none.
    """
    start = max(text.rfind(name) for name in BOXES)
    last = None if start < 0 else _box(text, start)
    if last is None:
        return None
    contents, first = [last[0]], start
    while last[0] and len(contents) < MOST_BOXES:
        before = max(text.rfind(name, 0, first) for name in BOXES)
        box = None if before < 0 else _box(text, before)
        if box is None or not box[0] or box[1] > first or not _joined(text[box[1] : first]):
            break
        contents.insert(0, box[0])
        first = before
    return start, contents[0] if len(set(contents)) == 1 else ", ".join(contents)


def _joined(gap: str) -> bool:
    if not gap or len(gap) > LONGEST_JOINT or not JOINS.search(gap):
        return not gap
    return (JOINT.fullmatch(gap) or JOINT_WORDS.fullmatch(gap)) is not None


def _box(text: str, start: int) -> tuple[str, int] | None:
    """Return the content of the box whose command is at `start`, and where it ends; None for one that stays open."""
    place = start + len(next(name for name in BOXES if text.startswith(name, start)))
    while place < len(text) and text[place].isspace():
        place += 1
    if not text.startswith("{", place):
        bare = BARE_BOX.match(text, place)
        return (bare[0].rstrip(".,"), bare.end()) if bare else None
    depth = 0
    for match in BRACES.finditer(text, place):
        if len(match[0]) == 1:
            depth += 1 if match[0] == "{" else -1
            if depth == 0:
                return text[place + 1 : match.start()].strip(), match.end()
    return None
