"""Writes the tables of verdicts in docs/verification.md: each row of verdicts.txt, as the graders judge it now.

    python benchmarks/verdicts.py [--check]

A table stands between ``<!-- verdicts NAME -->`` and ``<!-- end of verdicts NAME -->``; of the section ``doubtful``
two tables, ``accepted`` and ``refused``, show what is judged otherwise than it should be. `--check` writes nothing, and
ends with exit code 1 where a table is not what it would write.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from creditree.config.reward import reward_of
from creditree.problem import Problem, Verdict
from creditree.setup.grading import build_verifier
from creditree.verify.verifier import Answer, closing

ROWS = Path(__file__).with_name("verdicts.txt")
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "verification.md"
DOUBTFUL = "doubtful"
OPTIONS: Mapping[str, Mapping[str, object]] = {"math": {"workers": 1, "deadline": 60}}
BREAK = " \\n "


@dataclass(frozen=True, slots=True)
class Row:
    """A completion, an accepted answer, and whether it is right."""

    right: bool
    completion: str
    answer: str


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that are judged by the same graders."""

    name: str
    graders: tuple[str, ...]
    rows: tuple[Row, ...]


def sections(text: str) -> list[Section]:
    """Return the sections of a file of rows. Raises ValueError for a line that is no row and begins no section."""
    found: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("# "):
            continue
        begun = re.fullmatch(r"\[(\w+)\] (.+)", line)
        if begun is not None:
            found.append(Section(begun[1], tuple(begun[2].split()), ()))
            continue
        parts = line.split(" || ")
        if not found or len(parts) != 3 or parts[0] not in ("+", "-"):
            raise ValueError(f"line {number} is no row: + or - || completion || accepted answer")
        row = Row(parts[0] == "+", parts[1], parts[2])
        found[-1] = Section(found[-1].name, found[-1].graders, (*found[-1].rows, row))
    return found


def judged(section: Section) -> dict[str, list[Verdict]]:
    """Return the verdicts on a section's rows by grader."""
    answers = [
        Answer(Problem(str(number), "", (lines(row.answer),)), "", lines(row.completion))
        for number, row in enumerate(section.rows)
    ]
    found = {}
    for grader in section.graders:
        with closing(build_verifier(reward_of({"name": grader, **OPTIONS.get(grader, {})}))) as verifier:
            found[grader] = list(verifier.judge(answers))
    return found


def tables(found: Sequence[Section]) -> dict[str, str]:
    """Return all tables by name."""
    made: dict[str, str] = {}
    for section in found:
        verdicts = judged(section)
        if section.name == DOUBTFUL:
            (own,) = verdicts.values()
            wrong = [(row, one) for row, one in zip(section.rows, own, strict=True) if is_right(one) != row.right]
            for name, right in (("accepted", False), ("refused", True)):
                pairs = [(code(row.completion), code(row.answer)) for row, _ in wrong if row.right is right]
                made[name] = table(("completion", "accepted answer"), pairs)
        else:
            rows = [
                (code(row.completion), code(row.answer), *(shown(verdicts[grader][n]) for grader in section.graders))
                for n, row in enumerate(section.rows)
            ]
            header = ("completion", "accepted answer", *(f"`{grader}`" for grader in section.graders))
            made[section.name] = table(header, rows)
    return made


def written(document: str, made: Mapping[str, str]) -> str:
    """Return the document with its tables replaced. Raises ValueError where it lacks a place for one."""
    for name, text in made.items():
        begin, end = f"<!-- verdicts {name} -->", f"<!-- end of verdicts {name} -->"
        if document.count(begin) != 1 or document.count(end) != 1:
            raise ValueError(f"the document has no place for the table '{name}': {begin} ... {end}")
        before, _, rest = document.partition(begin)
        document = f"{before}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def is_right(verdict: Verdict) -> bool:
    """Return whether a completion was accepted."""
    return (verdict.reward or 0.0) >= 1.0


def shown(verdict: Verdict) -> str:
    """Return a verdict as a cell of a table."""
    if verdict.reward is None:
        return "no reward"
    return "right" if is_right(verdict) else "no answer" if verdict.status == "unparsable" else "wrong"


def lines(text: str) -> str:
    """Return a text of the file with its line breaks."""
    return text.replace(BREAK, "\n")


def code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    text = text.replace(BREAK, " ↵ ").replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    parts = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(part)} |\n" for part in parts)


def main() -> int:
    """Write the tables, or with --check compare them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    old = DOCUMENT.read_text(encoding="utf-8")
    new = written(old, tables(sections(ROWS.read_text(encoding="utf-8"))))
    if check:
        return int(new != old)
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
