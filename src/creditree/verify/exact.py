"""Exact text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from creditree.problem import Verdict
from creditree.verify.final_answer import Located, located, readings
from creditree.verify.verifier import Answer, Rules, Verifier

COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|tt|normal)?|mathrm|mathbf|emph)\s?\{([^{}]*)\}")
EMPHASIS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`{1,3}|\$)(?=\S)((?:(?!\1).)+)(?<=\S)\1(?!\w)")
MARK = re.compile(r"(?:[>#•*]{1,6}|-) +")
"""What Markdown begins a quotation, a heading or an item of a list with."""
MOST_LAYERS = 3
QUOTED = re.compile(
    r"[\"“„«「]([^\"“”„«»「」]+)[\"“”»」]|'((?:[^']|(?<=\w)'(?=\w))+)'|‘((?:[^‘’]|(?<=\w)’(?=\w))+)’"
    r"|‚([^‚‘’]+)[‘’]|‹([^‹›]+)›|›([^‹›]+)‹|『([^『』]+)』"
)
"""A text within one pair of quotation marks; a single one between letters is an apostrophe."""


@dataclass(frozen=True, slots=True)
class ExactText(Verifier):
    """Reward 1 if the completion's answer is an accepted text, else 0.

    The answer is what is boxed, in ``<answer>``, or behind "answer is"; where nothing marks it, the last line, and for
    an accepted answer of n lines the last n lines. Runs of white space count as one space; a full stop at the end,
    emphasis (``**Paris**``, ``\\text{Paris}``, ``> Paris``) and quotes around the whole do not count; capitals do
    unless `ignore_case`. A completion without an answer is ``unparsable`` with reward 0.
    """

    ignore_case: bool = False

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(self._verdict, answers))

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "exact",
            "ignore_case": self.ignore_case,
            "precision": "text: 0.5 is not .5",
            "units": "part of the text",
            "dress": "white space, a last full stop, emphasis and quotes around the whole do not count",
        }

    def _verdict(self, answer: Answer) -> Verdict:
        truths = [text for truth in answer.problem.answers for text in readings(truth)]
        if not any(map(self._normal, truths)):
            return Verdict(None, "crash", f"problem {answer.problem.id}: it has no accepted answer to compare with.")
        place = located(answer.completion)
        if place is None or not (given := self._normal(_last_lines(place, 1))):
            return Verdict(0.0, "unparsable", "the completion gives no answer.")
        for truth in truths:
            read = self._normal(_last_lines(place, len(_lines(truth))))
            if read == self._normal(truth):
                return Verdict(1.0, answer=read)
        return Verdict(0.0, answer=given)

    def _normal(self, text: str) -> str:
        """Return a text as it is compared: without emphasis, quotes and a full stop around it."""
        text = " ".join(text.split())
        for _ in range(MOST_LAYERS):
            mark = MARK.match(text)
            text = EMPHASIS.sub(r"\2", COMMAND.sub(r"\1", text[mark.end() :] if mark else text)).strip()
            text = text[:-1].rstrip() if len(text) > 1 and text[-1] in ".。" else text
            quoted = QUOTED.fullmatch(text)
            text = quoted[quoted.lastindex or 0].strip() if quoted else text
        return text.casefold() if self.ignore_case else text


def _last_lines(place: Located, count: int) -> str:
    """Return what the answer is in its place: all of a marked one, the last `count` lines of an open text."""
    return place.text if place.how != "open" else "\n".join(_lines(place.text)[-max(1, count) :])


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
