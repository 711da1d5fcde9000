"""The grader of mathematics: what needs no worker, adversarial answers, and every reference answer at hand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unicodedata import digit

import pytest

from creditree.limits import Limits
from creditree.problem import Problem, Verdict
from creditree.verify.mathematics import Mathematics
from creditree.verify.number import plain_number
from creditree.verify.pool import Job, WorkerPool
from creditree.verify.verifier import Answer, closing
from tests.each_once import first_of
from tests.unit.verify.adversarial import MAKERS, MARKER, adversarial

FORMS = ("\\boxed{%s}", "The answer is $%s$.", "<think>$1$</think>We get\n\\[\\boxed{%s}\\]", "**Answer:** \\(%s\\)")


@pytest.fixture(scope="module")
def mathematics() -> Iterator[Mathematics]:
    with closing(Mathematics(WorkerPool(Limits(deadline_s=60.0, num_workers=1)))) as verifier:
        yield verifier


def answer(text: str, *truths: str) -> Answer:
    return Answer(Problem("p", "?", truths), "", text)


def test_texts_and_numbers_need_no_worker() -> None:
    verifier = Mathematics()
    verdicts = verifier.judge([answer("\\boxed{5}", "5"), answer("\\boxed{1/2}", "0.5"), answer("\\boxed{4}", "5")])
    assert [verdict.reward for verdict in verdicts] == [1.0, 1.0, 0.0]
    verifier.judge([answer("I do not know", "5"), answer("\\boxed{p - q}", "p - q")])
    assert not verifier.pool._all


def test_sympy_stays_out_of_the_process_that_judges(mathematics: Mathematics) -> None:
    had = "math_verify" in sys.modules
    assert mathematics.judge([answer("\\boxed{\\sqrt{12}}", "2\\sqrt{3}")])[0].reward == 1.0
    assert ("math_verify" in sys.modules) is had


def test_statuses(mathematics: Mathematics) -> None:
    verdicts = mathematics.judge([
        answer("I do not know", "5"),
        answer("\\boxed{" + "x+" * 5000 + "1}", "x"),
        answer("\\boxed{\\frac{}}", "x+1"),
        answer("\\boxed{5}"),
        answer("\\boxed{x+1}", "x"),
    ])  # fmt: skip
    assert [(verdict.reward, verdict.status) for verdict in verdicts] == [
        (0.0, "unparsable"),
        (0.0, "unparsable"),
        (0.0, "unparsable"),
        (None, "crash"),
        (0.0, "ok"),
    ]


def test_equal_answers_to_a_problem_are_compared_once() -> None:
    class Counting(WorkerPool):
        jobs = 0

        def run(self, jobs: Sequence[Job]) -> list[Verdict]:
            Counting.jobs += len(jobs)
            return super().run(jobs)

    with closing(Mathematics(Counting(Limits(deadline_s=60.0, num_workers=1)))) as verifier:
        verdicts = verifier.judge([answer("\\boxed{\\sqrt{12}}", "2\\sqrt{3}")] * 20)
    assert [verdict.reward for verdict in verdicts] == [1.0] * 20
    assert Counting.jobs == 1


def adversarial_statuses(count: int, deadline_s: float, workers: int, folder: Path) -> dict[str, int]:
    made = adversarial(count)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with closing(Mathematics(WorkerPool(Limits(deadline_s=deadline_s, num_workers=workers)))) as verifier:
            verdicts = verifier.judge([Answer(Problem(kind, "", (truth,)), "", text) for kind, text, truth in made])
    finally:
        os.chdir(before)
    assert not list(folder.glob(f"{MARKER}*"))
    # Some are right: what is seen of "5" and marks is 5, and so is the last number of some that say nothing else.
    rewarded = [made[i] for i, verdict in enumerate(verdicts) if verdict.reward != 0.0]
    # A five of any script is one.
    assert all(truth == "5" and 5 in [digit(letter, None) for letter in text] for _, text, truth in rewarded), rewarded
    assert len(rewarded) < count / 100 + 1
    statuses: dict[str, int] = {}
    for verdict in verdicts:
        statuses[verdict.status] = statuses.get(verdict.status, 0) + 1
    return statuses


@pytest.mark.parametrize("count", first_of([len(MAKERS), 3 * len(MAKERS)], 1))
def test_adversarial_answers_neither_hang_nor_run_nor_crash_the_grader(count: int, tmp_path: Path) -> None:
    statuses = adversarial_statuses(count, 0.3, 1, tmp_path)
    assert statuses["unparsable"] > count / 3
    assert sum(statuses.values()) == count


READ_ALL = """
from creditree.verify.latex import mathd
from creditree.verify.prose import accepted_answer, final_answer
from creditree.verify.quantity import last_side, quantity
from tests.unit.verify.adversarial import adversarial

for _, text, _ in adversarial({count}):
    given = final_answer(text)
    for part in (given or "", accepted_answer(text), text[-600:]):
        quantity(part)
        last_side(part)
        if len(part) <= 600:
            mathd(part)
