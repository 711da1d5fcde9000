"""From rows to problems in three splits: what is left out, what is said of it, and who decides where a problem goes."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import DataError
from creditree.pilot.findings import Finding, first_places
from creditree.pilot.problems import (
    LEAST_PROBLEMS,
    PlacedProblem,
    normal,
    read_problems,
    split_problems,
    template,
    without_repeats,
)
from creditree.tasks.rows import Row
from creditree.tasks.split import Slice
from creditree.tasks.table import SLICES, Columns
from tests.unit.pilot.samples import placed

TEXTS = st.text("aB3 .,!?\"'\t\nÄß½", max_size=12)


def row(number: int, **values: object) -> Row:
    return Row(f"r{number}", f"row {number} of t.csv", values)


def kinds(findings: Sequence[Finding]) -> list[str]:
    return [one.kind for one in findings]


def many(count: int, named: Slice | None = None, start: int = 0) -> list[PlacedProblem]:
    return [placed(f"question {n} {named}", name=f"{named}{n}", named=named) for n in range(start, start + count)]


def test_rows_without_a_problem_are_said_and_not_raised() -> None:
    rows = [row(1, question="a", answer="1"), row(2, question="", answer="2"), row(3, question="b", answer=None)]
    rows.append(row(4, question="c", answer=7, split="dev"))
    found, said = read_problems(rows, Columns())
    assert [(one.problem.question, one.problem.answers, one.place, one.named) for one in found] == [
        ("a", ("1",), "row 1 of t.csv", None),
        ("c", ("7",), "row 4 of t.csv", "validation"),
    ]
    (finding,) = said
    assert (finding.kind, finding.severity) == ("unusable_rows", "caution")
    assert finding.places == ("row 2 of t.csv", "row 3 of t.csv")
    assert finding.text.startswith("rows left out because they hold no problem: 2 of 4; the first: Row 2 of t.csv has")
    assert read_problems(rows[:1], Columns())[1] == []


def test_a_split_of_another_name_is_refused() -> None:
    rows = [row(1, question="a", answer="1", split="test"), row(2, question="b", answer="2", split="trial")]
    with pytest.raises(DataError, match="'trial' in column 'split', which names no split: use one of train"):
        read_problems(rows, Columns())


def test_without_any_usable_row_the_first_reason_is_raised() -> None:
    rows = [row(1, question="a", answer=""), row(2, answer="1")]
    with pytest.raises(DataError, match=r"^Row 1 of t\.csv has no answer in column 'answer'"):
        read_problems(rows, Columns())
    with pytest.raises(DataError, match="no column 'prompt' for the question"):
        read_problems(rows, Columns(question="prompt"))


def test_places_are_cut_off_after_five_and_counted() -> None:
    assert first_places(list("abcde")) == tuple("abcde")
    assert first_places(list("abcdefgh")) == (*"abcde", "and 3 more")
    assert Finding("k", "note", "text", ("row 1", "row 2")).sentence == "text (row 1, row 2)"
    assert Finding("k", "note", "text").sentence == "text"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2+2?", "  what is\t2+2 "),
        ("STRASSE", "straße"),
        ("x² plus", "x2 plus"),
        ("'Why?'", "why"),
        ("１２", "12."),
    ],
)
def test_questions_that_are_the_same(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    ("one", "other"), [("2+2", "2-2"), ("-5", "5"), (".5", "5"), ("? .5", "? 5"), ("a b", "ab"), ("1/2", "12")]
)
def test_questions_that_are_not(one: str, other: str) -> None:
    assert normal(one) != normal(other)


@given(text=TEXTS)
def test_the_normal_form_is_its_own_and_ignores_capitals_and_spaces(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert normal(f"  {text.upper()}\n") == normal(text)
    assert normal(text.replace(" ", "   ")) == normal(text)


def test_templates_differ_in_no_number() -> None:
    assert template("Ann has 3 apples and 1,200.5 pears.") == template("ann has 17 apples and 4 pears") != ""
    assert template("Ann has 3 apples.") == "ann has # apples"
    assert template("Ann has 3 apples.") != template("Bob has 3 apples.")


def test_repeats_go_and_the_first_stays() -> None:
    given_ = [placed("Q", "5", name="a", place="row 1"), placed("q?", "5.", name="b", place="row 2"), placed("r")]
    kept, (said,) = without_repeats(given_)
    assert [one.problem.id for one in kept] == ["a", "p"]
    assert (said.kind, said.severity, said.places) == ("duplicates", "note", ("row 2",))
    assert said.text == "rows left out because they repeat a question: 1"


@pytest.mark.parametrize("answers", [("5", "6"), (".5", "5"), ("-5", "5")])
def test_a_question_with_two_answers_goes_and_both_places_are_named(answers: tuple[str, str]) -> None:
    given_ = [placed("Q", answers[0], place="row 1"), placed("r"), placed("q", answers[1], place="row 3")]
    kept, (said,) = without_repeats(given_)
    assert [one.problem.question for one in kept] == ["r"]
    assert (said.kind, said.severity, said.places) == ("conflicts", "caution", ("row 1 and row 3",))


def test_accepted_answers_in_another_order_are_no_conflict() -> None:
    kept, said = without_repeats([placed("q", "5", "five"), placed("q", "Five", "5")])
    assert len(kept) == 1
    assert kinds(said) == ["duplicates"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_a_leak_is_kept_where_it_is_held_out_the_test_first(order: tuple[int, int, int]) -> None:
    rows = [placed("q", place="a", named="training"), placed("q", place="b", named="validation")]
    rows.append(placed("q", place="c", named="test"))
    for used, named in ((order, "test"), ([n for n in order if n < 2], "validation")):
        kept, said = without_repeats([rows[n] for n in used])
        assert [one.named for one in kept] == [named]
        assert kinds(said) == ["leaks", "duplicates"]
        assert said[0].places == (" and ".join(rows[n].place for n in used[:2]),)


def test_a_question_twice_in_training_is_no_leak() -> None:
    assert kinds(without_repeats([placed("q", named="training"), placed("q")])[1]) == ["duplicates"]
    assert kinds(without_repeats([placed("q", named="test"), placed("q", named="test")])[1]) == ["duplicates"]


@given(names=st.lists(st.sampled_from(["a", "b", "a-2", "a-3", "a-2-2"]), max_size=8))
def test_ids_become_different_and_a_first_use_keeps_its_own(names: list[str]) -> None:
    kept, _ = without_repeats([placed(f"question {n}", name=name) for n, name in enumerate(names)])
    found = [one.problem.id for one in kept]
    assert len(set(found)) == len(names)
    for place, (name, new) in enumerate(zip(names, found, strict=True)):
        assert new == name if name not in names[:place] else new.startswith(f"{name}-")


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        # 30 % and 15 % of 40: 12 and 6. Of 200: 60 and 30. Of 2000: 600 and 300, but at most 400 and 100.
        (40, (22, 6, 12)),
        (200, (110, 30, 60)),
        (2000, (1500, 100, 400)),
    ],
)
def test_sizes_of_the_splits(count: int, sizes: tuple[int, int, int]) -> None:
    found, said = split_problems(many(count))
    assert tuple(found.sizes[slice_] for slice_ in SLICES) == sizes
    assert said[0].text == f"{sizes[0]} problems to train on, {sizes[1]} to choose by, {sizes[2]} for the test"
    assert ("small_test" in kinds(said)) == (sizes[2] < 100)


@given(
    seed=st.integers(0, 10**6),
    counts=st.tuples(st.integers(40, 60), st.integers(0, 20), st.integers(0, 20)),
)
def test_the_order_of_rows_moves_nothing_and_no_question_is_in_two_splits(
    seed: int, counts: tuple[int, int, int]
) -> None:
    free, tested, validated = counts
    rows = [*many(free), *many(tested, "test"), *many(validated, "validation")]
    order = random.Random(seed).sample(rows, len(rows))
    # Elsewhere in the file, a row has another place and, without a column for it, another id.
    shuffled = [placed(row.problem.question.upper(), name=f"r{n}", named=row.named) for n, row in enumerate(order)]
    one, other = (split_problems(each)[0] for each in (rows, shuffled))
    for slice_ in SLICES:
        assert {normal(p.question) for p in one.problems(slice_)} == {
            normal(p.question) for p in other.problems(slice_)
        }
    questions = [normal(p.question) for slice_ in SLICES for p in one.problems(slice_)]
    assert len(questions) == len(set(questions)) == len(rows)
    for named, count in (("test", tested), ("validation", validated)):
        held = one.slices[named]  # type: ignore[index]
        if count:
            assert {p.named for p in held} == {named}
            assert len(held) == count


def test_only_one_named_split_the_other_is_taken_from_training() -> None:
    found, _ = split_problems([*many(50), *many(30, "test"), *many(20, "training")])
    # 15 % of all 100 problems.
    assert found.sizes == {"training": 55, "validation": 15, "test": 30}


def test_too_few_or_none_to_train_on_is_one_sentence() -> None:
    for rows, words in (
        (many(LEAST_PROBLEMS - 1), r"^Only 39 problems can be used, and a pilot needs at least 40 .*\)\.$"),
        ([*many(30, "test"), *many(30, "validation")], r"^No problem is left to train on: the table names too many"),
        ([*many(40, "test"), *many(3)], r"^No problem is left to train on: the table names too many"),
    ):
        with pytest.raises(DataError, match=words) as raised:
            split_problems(rows)
        assert "\n" not in str(raised.value)


def test_problems_that_differ_in_their_numbers_only_are_said_of_the_test() -> None:
    rows = [*many(40, "training"), *(placed(f"What is {n} + {n}?", named="test") for n in range(10))]
    rows += [placed(f"Why {chr(97 + n)}?", named="validation") for n in range(10)]
    assert "shared_templates" not in kinds(split_problems(rows)[1])
    rows.append(placed("What is 70 + 70", named="training"))
    said = split_problems(rows)[1][-1]
    assert (said.kind, said.severity, len(said.places)) == ("shared_templates", "caution", 6)
    assert "in their numbers only: 100%" in said.text
    rows += many(100, "test")
    # 10 of 110 are 9 %; but the other 100 are "question # test", which no training problem is.
    assert (split_problems(rows)[1][-1].severity) == "note"
