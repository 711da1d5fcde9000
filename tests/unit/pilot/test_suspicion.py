"""When none is right and the grader, not the model, is the suspect."""

import json
from collections.abc import Sequence
from dataclasses import replace

from creditree.pilot.suspicion import example_rows, suspicion
from creditree.problem import Problem
from creditree.runs.attempts import Attempt
from tests.unit.pilot.samples import problem

PROBLEMS = [problem(f"p{n}", f"question {n}", f"{100 + n} tents") for n in range(10)]
SAMPLES = 4


def attempts(
    texts: Sequence[str], right: int = 0, truncated: bool = False, asked: Sequence[Problem] = PROBLEMS
) -> list[Attempt]:
    """Return 4 completions of each problem with the same texts; {own} and {other} are the numbers of the answers."""
    found: list[Attempt] = []
    for place, one in enumerate(asked):
        own, other = (asked[(place + step) % len(asked)].answers[0].split()[0] for step in (0, 1))
        for index in range(SAMPLES):
            text = texts[index % len(texts)].format(own=own, other=other)
            reward = float(len(found) < right)
            found.append(Attempt(one.id, index, reward, "ok", None, 5, truncated, text=text))
    return found


def test_completions_that_all_hold_the_reference() -> None:
    found = suspicion(PROBLEMS, attempts(["{own} in all, of 3"]))
    assert found is not None
    assert (found.completions, found.counted, found.right) == (40, 40, 0)
    assert (found.holding.own, found.holding.other, found.ending.own) == (1.0, 0.0, 0.0)
    said = found.sentence("creditree grade a/suspect.jsonl")
    assert said.startswith(
        "None of 40 completions is right, but 100% hold the number or words of their reference answer"
    )
    assert "the grader, not the model, is the suspect" in said
    assert "(creditree grade a/suspect.jsonl)" in said


def test_a_few_that_are_right_do_not_clear_it() -> None:
    asked = [problem(f"p{n}", f"question {n}", f"{100 + n} tents") for n in range(30)]
    found = suspicion(asked, attempts(["so {own}"], right=2, asked=asked))  # 2 of 120 are 1.7 %
    assert found is not None
    assert found.sentence("x").startswith("Only 2 of 120 completions are right, but 100% hold")


def test_the_sign_belongs_to_the_number() -> None:
    asked = [problem(f"p{n}", f"question {n}", f"-{100 + n}") for n in range(10)]
    own = [one.answers[0] for one in asked]
    found = attempts(["{own}"], asked=asked)
    assert all(one.text in own for one in found)
    assert suspicion(asked, found) is not None
    assert suspicion(asked, [replace(one, text=one.text.lstrip("-")) for one in found]) is None


def test_a_tenth_that_ends_with_the_reference_is_enough() -> None:
    # One of four ends with it, 25 %; 5 is nobody's answer.
    found = suspicion(PROBLEMS, attempts(["so {own}", "so 5", "so 5", "so 5"]))
    assert found is not None
    assert (found.ending.own, found.ending.other) == (0.25, 0.0)
    assert "25% end with the number" in found.sentence("x")


def test_what_is_no_suspicion() -> None:
    assert suspicion(PROBLEMS, attempts(["so 5"])) is None
    # 1 of 40 right is 2.5 %, more than 2 %: the grader can read them.
    assert suspicion(PROBLEMS, attempts(["{own}"], right=1)) is None
    # Held, but as often as another problem's.
    assert suspicion(PROBLEMS, attempts(["{own} or {other}, so 5"])) is None
    assert suspicion(PROBLEMS, attempts(["<think>{own}"], truncated=True)) is None
    assert suspicion(PROBLEMS[:7], attempts(["{own}"], asked=PROBLEMS[:7])) is None  # 28 completions are too few


def test_answers_that_the_question_holds_are_not_counted() -> None:
    asked = [problem(f"p{n}", f"Is it {100 + n} or 7?", f"{100 + n} tents") for n in range(10)]
    assert suspicion(asked, attempts(["{own}"], asked=asked)) is None


def test_words() -> None:
    towns = ("Oslo", "Bergen", "Lima", "Rome", "Paris", "Cairo", "Kyiv", "Minsk", "Riga", "Bonn")
    asked = [problem(f"p{n}", f"question {n}", town) for n, town in enumerate(towns)]
    found = suspicion(asked, attempts(["It is {own}, I think."], asked=asked))
    assert found is not None
    assert (found.holding.own, found.holding.other) == (1.0, 0.0)
    assert suspicion(asked, attempts(["It is {own}berg."], asked=asked)) is None


def test_the_rows_to_grade_show_the_most_suspect_completion_of_each_problem() -> None:
    rows = [
        json.loads(line)
        for line in example_rows(PROBLEMS, attempts(["so 5", "{own} of 3", "so {own}", "5"])).splitlines()
    ]
    assert len(rows) == len(PROBLEMS)
    assert {row["id"]: row["prediction"] for row in rows} == {f"p{n}": f"so {100 + n}" for n in range(10)}
    assert rows[0]["answers"] == ["100 tents"]