print("read")
"""


def test_no_reader_hangs_on_any_text() -> None:
    """In a process that is given two minutes: about a second of them where every reader takes linear time."""
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(root), str(root / "src")])
    command = [sys.executable, "-c", READ_ALL.format(count=len(MAKERS))]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "read\n", done.stderr


def test_a_number_with_separators_is_read_at_once() -> None:
    googol = "1" + ",\\!000" * 33 + "\\,\\text{ grains}"
    verdicts = Mathematics().judge([answer(f"\\boxed{{{googol}}}", "1" + "0" * 99), answer("\\boxed{1,\\,,\\,x}", "1")])
    assert [verdict.reward for verdict in verdicts[:1]] == [1.0]


def test_references_that_cannot_be_compared_with_give_no_reward() -> None:
    prose = "It follows from the lemma that every such map is bounded and that its kernel is closed in its domain"
    truths = ("['3', '4']", prose, "", "x+" * 400 + "1")
    verdicts = Mathematics().judge([answer("\\boxed{3}", truth) for truth in truths])
    assert [(verdict.reward, verdict.status) for verdict in verdicts] == [(None, "crash")] * 4
    assert all("no accepted answer is a formula, a number or a short text" in verdict.detail for verdict in verdicts)


def test_the_same_text_is_right_whatever_its_size() -> None:
    for text in ("7" * 700, "x+" * 400 + "1"):
        assert Mathematics().judge([answer(f"\\boxed{{{text}}}", text)])[0].reward == 1.0


def test_the_question_restated_is_no_answer() -> None:
    asked = Problem("p", "What is $12 \\cdot 34$?", ("408",))
    (restated,) = Mathematics().judge([Answer(asked, "", "The answer is 12 * 34.")])
    assert (restated.reward, restated.status) == (0.0, "ok")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_adversarial_answers(tmp_path: Path) -> None:
    statuses = adversarial_statuses(10_000, 0.5, 2, tmp_path)
    assert sum(statuses.values()) == 10_000
    resource = pytest.importorskip("resource")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20  # KiB on Linux: below 2 GiB


def references(folder: Path) -> Mapping[str, list[str]]:
    """Return the different accepted answers of every set; one row of dapo_math_train has an empty one."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[path.name] = [text for text in dict.fromkeys(a for row in rows for a in row["answers"]) if text]
    return found


def test_every_reference_is_right_against_itself(shared_data: Path, mathematics: Mathematics) -> None:
    sets = references(shared_data)
    assert sum(map(len, sets.values())) > 5000
    for name, texts in sets.items():
        for form in FORMS:
            verdicts = mathematics.judge([answer(form.replace("%s", text), text) for text in texts])
            wrong = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict.reward != 1.0]
            assert not wrong, (name, form, wrong)


def test_every_reference_that_is_a_number_is_right_as_fraction_and_decimal(
    shared_data: Path, mathematics: Mathematics
) -> None:
    tried = 0
    for texts in references(shared_data).values():
        numbers = [(text, number.value) for text in texts if (number := plain_number(text)) is not None]
        pairs = [
            pair
            for text, value in numbers
            for pair in (
                (f"\\boxed{{\\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}}}", text),
                (f"The answer is {value.numerator}/{value.denominator}.", text),
                (f"\\boxed{{{value.numerator:,}.00}}" if value.denominator == 1 else "", text),
            )
            if pair[0]
        ]
        verdicts = mathematics.judge([answer(*pair) for pair in pairs])
        assert not [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.reward != 1.0]
        tried += len(pairs)
    assert tried > 5000


@pytest.mark.slow
def test_every_formula_is_right_when_it_is_written_otherwise(shared_data: Path, mathematics: Mathematics) -> None:
    """Through the grammar: with another fraction command, spaces and an added zero, no text is equal any more."""
    texts = [text for text in references(shared_data)["math500.jsonl"] if plain_number(text) is None]
    formulas = [text for text in texts if not any(word in text for word in ("text", "mbox", "=", ",", "in ", "_"))]
    others = [
        f"{text.replace('frac', 'dfrac')} + 0" for text in formulas if "pmatrix" not in text and "cup" not in text
    ]
    truths = [text for text in formulas if "pmatrix" not in text and "cup" not in text]
    verdicts = mathematics.judge([answer(f"\\boxed{{{o}}}", t) for o, t in zip(others, truths, strict=True)])
    wrong = [t for t, verdict in zip(truths, verdicts, strict=True) if verdict.reward != 1.0]
    assert len(wrong) <= len(truths) / 20, wrong


def test_no_reference_equals_another_number(shared_data: Path, mathematics: Mathematics) -> None:
    """References that differ as numbers are wrong for one another: each against the next of its set."""
    for texts in references(shared_data).values():
        numbers = {number.value: text for text in texts if (number := plain_number(text)) is not None}
        kept = list(numbers.values())
        verdicts = mathematics.judge([answer(f"\\boxed{{{o}}}", t) for o, t in zip(kept[1:], kept, strict=False)])
        right = [(o, t) for o, t, v in zip(kept[1:], kept, verdicts, strict=False) if v.reward != 0.0]
        assert all("%" in o + t for o, t in right), right
