"""Problems whose outcome changed, with both texts."""

from creditree.evaluate.changed import LONGEST_TEXT, examples, shortened
from tests.unit.pilot.samples import evaluation, problem


def test_the_first_three_of_either_kind_with_both_texts() -> None:
    asked = [problem(f"p{n}", f"question {n}", "5", "five") for n in range(10)]
    # Four are gained (0 to 3), two lost (4, 5), two stay right, and of two one side has no reward, which is wrong.
    before = {f"p{n}": float(4 <= n < 8) for n in range(8)} | {"p8": None, "p9": None}
    after = {f"p{n}": float(n < 4 or n > 5) for n in range(8)} | {"p8": 0.5, "p9": None}
    better, worse = examples(asked, evaluation(before, "old "), evaluation(after, "new "))
    assert [one.id for one in better] == ["p0", "p1", "p2"]
    assert [one.id for one in worse] == ["p4", "p5"]
    assert better[0].to_json() == {
        "id": "p0",
        "question": "question 0",
        "answers": ("5", "five"),
        "before": "old p0",
        "after": "new p0",
    }


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    assert shortened("x" * LONGEST_TEXT) == "x" * 600
    text = "a" * 300 + "b" * 1 + "c" * 300
    assert shortened(text) == "a" * 300 + " [...] " + "c" * 300
