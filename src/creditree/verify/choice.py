"""Multiple choice: a letter in any of its usual clothes, or the text of an option."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditree.problem import Problem, Verdict
from creditree.verify.final_answer import after_thinking, boxed, cleaned, stated, unboxed
from creditree.verify.verifier import Answer, Verifier

DRESS = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|boxed)\s*|[*_`${}]|\\[,!; ]")
# A bare letter, or one that something closes: "B", "(B)", "[B]", "B.", "B)", "B:", "(B) 12 apples".
LETTER = re.compile(r"(?:option|choice)?\s*[(\[]?\s*([A-Za-z])\s*(?:[)\].:](?:\s|$)|$)", re.IGNORECASE)
LAST_LETTER = re.compile(r"[(\[]([A-Z])[)\]]|(?:option|choice)\s+([A-Z])\b|^\s*([A-Z])\s*[.):]?\s*$", re.MULTILINE)
OPTION_COLUMNS = ("choices", "options")


@dataclass(frozen=True, slots=True)
class Choice(Verifier):
    """Reward 1 if the option that the completion chooses is an accepted one, else 0.

    Accepted answers are letters, or texts of options where the problem's row has its options in a column ``choices``
    or ``options`` (a list, a mapping from letters, or lists ``label`` and ``text``). The choice is what is boxed, else
    what follows "answer is", else a last line that is an option, else the last letter in brackets. A completion that
    chooses nothing, or no option, is ``unparsable`` with reward 0.
    """

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(_verdict, answers))


def _verdict(answer: Answer) -> Verdict:
    problem = answer.problem
    options = options_of(problem)
    accepted = {option for truth in problem.answers if (option := chosen(unboxed(truth), options)) is not None}
    if not accepted:
        return Verdict(
            None,
            "crash",
            f"problem {problem.id}: no accepted answer is a letter or an option ({', '.join(problem.answers)}); "
            "use a verifier that can judge it.",
        )
    found = _found(cleaned(after_thinking(answer.completion)), options)
    if found is None:
        return Verdict(0.0, "unparsable", "the completion chooses no option.")
    return Verdict(1.0 if found in accepted else 0.0, answer=found)


def options_of(problem: Problem) -> dict[str, str]:
    """Return the problem's options as texts by letter; empty where its row has none."""
    for column in OPTION_COLUMNS:
        held = problem.columns.get(column)
        if isinstance(held, Mapping) and "text" in held and "label" in held:
            labels, texts = held["label"], held["text"]
            if isinstance(labels, Sequence) and isinstance(texts, Sequence):
                return {str(label).upper(): str(text) for label, text in zip(labels, texts, strict=False)}
        if isinstance(held, Mapping):
            return {str(label).upper(): str(text) for label, text in held.items()}
        if isinstance(held, Sequence) and not isinstance(held, str):
            return {chr(ord("A") + index): str(text) for index, text in enumerate(held)}
    return {}


def chosen(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the option that the whole of `text` is: its letter, its text, or both; else None."""
    text = DRESS.sub("", cleaned(text)).strip()
    match = LETTER.match(text)
    if match and (not options or match[1].upper() in options):
        return match[1].upper()
    plain = _plain(text)
    same = [letter for letter, option in options.items() if plain and _plain(option) == plain]
    return same[0] if len(same) == 1 else None


def _found(text: str, options: Mapping[str, str]) -> str | None:
    inside = boxed(text)
    if inside is not None:
        return chosen(inside, options)
    said = stated(text)
    if said is not None and (letter := chosen(said, options)) is not None:
        return letter
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and (letter := chosen(lines[-1], options)) is not None:
        return letter
    found = [next(filter(None, groups)) for groups in LAST_LETTER.findall(DRESS.sub("", text))]
    known = [letter for letter in found if not options or letter in options]
    return known[-1] if known else None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", DRESS.sub("", text)).strip().rstrip(".").casefold()
