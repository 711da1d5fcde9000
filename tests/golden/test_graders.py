"""Verdicts of the graders on pairs that were checked by hand (graders.txt)."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from creditree.config.reward import reward_of
from creditree.problem import Problem
from creditree.setup.grading import build_verifier
from creditree.verify.verifier import Answer, closing

TABLE = Path(__file__).with_name("graders.txt")


@dataclass(frozen=True, slots=True)
class Pair:
    line: int
    completion: str
    answers: tuple[str, ...]
    correct: bool


def table() -> dict[str, list[Pair]]:
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        grader, sign, completion, answers = (part.strip(" ") for part in line.split(" || "))
        assert sign in "+-"
        # \n is a line break, but \ne, \neq, \nabla and the like are LaTeX; the table has none of them.
        texts = [text.replace("\\n", "\n") for text in (completion, *answers.split(" ;; "))]
        pairs[grader].append(Pair(number, texts[0], tuple(texts[1:]), sign == "+"))
    return pairs


PAIRS = table()
OPTIONS = {"program": {"allow_execution": True, "contain": False}}


def test_the_table_is_large_and_has_enough_wrong_answers() -> None:
    pairs = [pair for some in PAIRS.values() for pair in some]
    assert len(pairs) >= 300
    assert sum(not pair.correct for pair in pairs) >= len(pairs) / 3
    assert len({(grader, p.completion, p.answers) for grader, some in PAIRS.items() for p in some}) == len(pairs)


MOST = 400
"""Pairs that `make test` judges with one grader, spread over the table; all others are `thorough`."""
PARTS = [
    pytest.param(
        grader, part, parts, id=grader if part == 0 else f"{grader} {part}", marks=pytest.mark.thorough if part else ()
    )
    for grader, pairs in PAIRS.items()
    for parts in [-(-len(pairs) // MOST)]
    for part in range(parts)
]


@pytest.mark.parametrize(("grader", "part", "parts"), PARTS)
def test_every_verdict_of_the_table(grader: str, part: int, parts: int) -> None:
    name, *options = grader.split()
    values: dict[str, object] = {"name": name, **OPTIONS.get(name, {})}
    for option in options:
        key, _, value = option.partition("=")
        values[key] = {"true": True, "false": False}.get(value) if value in ("true", "false") else float(value)
    if name == "math":
        values |= {"workers": 1, "deadline": 60}
    pairs = PAIRS[grader][part::parts]
    answers = [Answer(Problem(f"line {p.line}", "", p.answers), "", p.completion) for p in pairs]
    with closing(build_verifier(reward_of(values))) as verifier:
        verdicts = verifier.judge(answers)
    wrong = [
        f"line {pair.line}: {pair.completion!r} for {pair.answers}: {verdict}"
        for pair, verdict in zip(pairs, verdicts, strict=True)
        if verdict.reward != float(pair.correct)
    ]
    assert not wrong, "\n".join(wrong)
